"""How far two sets of features lie apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regraft.errors import ShapeError
from regraft.measure.kernels import (
    WIDTHS,
    distance_factors,
    gaussian,
    kernel_matrix,
    median_squared_distance,
)


def mmd2_paired(before: NDArray[np.floating], after: NDArray[np.floating]) -> float:
    """Return the unbiased MMD² between features of the same items before and after adaptation.

    The paired U-statistic: i = j is left out of the cross term too, so that no change gives exactly
    0. Both are standardised by `before`; the kernel is the mean of Gaussians of 0.5, 1 and 2 times
    the median pairwise distance of the pooled rows. May be slightly negative.

    Args:
        before: Shape (n, d), n ≥ 2.
        after: Features of the same items, same shape.

    Raises:
        ShapeError: Shapes differ, or n < 2.

    Reference:
        Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), eq. 4.
    """
    _check_paired(before, after)
    if np.array_equal(before, after):
        return 0.0
    return float(_pair_terms(before, after).sum() / (len(before) * (len(before) - 1)))


def mmd2_paired_test(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    *,
    permutations: int = 500,
    seed: int = 0,
) -> float:
    """Return the p-value of the paired MMD²: under the null, an item's two rows may be swapped.

    With signs s ∈ {−1, 1}ⁿ the statistic is Σ_{i≠j} s_i s_j h_ij; p = (1 + #{≥ observed}) / (1 + B)
    with B permutations; nan where a feature is not finite.

    Raises:
        ShapeError: Shapes differ, or n < 2.
    """
    _check_paired(before, after)
    if np.array_equal(before, after):
        return 1.0
    terms = _pair_terms(before, after)
    if not np.isfinite(terms).all():
        return float("nan")
    generator = np.random.default_rng(seed)
    signs = generator.choice(np.array([-1.0, 1.0]), size=(permutations, len(before)))
    drawn = ((signs @ terms) * signs).sum(axis=1)
    return float((1 + np.count_nonzero(drawn >= terms.sum() - 1e-12)) / (1 + permutations))


def _pair_terms(before: NDArray[np.floating], after: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return h_ij = k(x_i,x_j) + k(y_i,y_j) − k(x_i,y_j) − k(y_i,x_j) with diagonal 0, (n, n)."""
    mean, deviation = before.mean(axis=0), before.std(axis=0)
    units = np.where(deviation > 1e-8, deviation, 1.0)
    x, y = (before - mean) / units, (after - mean) / units
    n = len(x)
    pooled = np.concatenate([x, y]).astype(np.float64)
    # All pairs of the pooled rows, however many: what is on record was measured so.
    median = max(median_squared_distance(pooled), 1e-12)
    scale, transform = gaussian([width * float(np.sqrt(median)) for width in WIDTHS])
    factors = distance_factors(pooled, centre=pooled.mean(axis=0), scale=scale)
    kernel = kernel_matrix(transform, factors)
    terms: NDArray[np.float64] = (
        kernel[:n, :n] + kernel[n:, n:] - kernel[:n, n:] - kernel[:n, n:].T
    ).astype(np.float64)
    np.fill_diagonal(terms, 0.0)
    return terms


def _check_paired(before: NDArray[np.floating], after: NDArray[np.floating]) -> None:
    if before.shape != after.shape or before.ndim != 2 or len(before) < 2:
        raise ShapeError(
            f"features before {before.shape} and after {after.shape} must both be (n, d), n ≥ 2."
        )
