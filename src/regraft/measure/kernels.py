"""Kernels of all pairs of rows, tile by tile: one matrix product, then everything else in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain, pairwise
from math import frexp, fsum
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import ThreadpoolController

from regraft.errors import ConfigError, DataError, ShapeError

Floats = NDArray[np.floating]
Transform = Callable[[Floats], None]
Total = Callable[[Floats], list[float]]
Result = TypeVar("Result")
Bandwidth = float | Sequence[float] | None

WIDTHS = (0.5, 1.0, 2.0)
MEDIAN_ROWS = 500

_TILE_ROWS = 256
_SUMMED = 1 << 15
_MOST_THREADS = 8
# What fits into the second-level cache of one core together with a copy of it.
_CACHED_BYTES = 1 << 19


class Factors(NamedTuple):
    """Two factors of a sample, such that left_i · right_j = −½‖a_i − b_j‖² (or a_i · b_j)."""

    left: Floats
    right: Floats


def rows_of(values: ArrayLike, name: str, *, fewest: int = 2) -> Floats:
    """Return features as an array of float32, where they are of 32 bits or fewer, or float64.

    Raises:
        ShapeError: Not two-dimensional, or fewer than `fewest` rows.
        DataError: A number is not finite.
    """
    array = np.asarray(values)
    if array.ndim != 2 or len(array) < fewest:
        raise ShapeError(
            f"{name} has the shape {array.shape}. Give features (n, d) with n ≥ {fewest}."
        )
    small = array.dtype in (np.float16, np.float32)
    rows: Floats = np.ascontiguousarray(array, dtype=np.float32 if small else np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum shows what is not finite without a mask of the size of the features; may overflow.
        suspects = np.flatnonzero(~np.isfinite(rows.sum(axis=1)))
    bad = suspects[~np.isfinite(rows[suspects]).all(axis=1)]
    if len(bad):
        raise DataError(
            f"{name}, row {bad[0]}: a feature is not finite. Leave the row out or mend it."
        )
    return rows


def two_samples(x: ArrayLike, y: ArrayLike, *, fewest: int = 2) -> tuple[Floats, Floats]:
    """Return two samples of equal width in one precision, that of the more precise.

    Raises:
        ShapeError: Not (n, d) and (m, d), or fewer than `fewest` rows.
        DataError: A number is not finite.
    """
    first, second = rows_of(x, "x", fewest=fewest), rows_of(y, "y", fewest=fewest)
    if first.shape[1] != second.shape[1]:
        raise ShapeError(f"x {first.shape} and y {second.shape} differ in width. Give equal d.")
    kind = np.promote_types(first.dtype, second.dtype)
    return first.astype(kind, copy=False), second.astype(kind, copy=False)


def squared_distances(rows: Floats) -> Floats:
    """Return ‖z_i − z_j‖² of all pairs by one matrix product, (n, n), symmetric, diagonal 0."""
    norms = (rows**2).sum(axis=1)
    squared: Floats = norms[:, None] + norms[None, :] - 2.0 * (rows @ rows.T)
    squared = np.maximum((squared + squared.T) / 2, 0.0)
    np.fill_diagonal(squared, 0.0)
    return squared


def median_squared_distance(rows: Floats) -> float:
    """Return the median of ‖z_i − z_j‖² over all pairs i < j."""
    centred = rows - rows.mean(axis=0)
    return float(np.median(squared_distances(centred)[np.tri(len(rows), k=-1, dtype=bool)]))


def median_bandwidth(x: ArrayLike, y: ArrayLike | None = None) -> float:
    """Return the median heuristic's σ: the median distance between two rows of the pooled samples.

    σ² = median of ‖z_i − z_j‖² over all pairs i < j of the rows of x and y together, pairs within a
    sample as well as across. Above 500 pooled rows the pairs are those of 500 rows drawn without
    replacement (seed 0), which moves σ by about a hundredth. Some libraries take σ² = ½ median²;
    this is not that one.

    Args:
        x: Shape (n, d).
        y: Shape (m, d), or nothing for the pairs of x alone.

    Raises:
        ShapeError: The widths differ, or there are fewer than 2 rows.
        DataError: A number is not finite, or half of the pairs are equal rows.

    Reference:
        Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), section 8.

    Example:
        >>> median_bandwidth([[0.0], [1.0]], [[3.0], [3.0]])
        2.0
    """
    pooled = rows_of(x, "x") if y is None else np.concatenate(two_samples(x, y))
    if len(pooled) > MEDIAN_ROWS:
        drawn = np.random.default_rng(0).choice(len(pooled), MEDIAN_ROWS, replace=False)
        pooled = pooled[drawn]
    median = median_squared_distance(pooled)
    if median <= 0.0:
        raise DataError(
            "half of the pairs of rows are equal, their median distance is 0. Give a bandwidth."
        )
    return float(np.sqrt(median))


def widths_of(bandwidth: Bandwidth, x: Floats, y: Floats) -> tuple[float, ...]:
    """Return the σ of the Gaussians that are averaged: as given, or {½, 1, 2} × the median.

    Raises:
        ConfigError: A bandwidth is not positive, or there is none.
        DataError: The median distance is 0.
    """
    if bandwidth is None:
        median = median_bandwidth(x, y)
        return tuple(width * median for width in WIDTHS)
    widths = tuple(float(one) for one in np.atleast_1d(bandwidth))
    if not widths or not all(0.0 < width < np.inf for width in widths):
        raise ConfigError(f"bandwidth {bandwidth!r} must be one or more positive numbers.")
    return widths


def distance_factors(rows: Floats, *, centre: Floats, scale: float = 1.0) -> Factors:
    """Return factors with left_i · right_j = −½‖(a_i − b_j)·scale‖²; the centre saves digits.

    The norms ride along as two more columns, which makes them part of the matrix product.
    """
    n, width = rows.shape
    left = np.empty((n, width + 2), rows.dtype)
    np.subtract(rows, centre, out=left[:, :width])
    left[:, :width] *= scale
    left[:, width] = -0.5 * np.einsum("ij,ij->i", left[:, :width], left[:, :width])
    left[:, width + 1] = 1.0
    right = left.copy()
    right[:, width], right[:, width + 1] = left[:, width + 1], left[:, width]
    return Factors(left, right)


def gaussian(widths: Sequence[float]) -> tuple[float, Transform]:
    """Return 1/σ of the widest Gaussian, and what turns −½‖·‖²/σ² into the mean over the widths.

    The narrower ones are powers of the widest: widths {½, 1, 2} need one exponential and squares.
    """
    ordered = sorted(widths, reverse=True)
    steps = [(wide / narrow) ** 2 for wide, narrow in pairwise(ordered)]

    def apply(tile: Floats) -> None:
        np.exp(tile, out=tile)
        if not steps:
            return
        power = tile.copy()
        for step in steps:
            _raise(power, step)
            tile += power
        tile *= 1.0 / len(ordered)

    return 1.0 / ordered[0], apply


def _raise(tile: Floats, exponent: float) -> None:
    mantissa, doublings = frexp(exponent)
    if mantissa != 0.5:
        np.power(tile, tile.dtype.type(exponent), out=tile)
        return
    for _ in range(doublings - 1):
        np.multiply(tile, tile, out=tile)


def gaussian_total(widths: Sequence[float]) -> tuple[float, Total]:
    """Return 1/σ of the widest Gaussian, and what sums the mean over the widths from −½‖·‖²/σ².

    Where a narrower one is the widest's 2^k-th power, as of widths {½, 1, 2}, its sum is that of
    squares: it is never written down, which leaves little beside the one exponential.
    """
    ordered = sorted(widths, reverse=True)
    powers = [(ordered[0] / narrow) ** 2 for narrow in ordered]
    if any(frexp(power)[0] != 0.5 for power in powers):
        scale, transform = gaussian(widths)
        return scale, summed(transform)

    def total(tile: Floats) -> list[float]:
        np.exp(tile, out=tile)
        sums, reached = list[float](), 1.0
        for power in powers:
            while 2.0 * reached < power:
                np.multiply(tile, tile, out=tile)
                reached *= 2.0
            sums += _sums(tile, squared=power > reached)
        return [one / len(ordered) for one in sums]

    return 1.0 / ordered[0], total


def summed(transform: Transform) -> Total:
    """Return what sums a kernel over a tile, from what turns products into the kernel."""

    def total(tile: Floats) -> list[float]:
        transform(tile)
        return _sums(tile, squared=False)

    return total


def _sums(tile: Floats, *, squared: bool) -> list[float]:
    """Return numbers that add up to the tile's sum, or to that of its squares."""
    flat = tile.reshape(-1)
    ones = np.ones(min(_SUMMED, len(flat)), tile.dtype)
    # Few at a time: a long sum in 32 bits loses digits, and a long product would wait for threads.
    parts = [flat[at : at + _SUMMED] for at in range(0, len(flat), _SUMMED)]
    return [float(part @ (part if squared else ones[: len(part)])) for part in parts]


def pair_sum(
    total: Total, first: Factors, second: Factors | None = None, *, nothing: float = 0.0
) -> float:
    """Return the sum of a kernel over all pairs (i, j) of two samples; of one, over i ≠ j.

    Args:
        total: Sums the kernel over a tile of products, which it may write over.
        first: Factors of one sample.
        second: Of the other.
        nothing: The product of which the kernel is 0, put in place of those of i = j.
    """
    right = first.right if second is None else second.right

    def share(mine: Sequence[slice]) -> list[float]:
        buffer = np.empty((mine[0].stop - mine[0].start) * len(right), right.dtype)
        sums: list[float] = []

        def add(rows: slice, columns: slice, times: float) -> None:
            tile = product(first.left[rows], right[columns], buffer)
            if second is None and rows == columns:
                np.fill_diagonal(tile, nothing)
            for part in cached_rows(tile):
                sums.extend([times * one for one in total(tile[part])])

        for rows in mine:
            if second is not None:
                add(rows, slice(0, len(right)), 1.0)
                continue
            add(rows, rows, 1.0)
            if rows.stop < len(right):
                add(rows, slice(rows.stop, len(right)), 2.0)
        return sums

    shares = in_threads(share, tiles(len(first.left)))
    return fsum(chain.from_iterable(shares))  # exact: does not depend on the number of threads


def tiles(n: int) -> list[slice]:
    """Return slices of n rows, so few that their products with all rows stay small."""
    return [slice(at, min(at + _TILE_ROWS, n)) for at in range(0, n, _TILE_ROWS)]


def product(left: Floats, right: Floats, buffer: Floats) -> Floats:
    """Return left·rightᵀ, written into the beginning of a buffer."""
    tile: Floats = buffer[: len(left) * len(right)].reshape(len(left), len(right))
    return np.matmul(left, right.T, out=tile)


def cached_rows(tile: Floats) -> list[slice]:
    """Return slices of so few rows that several passes over them stay in the cache."""
    few = max(1, _CACHED_BYTES // (tile.shape[1] * tile.itemsize))
    return [slice(at, min(at + few, len(tile))) for at in range(0, len(tile), few)]


def in_threads(work: Callable[[Sequence[slice]], Result], parts: Sequence[slice]) -> list[Result]:
    """Deal parts to as many threads as numpy's products have; return what each got from `work`.

    A product that all threads form together leaves all but one idle in what follows it, be it
    exponentials or sums; worse, they spin. Here each thread forms its products alone.
    """
    threads = max(1, min(_threads(), len(parts)))
    with _blas().limit(limits=1), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, [parts[at::threads] for at in range(threads)]))


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def _threads() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    available = min(os.cpu_count() or 1, _MOST_THREADS)
    return max(1, min(int(asked), available)) if asked.isdecimal() else available


def kernel_matrix(transform: Transform, factors: Factors) -> Floats:
    """Return a kernel of all pairs of one sample, (n, n), its diagonal 0."""
    kernel: Floats = factors.left @ factors.right.T

    def share(mine: Sequence[slice]) -> None:
        for part in mine:
            transform(kernel[part])

    in_threads(share, cached_rows(kernel))
    np.fill_diagonal(kernel, 0.0)
    return kernel
