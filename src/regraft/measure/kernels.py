"""Kernels of all pairs of rows, tile by tile: one matrix product, then everything else in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from math import frexp, fsum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regraft.errors import ConfigError, DataError, ShapeError

Floats = NDArray[np.floating]
Transform = Callable[[Floats], None]
Total = Callable[[Floats], list[float]]
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
    buffer = np.empty(min(len(first.left), _TILE_ROWS) * len(right), right.dtype)
    sums: list[float] = []

    def add(rows: slice, columns: slice, times: float) -> None:
        left, other = first.left[rows], right[columns]
        if not len(other):
            return
        tile = buffer[: len(left) * len(other)].reshape(len(left), len(other))
        np.matmul(left, other.T, out=tile)
        if second is None and rows == columns:
            np.fill_diagonal(tile, nothing)
        use = partial(_add_part, sums, total, tile, times)
        in_threads(use, cached_rows(tile))

    for start in range(0, len(first.left), _TILE_ROWS):
        rows = slice(start, min(start + _TILE_ROWS, len(first.left)))
        if second is not None:
            add(rows, slice(0, len(right)), 1.0)
        else:
            add(rows, rows, 1.0)
            add(rows, slice(rows.stop, len(right)), 2.0)
    return fsum(sums)  # exact, so that the order in which threads came does not matter


def _add_part(sums: list[float], total: Total, tile: Floats, times: float, part: slice) -> None:
    sums.extend([times * one for one in total(tile[part])])


def for_each_tile(
    use: Callable[..., None],
    *products: Factors,
    symmetric: bool,
    finish: Callable[..., None] | None = None,
) -> None:
    """Form left·rightᵀ in tiles of rows, several products in step, and use them while they are hot.

    Args:
        use: Called as `use(start, part, *tiles)` for few rows of the tiles at once, in threads.
        products: Factors with equal numbers of rows.
        symmetric: A tile begins at the diagonal: its columns are start … n.
        finish: Called as `finish(start, *tiles)` when all rows of the tiles are used.
    """
    n, m = len(products[0].left), len(products[0].right)
    buffers = [np.empty((min(n, _TILE_ROWS), m), one.left.dtype) for one in products]
    for start in range(0, n, _TILE_ROWS):
        stop, skip = min(start + _TILE_ROWS, n), start if symmetric else 0
        tiles = [one[: stop - start, : m - skip] for one in buffers]
        for tile, (left, right) in zip(tiles, products, strict=True):
            np.matmul(left[start:stop], right[skip:].T, out=tile)
        in_threads(partial(_use_part, use, start, tiles), cached_rows(tiles[0]))
        if finish is not None:
            finish(start, *tiles)


def _use_part(use: Callable[..., None], start: int, tiles: Sequence[Floats], part: slice) -> None:
    use(start, part, *tiles)


def cached_rows(tile: Floats) -> list[slice]:
    """Return slices of so few rows that several passes over them stay in the cache."""
    few = max(1, _CACHED_BYTES // (tile.shape[1] * tile.itemsize))
    return [slice(at, min(at + few, len(tile))) for at in range(0, len(tile), few)]


def in_threads(use: Callable[[slice], None], parts: Sequence[slice]) -> None:
    """Call a function on all parts, spread over as many threads as products of matrices have.

    numpy computes elementwise functions in the thread that calls them: without this they would take
    as long as a tenth of the products on one core, but a fifth on two.
    """
    threads = min(_threads(), len(parts))
    if threads == 1:
        _use_all(use, parts)
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(_use_all, use, parts[at::threads]) for at in range(1, threads)]
        _use_all(use, parts[::threads])
        for one in others:
            one.result()


def _use_all(use: Callable[[slice], None], parts: Sequence[slice]) -> None:
    for part in parts:
        use(part)


def _threads() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    available = min(os.cpu_count() or 1, _MOST_THREADS)
    return max(1, min(int(asked), available)) if asked.isdecimal() else available


def kernel_matrix(transform: Transform, factors: Factors) -> Floats:
    """Return a kernel of all pairs of one sample, (n, n), its diagonal 0."""
    kernel: Floats = factors.left @ factors.right.T
    in_threads(lambda part: transform(kernel[part]), cached_rows(kernel))
    np.fill_diagonal(kernel, 0.0)
    return kernel
