"""How alike two representations of the same items are: centred kernel alignment."""

from __future__ import annotations

from itertools import chain
from math import fsum, sqrt
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from regraft.errors import ConfigError, ShapeError
from regraft.measure.kernels import (
    Factors,
    Floats,
    Transform,
    cached_rows,
    distance_factors,
    gaussian,
    in_threads,
    median_bandwidth,
    product,
    rows_of,
    tiles,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

Kernel = Literal["linear", "rbf"]

_FEWEST = 4
_BLOCK_ROWS = 2_500
_PAIRS = ((0, 1), (0, 0), (1, 1))


def cka(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernel: Kernel = "linear",
    unbiased: bool = True,
    width: float = 1.0,
) -> float:
    """Return the centred kernel alignment HSIC(x, y) / √(HSIC(x, x) HSIC(y, y)) of the same items.

    1 for features that are equal up to rotation, scale and origin. The biased one is far above 0
    for independent features with few items (.45 at n = 20, d = 16): keep `unbiased` for n < 10 d.
    The linear kernel takes time n·d² where n > d, else n²·d; the RBF n²·d, in tiles.

    Args:
        x: Shape (n, d₁), n ≥ 4.
        y: Shape (n, d₂), the same items in the same order.
        kernel: ``linear``, or ``rbf``: Gaussian, σ in units of each representation's median.
        unbiased: HSIC as a U-statistic (Song), else its V-statistic (Kornblith).
        width: σ of the RBF as a multiple of the median distance, > 0.

    Returns:
        About 0 … 1 (unbiased: may be slightly negative); nan where one has no variance.

    Raises:
        ShapeError: The number of rows differs, or is below 4.
        DataError: A number is not finite; for the RBF, half of the pairs are equal rows.
        ConfigError: There is no such kernel, or the width is not positive.

    Reference:
        Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, eq. 4;
        Song et al., JMLR 13 (2012), eq. 5.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> round(cka(x, 2 * x[:, ::-1] + 1), 12)
        1.0
    """
    first, second = _same_items(x, y, kernel=kernel, width=width)
    return _alignment(_hsics(first, second, kernel, width, unbiased=unbiased))


def cka_linear(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return linear CKA, HSIC unbiased, in float64: what studies record of feature movement.

    Args:
        first: Shape (n, d₁), n ≥ 4.
        second: Shape (n, d₂), the same items.

    Returns:
        A number ≤ about 1, about 0 for independent features; nan where one has no variance or is
        not finite, which a run that diverged leaves behind.

    Raises:
        ShapeError: The number of rows differs, or is below 4.

    Reference:
        Kornblith et al., ICML 2019, eq. 4; Song et al., JMLR 13 (2012), eq. 5.
    """
    pair = [np.asarray(one, dtype=np.float64) for one in (first, second)]
    if not all(np.isfinite(one).all() for one in pair):
        return float("nan")
    return cka(*pair)


def cka_minibatch(
    batches: Iterable[tuple[ArrayLike, ArrayLike]], *, kernel: Kernel = "linear", width: float = 1.0
) -> float:
    """Return CKA from batches of the same items: the ratio of mean unbiased HSICs.

    For more items than memory holds; unbiased HSIC does not depend on the size of the batch, so
    neither does its mean. The RBF's median is that of each batch.

    Args:
        batches: Pairs of features (b, d₁) and (b, d₂), b ≥ 4, read once.
        kernel: As for `cka`.
        width: As for `cka`.

    Raises:
        ShapeError: There are no batches, or rows of a batch differ in number or are below 4.
        DataError: A number is not finite; for the RBF, half of the pairs are equal rows.
        ConfigError: There is no such kernel, or the width is not positive.

    Reference:
        Nguyen, Raghu & Kornblith, Do Wide and Deep Networks Learn the Same Things?, ICLR 2021,
        eq. 2.
    """
    found = []
    for x, y in batches:
        first, second = _same_items(x, y, kernel=kernel, width=width)
        found.append(_hsics(first, second, kernel, width, unbiased=True))
    if not found:
        raise ShapeError("there are no batches. Give at least one pair of features.")
    means = np.mean(found, axis=0)
    return _alignment(_Hsics(float(means[0]), float(means[1]), float(means[2])))


class _Hsics(NamedTuple):
    cross: float
    first: float
    second: float


class _Sums(NamedTuple):
    """Sums over two kernels of n items: Σ k_ij l_ij of each pair of them, and row sums of each."""

    cross: float
    first: float
    second: float
    rows_first: NDArray[np.float64]
    rows_second: NDArray[np.float64]


def _alignment(found: _Hsics) -> float:
    if min(found.first, found.second) <= 0.0:
        return float("nan")
    return found.cross / sqrt(found.first * found.second)


def _same_items(
    x: ArrayLike, y: ArrayLike, *, kernel: Kernel, width: float
) -> tuple[Floats, Floats]:
    shapes = np.shape(x), np.shape(y)
    if {len(shape) for shape in shapes} != {2} or shapes[0][0] != shapes[1][0]:
        raise ShapeError(f"features {shapes[0]} and {shapes[1]} must share n ≥ {_FEWEST} rows.")
    if kernel not in ("linear", "rbf"):
        raise ConfigError(f"kernel {kernel!r} is neither 'linear' nor 'rbf'. Name one.")
    if not 0.0 < width < np.inf:
        raise ConfigError(f"width {width} must be a positive number.")
    first, second = rows_of(x, "x", fewest=_FEWEST), rows_of(y, "y", fewest=_FEWEST)
    kind = np.promote_types(first.dtype, second.dtype)
    return first.astype(kind, copy=False), second.astype(kind, copy=False)


def _hsics(x: Floats, y: Floats, kernel: Kernel, width: float, *, unbiased: bool) -> _Hsics:
    diagonal = 0.0 if unbiased else 1.0
    if kernel == "rbf":
        (first, use_first), (second, use_second) = _rbf(x, width), _rbf(y, width)
        sums = _pair_sums((first, second), (use_first, use_second), diagonal)
    else:
        by_features = len(x) > max(x.shape[1], y.shape[1])
        sums = (_feature_sums if by_features else _gram_sums)(x, y, unbiased=unbiased)
    n = len(x)
    return _Hsics(
        _hsic(sums.cross, sums.rows_first, sums.rows_second, n, unbiased=unbiased),
        _hsic(sums.first, sums.rows_first, sums.rows_first, n, unbiased=unbiased),
        _hsic(sums.second, sums.rows_second, sums.rows_second, n, unbiased=unbiased),
    )


def _hsic(
    product: float,
    rows_k: NDArray[np.float64],
    rows_l: NDArray[np.float64],
    n: int,
    *,
    unbiased: bool,
) -> float:
    """Return HSIC from Σ k_ij l_ij and the row sums; the unbiased one of zero diagonals."""
    totals, mixed = float(rows_k.sum() * rows_l.sum()), float(rows_k @ rows_l)
    if unbiased:
        value = product + totals / ((n - 1) * (n - 2)) - 2.0 * mixed / (n - 2)
        return value / (n * (n - 3))
    return (product + totals / n**2 - 2.0 * mixed / n) / (n - 1) ** 2


def _mean(rows: Floats) -> Floats:
    mean: Floats = (np.ones(len(rows), rows.dtype) @ rows) / rows.dtype.type(len(rows))
    return mean


def _feature_sums(x: Floats, y: Floats, *, unbiased: bool) -> _Sums:
    """Return the sums of centred linear kernels by d × d products: Σ k_ij l_ij = ‖xᵀy‖²_F.

    The rows of a centred kernel sum to 0; without its diagonal, to what the diagonal had.
    """
    n = len(x)
    means = _mean(x), _mean(y)
    buffers = [np.empty((min(n, _BLOCK_ROWS), one.shape[1]), one.dtype) for one in (x, y)]
    norms = np.empty((2, n))
    widths = x.shape[1], y.shape[1]
    products = [np.zeros((widths[a], widths[b]), x.dtype) for a, b in _PAIRS]
    for start in range(0, n, _BLOCK_ROWS):
        # A block at a time: a centred copy of all rows would cost as much as its products' tenth.
        rows = slice(start, min(start + _BLOCK_ROWS, n))
        parts = [buffer[: rows.stop - start] for buffer in buffers]
        for at, (whole, mean, part) in enumerate(zip((x, y), means, parts, strict=True)):
            norms[at, rows] = _centre(whole[rows], mean, part)
        for summed, (a, b) in zip(products, _PAIRS, strict=True):
            summed += parts[a].T @ parts[b]
    cross, first, second = products
    weight = 1.0 if unbiased else 0.0
    return _Sums(
        _square_sum(cross) - weight * float(norms[0] @ norms[1]),
        _square_sum(first) - weight * float(norms[0] @ norms[0]),
        _square_sum(second) - weight * float(norms[1] @ norms[1]),
        -weight * norms[0],
        -weight * norms[1],
    )


def _centre(rows: Floats, mean: Floats, out: Floats) -> Floats:
    """Write the rows about a mean; return their squared norms."""
    norms = np.empty(len(rows), rows.dtype)
    for part in cached_rows(rows):
        np.subtract(rows[part], mean, out=out[part])
        np.einsum("ij,ij->i", out[part], out[part], out=norms[part])
    return norms


def _square_sum(product: Floats) -> float:
    return float(np.square(product, dtype=np.float64).sum())


def _gram_sums(x: Floats, y: Floats, *, unbiased: bool) -> _Sums:
    x, y = x - _mean(x), y - _mean(y)
    diagonal = 0.0 if unbiased else None
    return _pair_sums((Factors(x, x), Factors(y, y)), (_as_it_is, _as_it_is), diagonal)


def _as_it_is(_: Floats) -> None:
    """Leave a linear kernel as the product gave it."""


def _rbf(rows: Floats, width: float) -> tuple[Factors, Transform]:
    scale, transform = gaussian([width * median_bandwidth(rows)])
    centre = rows.mean(axis=0)
    return distance_factors(rows, centre=centre, scale=scale), transform


def _pair_sums(
    factors: tuple[Factors, Factors],
    transforms: tuple[Transform, Transform],
    diagonal: float | None,
) -> _Sums:
    """Return the sums over two kernels, by tiles; a diagonal of None stays as it came out."""
    n = len(factors[0].left)

    def share(mine: Sequence[slice]) -> tuple[list[list[float]], NDArray[np.float64]]:
        most = mine[0].stop - mine[0].start
        buffers = [np.empty(most * n, one.left.dtype) for one in factors]
        rows, products = np.zeros((2, n)), [list[float]() for _ in _PAIRS]
        for some in mine:
            # A tile begins at the diagonal: of what is right of its square both triangles count.
            pair = [
                product(one.left[some], one.right[some.start :], buffer)
                for one, buffer in zip(factors, buffers, strict=True)
            ]
            for part in cached_rows(pair[0]):
                hot = [tile[part] for tile in pair]
                for tile, transform in zip(hot, transforms, strict=True):
                    transform(tile)
                    if diagonal is not None:
                        np.fill_diagonal(tile[:, part], diagonal)
                for sums, (a, b) in zip(products, _PAIRS, strict=True):
                    sums.append(2.0 * _dot(hot[a], hot[b]))
                    sums.append(-_dot(*(hot[at][:, : len(pair[0])] for at in (a, b))))
            for own, tile in zip(rows, pair, strict=True):
                own[some] += tile @ np.ones(tile.shape[1], tile.dtype)
                own[some.stop :] += np.ones(len(tile), tile.dtype) @ tile[:, len(tile) :]
        return products, rows

    found = in_threads(share, tiles(n))
    cross, first, second = (
        fsum(chain(*same)) for same in zip(*(one for one, _ in found), strict=True)
    )
    rows = sum((rows for _, rows in found), start=np.zeros((2, n)))
    return _Sums(cross, first, second, rows[0], rows[1])


def _dot(a: Floats, b: Floats) -> float:
    return float(np.einsum("ij,ij->i", a, b).sum(dtype=np.float64))
