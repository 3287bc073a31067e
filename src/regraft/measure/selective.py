"""What is gained by leaving the least confident items undecided: risk against coverage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """The share of errors among the most confident items, for every number of them.

    Attributes:
        coverage: k/n for k = 1…n, shape (N,).
        risk: Share of errors among the k most confident; items of equal confidence count as if in
            random order (the expectation), shape (N,).
        aurc: Mean risk over the curve; lower is better.
        excess: aurc minus that of the best ordering of the same errors; ≥ 0.
    """

    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    aurc: float
    excess: float

    def risk_at(self, coverage: float) -> float:
        """Return the risk when at least this share of items, in (0, 1], is decided."""
        if not 0 < coverage <= 1:
            raise ShapeError(f"coverage {coverage} is no share of items. Give one in (0, 1].")
        n = len(self.risk)
        return float(self.risk[min(n, int(np.ceil(coverage * n - 1e-9))) - 1])


def risk_coverage(confidence: NDArray[np.floating], wrong: NDArray[np.bool_]) -> RiskCoverage:
    """Return the curve of risk over coverage with the area under it.

    Args:
        confidence: Shape (N,), larger = surer; any scale. N ≥ 1.
        wrong: Whether the decision on each item is wrong, shape (N,).

    Raises:
        ShapeError: The shapes differ, or there are no items.

    Reference:
        Geifman, Uziel & El-Yaniv, Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers,
        ICLR 2019, section 3.

    Example:
        >>> risk_coverage(np.array([0.9, 0.8, 0.6]), np.array([False, False, True])).excess
        0.0
    """
    if confidence.shape != wrong.shape or confidence.ndim != 1 or not len(confidence):
        raise ShapeError(
            f"risk_coverage: confidence {confidence.shape} and wrong {wrong.shape} do not fit. "
            "Give (N,) twice with N of at least 1."
        )
    n = len(wrong)
    _, level, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    errors = np.bincount(level, weights=wrong.astype(np.float64))
    ranks = np.arange(1, n + 1)
    ends = np.concatenate([[0], np.cumsum(counts)])
    risk = np.interp(ranks, ends, np.concatenate([[0.0], np.cumsum(errors)])) / ranks
    n_right = n - int(wrong.sum())
    best = float((np.maximum(0, ranks - n_right) / ranks).mean())
    aurc = float(risk.mean())
    return RiskCoverage(ranks / n, risk, aurc, max(0.0, aurc - best))
