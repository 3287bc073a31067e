"""Distances between domains by optimal transport: sliced Wasserstein and OTDD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import ConfigError, DataError, ShapeError
from regraft.measure.kernels import two_samples
from regraft.measure.moments import bures2, factor_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from regraft.measure.kernels import Floats

PROJECTIONS = 128
OTDD_ROWS = 2_000

# Sorted projections of both samples are held for so many numbers at once.
_NUMBERS_AT_ONCE = 1 << 24


def sliced_wasserstein(
    x: ArrayLike,
    y: ArrayLike,
    *,
    p: float = 2.0,
    projections: int = PROJECTIONS,
    seed: int = 0,
) -> float:
    """Return the sliced Wasserstein distance: the mean W_p^p over random directions, to the 1/p.

    On a line W_p^p = ∫ |F⁻¹(t) − G⁻¹(t)|^p dt, exact for any n and m. Directions are orthogonal
    in groups of d; so a translation by v gives ‖v‖²/d exactly (squared, p = 2) where their number
    is a multiple of d.

    Args:
        x: Features of one domain, shape (n, d), n ≥ 1.
        y: Features of the other, shape (m, d), m ≥ 1.
        p: Order, ≥ 1.
        projections: Number of directions; the error falls as its root.
        seed: Of the directions.

    Raises:
        ShapeError: The widths differ, or a sample has no rows.
        DataError: A number is not finite.
        ConfigError: p is below 1, or there are no projections.

    Reference:
        Bonneel et al., Sliced and Radon Wasserstein Barycenters, J. Math. Imaging Vis. 51 (2015),
        eq. 8.

    Example:
        >>> sliced_wasserstein([[0.0], [1.0]], [[2.0], [3.0]])
        2.0
    """
    if p < 1.0 or projections < 1:
        raise ConfigError(
            f"p = {p} and {projections} projections: give p of at least 1 and 1 projection or more."
        )
    first, second = two_samples(x, y, fewest=1)
    at_first, at_second, weights = _quantiles(len(first), len(second))
    total = 0.0
    for directions in _directions(first, second, projections, seed=seed):
        sorted_first = np.sort((first @ directions).T.astype(np.float64), axis=1)
        sorted_second = np.sort((second @ directions).T.astype(np.float64), axis=1)
        apart = np.abs(sorted_first[:, at_first] - sorted_second[:, at_second])
        total += float((apart**p @ weights).sum())
    return float((total / projections) ** (1.0 / p))


def _quantiles(n: int, m: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return which order statistics of n and m rows meet, and the share of the mass where they do.

    In integers: in units of 1 / (n m) the steps of the one lie at multiples of m, of the other n.
    """
    levels = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    starts = np.concatenate([[0], levels[:-1]])
    return starts // m, starts // n, (levels - starts) / (n * m)


def _directions(x: Floats, y: Floats, count: int, *, seed: int) -> Iterator[Floats]:
    """Yield unit vectors as columns (d, k), orthogonal within groups of d, k as memory allows."""
    d, generator = x.shape[1], np.random.default_rng(seed)
    at_once = max(1, _NUMBERS_AT_ONCE // (len(x) + len(y)))
    for drawn in range(0, count, d):
        turn, triangle = np.linalg.qr(generator.normal(size=(d, d)))
        turn = (turn * np.sign(np.diag(triangle)))[:, : count - drawn].astype(x.dtype)
        for start in range(0, turn.shape[1], at_once):
            yield turn[:, start : start + at_once]


def otdd(
    x: ArrayLike,
    labels_x: ArrayLike,
    y: ArrayLike,
    labels_y: ArrayLike,
    *,
    rows: int = OTDD_ROWS,
    seed: int = 0,
) -> float:
    """Return the optimal transport distance of two labelled data sets; labels need not be shared.

    The cost of a pair is ‖x − x'‖² + W₂²(N_y, N_y'), where N_y is the Gaussian fitted to the
    features of a class; the distance is the root of the least mean cost, by an exact plan.
    Symmetric, 0 for equal data sets, blind to the names of labels.

    Args:
        x: Features of one data set, shape (n, d).
        labels_x: Its classes, shape (n,); numbers or strings.
        y: Features of the other, shape (m, d).
        labels_y: Its classes, shape (m,).
        rows: Rows of each that the plan moves, drawn without replacement where there are more; the
            Gaussians see all. Memory for rows², time for about rows³.
        seed: Of the drawing.

    Raises:
        ShapeError: The widths differ, a sample is empty, or labels do not fit their rows.
        DataError: A number is not finite, or the plan was not found.
        ConfigError: POT is not installed, or fewer than 1 row is to be moved.

    Reference:
        Alvarez-Melis & Fusi, Geometric Dataset Distances via Optimal Transport, NeurIPS 2020,
        eq. 4 and 6.

    Example:
        >>> x, labels = [[0.0], [1.0], [9.0], [10.0]], ["a", "a", "b", "b"]
        >>> otdd(x, labels, [[3.0], [4.0], [12.0], [13.0]], labels)  # both terms are 3²
        4.242640687119285
    """
    if rows < 1:
        raise ConfigError(f"rows is {rows}. Move at least 1.")
    samples = [one.astype(np.float64) for one in two_samples(x, y, fewest=1)]
    classes = [
        _class_indices(given, len(sample), name)
        for given, sample, name in zip((labels_x, labels_y), samples, "xy", strict=True)
    ]
    between_labels = _label_distances(samples, classes)
    moved = [_drawn(len(sample), rows, seed=seed) for sample in samples]
    from scipy.spatial.distance import cdist  # loads in a third of a second

    cost = cdist(samples[0][moved[0]], samples[1][moved[1]], "sqeuclidean")
    cost += between_labels[np.ix_(classes[0][moved[0]], classes[1][moved[1]])]
    return float(np.sqrt(max(_least_cost(cost), 0.0)))


def _class_indices(labels: ArrayLike, n: int, name: str) -> NDArray[np.intp]:
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ShapeError(f"labels_{name} {array.shape} must be one for each of {n} rows.")
    return np.unique(array, return_inverse=True)[1]


def _label_distances(
    samples: list[NDArray[np.float64]], classes: list[NDArray[np.intp]]
) -> NDArray[np.float64]:
    """Return W₂² between the Gaussians of the classes of both samples, shape (C_x, C_y)."""
    groups = [
        [sample[of == one] for one in range(int(of.max()) + 1)]
        for sample, of in zip(samples, classes, strict=True)
    ]
    gaussians = [[(one.mean(axis=0), factor_of(one)) for one in side] for side in groups]
    return np.array(
        [
            [
                float(((mean - other) ** 2).sum()) + bures2(root, twin)
                for other, twin in gaussians[1]
            ]
            for mean, root in gaussians[0]
        ]
    )


def _drawn(n: int, rows: int, *, seed: int) -> NDArray[np.intp]:
    """Return which rows the plan moves: the same of two samples of equal size."""
    if n <= rows:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, rows, replace=False))


def _least_cost(cost: NDArray[np.float64]) -> float:
    try:
        from ot.lp import emd2
    except ImportError as error:
        raise ConfigError("otdd needs POT, which is not installed. Install regraft[ot].") from error
    n, m = cost.shape
    shares = np.full(n, 1.0 / n), np.full(m, 1.0 / m)
    value, log = emd2(*shares, cost, numItermax=10_000_000, log=True)
    if log["warning"] is not None:
        raise DataError(f"no optimal plan was found ({log['warning']}). Move fewer rows.")
    return float(value)
