"""Marks: a corner of the images that gives a class away, as a stamp, date or logo does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.seeds import numpy_generator

Array = np.ndarray[Any, Any]

_CELLS = 8  # a side; a cell is an eighth of the image
_STRENGTHS = (1e-3, 1e-2, 1e-1)
_LEAST_OF_CLASS, _MOST_ROWS = 20, 4000
_PERMUTATIONS = 99
_NAMED = 3

# What a corner explains of a class, left one out, beyond what the median place along the border
# does. Corners of clean photographs and drawings stay below 0.15. The middle of an edge is no place
# to look: objects reach it, and it explains a third of the guitars among sketches.
_EXCESS = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A place that gives a class away.

    Attributes:
        place: ``top left corner`` …
        label: The class.
        explained: Share of the variance of its indicator that the place explains, left one out.
        elsewhere: The same of the median place along the border.
        rows: The items of the class that most look marked.
    """

    place: str
    label: int
    explained: float
    elsewhere: float
    rows: tuple[int, ...]


def find_marks(thumbnails: Array, labels: Array, *, seed: int = 0) -> list[Mark]:
    """Return the marks, at most one a corner: that of the class it tells best.

    Each of the 28 cells along the border predicts each class by ridge regression on its 64 grey
    values, left one out in closed form. Light and backgrounds inform all cells about alike; a mark
    informs its corner far more than the rest. It must also beat the best cell on 99 permutations of
    the labels. Classes of fewer than 20 items, or 20 others, are passed over.

    Args:
        thumbnails: Grey, (n, 64, 64). Evenly spaced rows are taken beyond 4,000.
        labels: Class of each, (n,). None but of items that train and validate.
        seed: Seed of the permutations.
    """
    taken = np.linspace(0, len(labels) - 1, min(len(labels), _MOST_ROWS)).astype(np.int64)
    classes, counts = np.unique(labels[taken], return_counts=True)
    classes = classes[np.minimum(counts, len(taken) - counts) >= _LEAST_OF_CLASS]
    if not len(classes):
        return []
    pictures = thumbnails[taken]
    targets = (labels[taken][:, None] == classes).astype(np.float64)
    cells = [_Cell(pictures, *place) for place in _border()]
    explained = np.maximum([cell.explained(targets) for cell in cells], 0.0)  # (28, C)
    elsewhere = np.median(explained, axis=0)
    corners = [i for i, cell in enumerate(cells) if cell.is_corner]
    found = []
    for cell in corners:
        column = int((explained[cell] - elsewhere).argmax())
        if explained[cell, column] - elsewhere[column] < _EXCESS:
            continue
        if explained[cell, column] <= _by_chance(cells, targets[:, column], seed=seed):
            continue
        is_marked, order = cells[cell].marked(targets[:, column])
        if not is_marked and len(classes) == 2 == len(np.unique(labels)):
            column = 1 - column
        else:
            order = order if is_marked else order[::-1]
        rows = order[targets[order, column] > 0][:_NAMED]
        found.append(
            Mark(
                cells[cell].place,
                int(classes[column]),
                float(explained[cell, column]),
                float(elsewhere[column]),
                tuple(int(taken[row]) for row in rows),
            )
        )
    return found


def left_out_explained(features: Array, targets: Array, strengths: tuple[float, ...]) -> Array:
    """Return the best share of variance that ridge regression explains, left one out.

    1 − Σ(y − ŷ)² / Σ(y − ȳ)², where ŷ and the mean ȳ are of the other rows.

    Args:
        features: (n, d), n ≥ 2.
        targets: (n, m), none constant.
        strengths: Ridge penalties, per row; the best is taken for each target.

    Returns:
        (m,), at most 1.
    """
    return _Ridge(features).explained(targets, strengths)


class _Ridge:
    """Ridge regression with an unpenalised intercept, for many targets and penalties."""

    def __init__(self, features: Array) -> None:
        centred = features - features.mean(axis=0)
        values, vectors = np.linalg.eigh(centred.T @ centred)
        kept = values > 1e-9 * max(float(values.max(initial=0.0)), 1.0)
        self._values = values[kept]
        self._basis = centred @ (vectors[:, kept] / np.sqrt(self._values))  # (n, r), orthonormal

    def fitted(self, targets: Array, strength: float) -> Array:
        mean = targets.mean(axis=0)
        kept = self._values / (self._values + strength * len(self._basis))
        along = (self._basis.T @ (targets - mean)).T * kept
        fitted: Array = mean + self._basis @ along.T
        return fitted

    def explained(self, targets: Array, strengths: tuple[float, ...]) -> Array:
        n = len(targets)
        spread = (((targets - targets.mean(axis=0)) * (n / (n - 1))) ** 2).sum(axis=0)
        best = np.full(targets.shape[1], -np.inf)
        for strength in strengths:
            kept = self._values / (self._values + strength * n)
            leverage = 1 / n + (self._basis**2) @ kept
            errors = (targets - self.fitted(targets, strength)) / (1 - leverage)[:, None]
            best = np.maximum(best, 1 - (errors**2).sum(axis=0) / spread)
        return best


class _Cell:
    """One cell of the border and what its grey values explain; `place` is named for corners."""

    def __init__(self, pictures: Array, row: int, column: int) -> None:
        size = pictures.shape[-1] // _CELLS
        part = pictures[:, row * size : (row + 1) * size, column * size : (column + 1) * size]
        self._grey = part.reshape(len(pictures), -1) / float(size**2)
        self._ridge = _Ridge(self._grey)
        last = _CELLS - 1
        self.is_corner = row in (0, last) and column in (0, last)
        self.place = f"{'bottom' if row else 'top'} {'right' if column else 'left'} corner"

    def explained(self, targets: Array) -> Array:
        return self._ridge.explained(targets, _STRENGTHS)

    def marked(self, target: Array) -> tuple[bool, Array]:
        """Return whether the class is marked, not the rest, and the order in which rows look so.

        What a cell tells of one of two classes it tells of the other. Of the two sides of the
        fitted indicator the marked one varies less in grey values, for a mark covers what differs.
        """
        fitted = self._ridge.fitted(target[:, None], _STRENGTHS[0])[:, 0]
        is_high = fitted > _cut(fitted)
        spreads = [float(self._grey[side].var(axis=0).mean()) for side in (is_high, ~is_high)]
        is_marked = spreads[0] <= spreads[1]
        return is_marked, np.argsort(-fitted if is_marked else fitted, kind="stable")


def _cut(values: Array) -> float:
    """Return where values (n,), n ≥ 2, are best cut in two: least squares within (Otsu, 1979)."""
    ordered = np.sort(values)
    below, count = np.cumsum(ordered)[:-1], np.arange(1, len(ordered))
    between = below**2 / count + (ordered.sum() - below) ** 2 / (len(ordered) - count)
    return float(ordered[int(between.argmax())])


def _border() -> list[tuple[int, int]]:
    ends = (0, _CELLS - 1)
    return [(r, c) for r in range(_CELLS) for c in range(_CELLS) if r in ends or c in ends]


def _by_chance(cells: list[_Cell], target: Array, *, seed: int) -> float:
    """Return the most that any cell explains of 99 permutations of a class."""
    random = numpy_generator(seed, "marks")
    permuted = np.stack([random.permutation(target) for _ in range(_PERMUTATIONS)], axis=1)
    return max(float(cell.explained(permuted).max()) for cell in cells)
