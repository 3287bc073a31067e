"""How far two sets of features lie apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

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
    the median pairwise distance of the pooled rows. May be slightly negative; nan where a feature
    is not finite.

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
    return _sign_flip_p(terms, permutations=permutations, seed=seed)


@dataclass(frozen=True, slots=True)
class PairedShift:
    """The paired MMD² with its spread.

    Attributes:
        mmd2: As `mmd2_paired`; exactly 0 where nothing changed.
        low: Lower end of its 95 % interval, which may be below 0.
        high: Upper end.
        p: As `mmd2_paired_test`.
        n: Items.
    """

    mmd2: float
    low: float
    high: float
    p: float
    n: int


def paired_shift(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    *,
    permutations: int = 500,
    seed: int = 0,
) -> PairedShift:
    """Return the paired MMD² of the same items with its jackknife interval and sign-flip p.

    The interval is mmd2 ± t s, s² = (n−1)/n Σ_i (θ_i − θ̄)² over the estimates θ_i without item i,
    with standardisation and bandwidth held as they are. All is nan where a feature is not finite.

    Args:
        before: Shape (n, d), n ≥ 3.
        after: Features of the same items, same shape.
        permutations: Of the test.
        seed: Of the permutations.

    Raises:
        ShapeError: Shapes differ, or n < 3.

    Reference:
        Arvesen, Jackknifing U-statistics, Ann. Math. Stat. 40 (1969), section 2.
    """
    _check_paired(before, after, fewest=3)
    n = len(before)
    if np.array_equal(before, after):
        return PairedShift(0.0, 0.0, 0.0, 1.0, n)
    terms = _pair_terms(before, after)
    if not np.isfinite(terms).all():
        nan = float("nan")
        return PairedShift(nan, nan, nan, nan, n)
    total = float(terms.sum())
    without = (total - 2.0 * terms.sum(axis=1)) / ((n - 1) * (n - 2))
    half = float(student.ppf(0.975, n - 1) * np.sqrt((n - 1) * without.var()))
    value = total / (n * (n - 1))
    p = _sign_flip_p(terms, permutations=permutations, seed=seed)
    return PairedShift(value, value - half, value + half, p, n)


def cosine_drift(before: NDArray[np.floating], after: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return 1 − cos of the angle between each item's features before and after, in [0, 2].

    Exactly 0 where an item's features are the same; nan where only one of the two is all zeros, or
    where one is not finite.

    Args:
        before: Shape (n, d).
        after: Features of the same items, same shape.

    Raises:
        ShapeError: Shapes differ, or n < 2.

    Example:
        >>> cosine_drift(np.array([[1.0, 0.0]] * 2), np.array([[3.0, 0.0], [0.0, 2.0]])).tolist()
        [0.0, 1.0]
    """
    _check_paired(before, after)
    finite = np.isfinite(before).all(axis=1) & np.isfinite(after).all(axis=1)
    x, y = (np.where(finite[:, None], one.astype(np.float64), np.nan) for one in (before, after))
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    cosine = np.full(len(x), np.nan)
    np.divide((x * y).sum(axis=1), norms, out=cosine, where=norms > 0)
    drift = 1.0 - np.clip(cosine, -1.0, 1.0)
    drift[(x == y).all(axis=1)] = 0.0
    return np.asarray(drift)


def _sign_flip_p(terms: NDArray[np.float64], *, permutations: int, seed: int) -> float:
    generator = np.random.default_rng(seed)
    signs = generator.choice(np.array([-1.0, 1.0]), size=(permutations, len(terms)))
    drawn = ((signs @ terms) * signs).sum(axis=1)
    return float((1 + np.count_nonzero(drawn >= terms.sum() - 1e-12)) / (1 + permutations))


def _pair_terms(before: NDArray[np.floating], after: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return h_ij = k(x_i,x_j) + k(y_i,y_j) − k(x_i,y_j) − k(y_i,x_j) with diagonal 0, (n, n)."""
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return np.full((len(before), len(before)), np.nan)
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


def _check_paired(
    before: NDArray[np.floating], after: NDArray[np.floating], *, fewest: int = 2
) -> None:
    if before.shape != after.shape or before.ndim != 2 or len(before) < fewest:
        raise ShapeError(
            f"features before {before.shape} and after {after.shape} must both be (n, d), "
            f"n ≥ {fewest}."
        )
