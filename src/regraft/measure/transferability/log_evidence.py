"""LogME: the largest marginal likelihood of the labels under a Bayesian linear model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import ShapeError
from regraft.measure.transferability.labelled import labelled, thin_svd

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RATIOS = np.logspace(-8.0, 8.0, 65)
"""Ratios α/β that are tried first, in units of σ_max²."""

_REFINEMENTS = 40
_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0


def log_evidence(
    features: NDArray[np.floating],
    target: NDArray[np.floating],
    *,
    weight_precision: float,
    noise_precision: float,
) -> float:
    """Log marginal likelihood of y = F w + e, w ~ N(0, I/α), e ~ N(0, I/β), in nats.

    It is log N(y; 0, I/β + F Fᵀ/α). With k singular values σ of F and z = Uᵀy:
    ½ Σ ln(α/(α + β σ²)) + n/2 ln(β/2π) − β/2 (‖y‖² − Σ z² βσ²/(α + βσ²)). Only k of the d terms
    ½ ln α are left, since the other d − k cancel with the determinant's: leaving d of them there
    is right for n ≥ d only.

    Args:
        features: F, shape (n, d).
        target: y, shape (n,).
        weight_precision: α > 0.
        noise_precision: β > 0.

    Raises:
        ShapeError: The shapes do not fit, or a precision is not above 0.

    Reference:
        You et al., LogME: Practical Assessment of Pre-trained Models for Transfer Learning, ICML
        2021, eq. 2.
    """
    if features.ndim != 2 or target.shape != (len(features),) or not len(target):
        raise ShapeError(f"features {features.shape} and target {target.shape} do not fit.")
    if weight_precision <= 0 or noise_precision <= 0:
        raise ShapeError(f"precisions {weight_precision}, {noise_precision} must be above 0.")
    left, values, _ = thin_svd(features.astype(np.float64))
    y = target.astype(np.float64)
    z, signal = left.T @ y, noise_precision * values**2
    shares = signal / (weight_precision + signal)
    squares = max(float(y @ y - z @ z), 0.0) + float((z**2 * (1.0 - shares)).sum())
    return float(
        0.5 * np.log1p(-shares).sum()
        + 0.5 * len(y) * np.log(noise_precision / (2.0 * np.pi))
        - 0.5 * noise_precision * squares
    )


def logme(features: NDArray[np.floating], labels: NDArray[np.generic]) -> float:
    """LogME: mean over classes of max_{α,β} log p(y_c|F, α, β) / n, in nats, larger is better.

    y_c is the indicator of class c. For a ratio t = α/β the best β has a closed form, so the
    maximum is sought over t alone: on a grid within [1e-8, 1e8] σ_max², then by golden section.
    The bound keeps the score finite where features determine a class without any noise. A rotation
    or a common scale of the features leaves it as it is; they are not centred.

    Args:
        features: Shape (n, d).
        labels: Shape (n,).

    Raises:
        ShapeError: The shapes do not fit, or there is a single item or class.

    Reference:
        You et al., LogME: Practical Assessment of Pre-trained Models for Transfer Learning, ICML
        2021, eq. 2 and algorithm 1; its fixed point is a stationary point of the same evidence.
    """
    data = labelled(features, labels)
    left, values, _ = thin_svd(data.x)
    targets = np.eye(data.n_classes)[data.classes]  # (n, C)
    z = left.T @ targets
    squared = z**2
    rest = np.maximum(data.counts - squared.sum(axis=0), 0.0)
    if not len(values):  # features that are all zero: only noise is left
        ones = np.ones(data.n_classes)
        return float(_profile(ones, values, squared, rest, len(data.x)).mean() / len(data.x))
    variances = (values / values[0]) ** 2
    return float(_largest(variances, squared, rest, len(data.x)).mean() / len(data.x))


def _profile(
    ratios: NDArray[np.float64],
    variances: NDArray[np.float64],
    squared: NDArray[np.float64],
    rest: NDArray[np.float64],
    n: int,
) -> NDArray[np.float64]:
    """Return the evidence of each class at its ratio t, the noise precision at its best, (C,).

    Args:
        ratios: t of each class, (C,).
        variances: σ², (k,).
        squared: (Uᵀy_c)², (k, C).
        rest: ‖y_c‖² − Σ squared, (C,).
        n: Items.
    """
    shrink = ratios / (ratios + variances[:, None])  # (k, C)
    noise = ((squared * shrink).sum(axis=0) + rest) / n  # 1/β
    evidence: NDArray[np.float64] = 0.5 * (
        np.log(shrink).sum(axis=0) - n * (np.log(2.0 * np.pi * noise) + 1.0)
    )
    return evidence


def _largest(
    variances: NDArray[np.float64], squared: NDArray[np.float64], rest: NDArray[np.float64], n: int
) -> NDArray[np.float64]:
    """Return the largest evidence of each class over t: the grid, then golden section in ln t."""

    def at(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
        return _profile(np.exp(logarithms), variances, squared, rest, n)

    grid, n_classes = np.log(_RATIOS), len(rest)
    known = np.stack([at(np.full(n_classes, one)) for one in grid])
    place = known.argmax(axis=0)
    low, high = grid[np.maximum(place - 1, 0)], grid[np.minimum(place + 1, len(grid) - 1)]
    best: NDArray[np.float64] = known.max(axis=0)
    for _ in range(_REFINEMENTS):
        step = _GOLDEN * (high - low)
        first, second = high - step, low + step
        f, s = at(first), at(second)
        best = np.maximum(best, np.maximum(f, s))
        low, high = np.where(f < s, first, low), np.where(f < s, high, second)
    return best
