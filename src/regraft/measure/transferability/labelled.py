"""Features with labels, checked once for every estimator, and the decomposition they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

from regraft.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FEWEST = 2


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Features with the class of each row.

    Attributes:
        x: Features, shape (n, d), float64, finite.
        classes: Class of each row as an index into the sorted label names, shape (n,).
        counts: Rows of each class, shape (C,), all ≥ 1; C ≥ 2.
    """

    x: NDArray[np.float64]
    classes: NDArray[np.intp]
    counts: NDArray[np.intp]

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.counts)

    def means_of(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of each class of some rows (n, k), shape (C, k)."""
        sums = np.zeros((self.n_classes, rows.shape[1]))
        np.add.at(sums, self.classes, rows)
        means: NDArray[np.float64] = sums / self.counts[:, None]
        return means


def class_indices(labels: NDArray[np.generic]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the class index of each label, by sorted name, and the rows of each class.

    Raises:
        ShapeError: There are fewer than two labels, or fewer than two classes among them.
    """
    if labels.ndim != 1 or len(labels) < _FEWEST:
        raise ShapeError(f"labels {labels.shape} are too few or not flat. Give (n,) with n ≥ 2.")
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(counts) < _FEWEST:
        raise ShapeError("all labels are of one class. Give items of two classes or more.")
    return classes.reshape(-1), counts


def labelled(features: NDArray[np.floating], labels: NDArray[np.generic]) -> Labelled:
    """Return checked features and labels; labels may be of any type that sorts.

    Raises:
        ShapeError: The shapes do not fit, a feature is not finite, or there is a single item or a
            single class.
    """
    classes, counts = class_indices(labels)
    if features.ndim != 2 or len(features) != len(labels) or features.shape[1] < 1:
        raise ShapeError(
            f"features {features.shape} do not fit {len(labels)} labels. Give (n, d), d ≥ 1."
        )
    x = features.astype(np.float64)
    if not np.isfinite(x).all():
        raise ShapeError("features hold values that are not finite. Leave those items out.")
    return Labelled(x, classes, counts)


def thin_svd(
    x: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return U (n, r), s (r,) and Vᵀ (r, d) of x, r its numerical rank (at least 0).

    Singular values below max(n, d) ε σ_max are rounding and left out.
    """
    left, values, right = linalg.svd(x, full_matrices=False, check_finite=False)
    floor = max(x.shape) * np.finfo(np.float64).eps * (values[0] if len(values) else 0.0)
    rank = int(np.count_nonzero(values > floor))
    return left[:, :rank], values[:rank], right[:rank]


def in_row_space(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows of x in an orthonormal basis of their span where that is narrower than d.

    Distances and inner products of rows stay as they are, so nothing that rests on them changes.
    """
    if x.shape[1] <= len(x):
        return x
    _, triangle = np.linalg.qr(x.T)
    return np.ascontiguousarray(triangle.T)
