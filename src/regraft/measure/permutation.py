"""Two-sample tests by permutation, all permutations from one kernel matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from regraft.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from regraft.measure.kernels import Floats

PERMUTATIONS = 500
_ROWS_AT_ONCE = 1_024


@dataclass(frozen=True, slots=True)
class TwoSample:
    """Whether two samples are of one law.

    Attributes:
        statistic: The test's statistic, for example the unbiased MMD².
        p: Probability under one law of a statistic as large.
        n: Rows of x that were used.
        m: Rows of y that were used.
        estimator: How it was found, in words.
    """

    statistic: float
    p: float
    n: int
    m: int
    estimator: str


class SplitSums(NamedTuple):
    """Sums of a kernel (diagonal 0) within and between two parts of the pooled rows, shape (B,)."""

    within_first: NDArray[np.float64]
    within_second: NDArray[np.float64]
    between: NDArray[np.float64]


def split_sums(kernel: Floats, n: int, *, permutations: int, seed: int) -> SplitSums:
    """Return the sums of the samples as they are (first entry) and of random splits.

    Args:
        kernel: Symmetric, diagonal 0, of the pooled rows, shape (n + m, n + m).
        n: Rows of the first sample, which come first.
        permutations: Random splits of the pooled rows into n and m.
        seed: Of the splits.

    Raises:
        ConfigError: No permutations are asked for.
    """
    if permutations < 1:
        raise ConfigError(f"permutations is {permutations}. Ask for at least 1.")
    chosen = _chosen(len(kernel), n, permutations=permutations, seed=seed)  # (n + m, 1 + B)
    first = np.zeros(1 + permutations)
    row_sums = np.empty(len(kernel))
    for start in range(0, len(kernel), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        part = kernel[rows].astype(np.float64)
        first += np.einsum("ij,ij->j", part @ chosen, chosen[rows])
        row_sums[rows] = part.sum(axis=1)
    touching = row_sums @ chosen
    return SplitSums(first, row_sums.sum() - 2.0 * touching + first, touching - first)


def _chosen(pooled: int, n: int, *, permutations: int, seed: int) -> NDArray[np.float64]:
    """Return 1 where a pooled row is of the first part; the first column is the split as it is."""
    generator = np.random.default_rng(seed)
    chosen = np.zeros((pooled, 1 + permutations))
    chosen[:n, 0] = 1.0
    for column in range(1, 1 + permutations):
        chosen[generator.choice(pooled, n, replace=False), column] = 1.0
    return chosen


def permutation_p(statistics: NDArray[np.float64]) -> float:
    """Return (1 + #{permuted ≥ observed}) / (1 + B); the observed statistic comes first.

    Sums of the same numbers in another order differ by rounding, which is no difference.

    Example:
        >>> permutation_p(np.array([3.0, 1.0, 4.0, 2.0]))
        0.5
    """
    observed, permuted = statistics[0], statistics[1:]
    rounding = 1e-12 * max(1.0, float(np.abs(statistics).max()))
    return float((1 + np.count_nonzero(permuted >= observed - rounding)) / (1 + len(permuted)))
