"""Maximum mean discrepancy: how far two domains lie apart, exact, in blocks, in linear time."""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import ndtr

from regraft.errors import ConfigError, ShapeError
from regraft.measure.kernels import (
    Bandwidth,
    Floats,
    distance_factors,
    gaussian,
    gaussian_total,
    kernel_matrix,
    pair_sum,
    two_samples,
    widths_of,
)
from regraft.measure.permutation import PERMUTATIONS, TwoSample, permutation_p, split_sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def mmd2(
    x: ArrayLike,
    y: ArrayLike,
    *,
    bandwidth: Bandwidth = None,
    unbiased: bool = True,
    kernel: Literal["gaussian", "linear"] = "gaussian",
) -> float:
    """Return the squared maximum mean discrepancy of two samples, over all pairs of rows.

    MMD² = E k(x, x') + E k(y, y') − 2 E k(x, y) with k(a, b) = exp(−‖a − b‖² / 2σ²), or the mean
    over several σ. Time n², memory n; float32 features are multiplied in float32.

    Args:
        x: Features of one domain, shape (n, d), n ≥ 2.
        y: Features of the other, shape (m, d), m ≥ 2.
        bandwidth: σ of one Gaussian in units of the features, or several whose kernels are
            averaged. Default: {½, 1, 2} × `median_bandwidth`.
        unbiased: Leave i = j out within each sample (U-statistic; may be slightly negative), or
            keep it (V-statistic, never negative).
        kernel: ``linear`` compares the means alone: the biased one is ‖x̄ − ȳ‖².

    Raises:
        ShapeError: The widths differ, or fewer than 2 rows.
        DataError: A number is not finite, or the median distance is 0.
        ConfigError: A bandwidth is not positive, or there is no such kernel.

    Reference:
        Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), eq. 3 and 5.

    Example:
        >>> round(mmd2([[0.0], [1.0]], [[0.0], [1.0]], bandwidth=1.0, unbiased=False), 12)
        0.0
        >>> mmd2([[0.0], [2.0]], [[3.0], [5.0]], kernel="linear", unbiased=False)
        9.0
    """
    first, second = two_samples(x, y)
    if kernel == "linear":
        return _linear_kernel(first, second, unbiased=unbiased)
    if kernel != "gaussian":
        raise ConfigError(f"kernel {kernel!r} is neither 'gaussian' nor 'linear'. Name one.")
    return _gaussian(first, second, widths_of(bandwidth, first, second), unbiased=unbiased)


def _gaussian(x: Floats, y: Floats, widths: Sequence[float], *, unbiased: bool) -> float:
    scale, total = gaussian_total(widths)
    centre = (x.mean(axis=0) + y.mean(axis=0)) / 2
    first = distance_factors(x, centre=centre, scale=scale)
    second = distance_factors(y, centre=centre, scale=scale)
    between = pair_sum(total, first, second) / (len(x) * len(y))
    within = sum(
        _mean_within(pair_sum(total, one, nothing=-inf), len(one.left), unbiased=unbiased)
        for one in (first, second)
    )
    return within - 2.0 * between


def _mean_within(off_diagonal: float, n: int, *, unbiased: bool) -> float:
    """Return the mean of a kernel with k(a, a) = 1 over the pairs of one sample."""
    return off_diagonal / (n * (n - 1)) if unbiased else (off_diagonal + n) / n**2


def _linear_kernel(x: Floats, y: Floats, *, unbiased: bool) -> float:
    means = [one.mean(axis=0, dtype=np.float64) for one in (x, y)]
    value = float(((means[0] - means[1]) ** 2).sum())
    if not unbiased:
        return value
    # ‖x̄‖² less its diagonal: the trace of the covariance over n is what the V-statistic has more.
    return value - sum(
        float(one.var(axis=0, ddof=1, dtype=np.float64).sum()) / len(one) for one in (x, y)
    )


def mmd2_test(
    x: ArrayLike,
    y: ArrayLike,
    *,
    bandwidth: Bandwidth = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> TwoSample:
    """Test whether two samples are of one law: unbiased MMD², p by permuting the pooled rows.

    All permutations are sums over one kernel matrix of n + m rows, which is held in memory. For the
    same items before and after use `mmd2_paired_test`: pooled permutations would ignore the pairs.

    Args:
        x: Shape (n, d), n ≥ 2.
        y: Shape (m, d), m ≥ 2.
        bandwidth: As for `mmd2`; the default comes from the pooled rows, which no permutation
            changes, so that the test stays exact.
        permutations: B; p = (1 + #{≥ observed}) / (1 + B).
        seed: Of the permutations.

    Raises:
        ShapeError: The widths differ, or fewer than 2 rows.
        DataError: A number is not finite, or the median distance is 0.
        ConfigError: A bandwidth is not positive, or no permutations are asked for.

    Reference:
        Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), section 8.
    """
    first, second = two_samples(x, y)
    pooled, n, m = np.concatenate([first, second]), len(first), len(second)
    scale, transform = gaussian(widths_of(bandwidth, first, second))
    factors = distance_factors(pooled, centre=pooled.mean(axis=0), scale=scale)
    sums = split_sums(kernel_matrix(transform, factors), n, permutations=permutations, seed=seed)
    within = sums.within_first / (n * (n - 1)) + sums.within_second / (m * (m - 1))
    statistics = within - 2.0 * sums.between / (n * m)
    estimator = f"unbiased MMD², {permutations} permutations of the pooled rows"
    return TwoSample(float(statistics[0]), permutation_p(statistics), n, m, estimator)


def mmd2_linear(x: ArrayLike, y: ArrayLike, *, bandwidth: Bandwidth = None) -> float:
    """Return the linear-time MMD²: the mean of h over consecutive pairs of rows, unbiased.

    h_i = k(x_2i, x_2i+1) + k(y_2i, y_2i+1) − k(x_2i, y_2i+1) − k(x_2i+1, y_2i). Uses the first
    min(n, m) rows, an even number of them, in their order: shuffle rows that are sorted.

    Args:
        x: Shape (n, d), n ≥ 4.
        y: Shape (m, d), m ≥ 4.
        bandwidth: As for `mmd2`.

    Raises:
        ShapeError: The widths differ, or fewer than 4 rows.
        DataError: A number is not finite, or the median distance is 0.
        ConfigError: A bandwidth is not positive.

    Reference:
        Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), lemma 14.
    """
    return mmd2_linear_test(x, y, bandwidth=bandwidth).statistic


def mmd2_linear_test(x: ArrayLike, y: ArrayLike, *, bandwidth: Bandwidth = None) -> TwoSample:
    """Test by the linear-time MMD²: its terms are independent, so their mean is about normal.

    p = 1 − Φ(mean / standard error). Arguments and errors as for `mmd2_linear`.

    Reference:
        Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), corollary 16.
    """
    first, second = two_samples(x, y, fewest=4)
    scale, transform = gaussian(widths_of(bandwidth, first, second))
    used = min(len(first), len(second)) // 2 * 2
    odd, even = slice(0, used, 2), slice(1, used, 2)

    def kernel(a: Floats, b: Floats) -> Floats:
        moved = (a - b) * scale
        values: Floats = -0.5 * np.einsum("ij,ij->i", moved, moved)
        transform(values)
        return values.astype(np.float64)

    terms = (
        kernel(first[odd], first[even])
        + kernel(second[odd], second[even])
        - kernel(first[odd], second[even])
        - kernel(first[even], second[odd])
    )
    return _normal_test(terms, used, f"linear-time MMD², normal over {used // 2} pairs")


def mmd2_block(
    x: ArrayLike, y: ArrayLike, *, bandwidth: Bandwidth = None, block: int | None = None
) -> float:
    """Return the block MMD²: the mean of the unbiased MMD² over blocks of consecutive rows.

    Time n·b, between the linear-time (b = 2) and the full statistic (b = n). Uses the first
    min(n, m) rows in their order, as many as fill whole blocks: shuffle rows that are sorted.

    Args:
        x: Shape (n, d), n ≥ 4.
        y: Shape (m, d), m ≥ 4.
        bandwidth: As for `mmd2`; the default is the median over all rows, one for all blocks.
        block: Rows of each sample in a block, b ≥ 2. Default: ⌊√min(n, m)⌋.

    Raises:
        ShapeError: The widths differ, fewer than 4 rows, or a block larger than half of them.
        DataError: A number is not finite, or the median distance is 0.
        ConfigError: A bandwidth is not positive, or a block smaller than 2.

    Reference:
        Zaremba, Gretton & Blaschko, B-test, NeurIPS 2013, eq. 3.
    """
    return mmd2_block_test(x, y, bandwidth=bandwidth, block=block).statistic


def mmd2_block_test(
    x: ArrayLike, y: ArrayLike, *, bandwidth: Bandwidth = None, block: int | None = None
) -> TwoSample:
    """Test by the block MMD²: blocks are independent, so their mean is about normal.

    p = 1 − Φ(mean / standard error). Arguments and errors as for `mmd2_block`.

    Reference:
        Zaremba, Gretton & Blaschko, B-test, NeurIPS 2013, section 3.
    """
    first, second = two_samples(x, y, fewest=4)
    rows = min(len(first), len(second))
    size = int(sqrt(rows)) if block is None else block
    if size < 2:
        raise ConfigError(f"a block of {size} rows has no pairs. Give at least 2.")
    if size > rows // 2:
        raise ShapeError(f"blocks of {size} rows fit less than twice into {rows}. Give fewer.")
    widths = widths_of(bandwidth, first, second)
    starts = range(0, rows - size + 1, size)
    values = [
        _gaussian(first[at : at + size], second[at : at + size], widths, unbiased=True)
        for at in starts
    ]
    estimator = f"block MMD², normal over {len(values)} blocks of {size}"
    return _normal_test(np.array(values), len(values) * size, estimator)


def _normal_test(terms: NDArray[np.float64], used: int, estimator: str) -> TwoSample:
    value, error = float(terms.mean()), float(terms.std(ddof=1) / sqrt(len(terms)))
    # Terms without any spread are those of equal samples (0) or of two points.
    z = value / error if error > 0.0 else (np.inf if value > 0.0 else -np.inf)
    return TwoSample(value, float(ndtr(-z)), used, used, estimator)
