"""Vector scaling: one factor and one offset per class, where one temperature is not enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from regraft.measure.calibration import fit_temperature

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_STEPS = 500
# Separable logits would drive the factors to infinity.
_LARGEST = 1e3


@dataclass(frozen=True, slots=True, eq=False)
class VectorScaling:
    """Logits z become scale · z + offset, class by class.

    Attributes:
        scale: Shape (C,).
        offset: Shape (C,), with mean 0, since a shift of all logits changes nothing.
    """

    scale: NDArray[np.float64]
    offset: NDArray[np.float64]

    def apply(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return scaled logits of logits (N, C)."""
        return np.asarray(logits * self.scale + self.offset, dtype=np.float64)


def fit_vector_scaling(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> VectorScaling:
    """Return the scaling that minimises the log loss of softmax(scale · z + offset).

    The log loss is convex in both; the search starts from the best temperature and its result is
    never worse than that. Unlike a temperature, a scaling per class may change decisions, and with
    2C parameters it wants many more items than classes. Factors and offsets stay within ±1000.

    Args:
        logits: Shape (N, C), finite; N ≥ 1.
        labels: Class indices, shape (N,).

    Raises:
        ShapeError: The two differ in length or hold nothing.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    temperature = fit_temperature(logits, labels)
    wide = logits.astype(np.float64)
    n_classes = wide.shape[1]
    # In units of the logits' spread the optimiser's tolerances mean the same for any logits.
    unit = float(wide.std()) or 1.0
    inputs, one_hot = wide / unit, np.eye(n_classes)[labels]

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logs = log_softmax(inputs * parameters[:n_classes] + parameters[n_classes:], axis=1)
        excess = (np.exp(logs) - one_hot) / len(labels)
        gradient = np.concatenate([(excess * inputs).sum(axis=0), excess.sum(axis=0)])
        return float(-(logs * one_hot).sum() / len(labels)), gradient

    start = np.concatenate([np.full(n_classes, unit / temperature), np.zeros(n_classes)])
    bounds = [(-_LARGEST * unit, _LARGEST * unit)] * n_classes + [(-_LARGEST, _LARGEST)] * n_classes
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _MOST_STEPS, "ftol": 1e-14, "gtol": 1e-9},
    )
    best = np.asarray(found.x) if loss(np.asarray(found.x))[0] <= loss(start)[0] else start
    offset = best[n_classes:]
    return VectorScaling(scale=best[:n_classes] / unit, offset=offset - offset.mean())
