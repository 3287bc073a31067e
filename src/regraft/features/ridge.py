"""Ridge regression on one-hot labels, solved from few rows whole, from many by blocks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regraft.errors import ShapeError
from regraft.features import standard
from regraft.features.logistic import STRENGTHS
from regraft.features.standard import blocks, moments, one_hot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from regraft.features.rows import Features

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """Least squares on one-hot labels with an L2 penalty, in closed form.

    Attributes:
        weight: Shape (C, d), float32; bias: shape (C,), on raw features.
        strength: λ of mean ½‖y − ŷ‖² + λ/2 ‖W‖² on standardised features.
        left_out: Shape (m, C): scores of some rows, each by the solution without it.
        rows: Which these are, shape (m,): all, or evenly spread where all would be large.
        error: Mean squared error of all rows by the solution without them, per row.
    """

    weight: Matrix
    bias: Matrix
    strength: float
    left_out: NDArray[np.float64]
    rows: NDArray[np.intp]
    error: float


def ridge_head(
    features: Features,
    labels: NDArray[np.integer],
    n_classes: int,
    *,
    strengths: NDArray[np.float64] = STRENGTHS,
) -> Ridge:
    """Return the ridge solution of the least leave-one-out error; ties go to the stronger penalty.

    One decomposition X = U S Vᵀ serves all strengths: the fit is U diag(s² / (s² + nλ)) Uᵀ Y, and
    the error of a row that was left out is its error over one minus its leverage. Rows that are
    more than one block, and more than they are wide, are not decomposed whole: V and S² are those
    of XᵀX, which is summed by blocks, as XᵀY is.

    Args:
        features: Shape (n, d), n ≥ 2.
        labels: Shape (n,), in [0, n_classes).
        n_classes: C.
        strengths: λ, from strong to weak.

    Raises:
        ShapeError: Rows and labels do not fit, or there are none.

    Reference:
        Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2nd ed., eq. 7.64.
    """
    if not len(strengths):
        raise ShapeError("no strength was given. Give one at least.")
    n, width = features.shape
    found = moments(features, labels)
    shares = np.bincount(labels, minlength=n_classes) / n
    is_whole = n * width <= standard.BLOCK_NUMBERS or n <= width
    parts = [slice(0, n)] if is_whole else list(blocks(n, max(width, n_classes)))

    def read(rows: slice | NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x = found.standardise(features[rows]).astype(np.float64)
        return x, one_hot(labels[rows], n_classes)

    heads = _heads([partial(read, part) for part in parts], shares, n)
    errors = np.zeros(len(strengths))
    for part in parts:
        wrongs = heads.wrong(*read(part), strengths)
        errors += [float((wrong**2).sum()) / n for wrong in wrongs]
    best = int(np.argmin(errors))
    chosen = strengths[best : best + 1]

    most = n if is_whole else min(n, standard.BLOCK_NUMBERS // max(width, n_classes))
    some = np.linspace(0, n - 1, most).astype(np.intp)
    x, targets = read(some)
    left_out = targets - next(heads.wrong(x, targets, chosen))
    raw = heads.weight(float(chosen[0])) / found.scale
    return Ridge(
        weight=raw.astype(np.float32),
        bias=(shares - raw @ found.mean).astype(np.float32),
        strength=float(chosen[0]),
        left_out=left_out,
        rows=some,
        error=float(errors[best]),
    )


def _heads(
    parts: Sequence[Callable[[], tuple[NDArray[np.float64], NDArray[np.float64]]]],
    shares: NDArray[np.float64],
    n: int,
) -> _Heads:
    """Decompose X as it is where it is one part, else XᵀX, which is summed over the parts."""
    if len(parts) == 1:
        x, targets = parts[0]()
        _, singular, axes = np.linalg.svd(x, full_matrices=False)
        return _Heads(axes.T, singular**2, axes @ (x.T @ (targets - shares)), shares, n)
    second = cross = np.zeros(())
    for part in parts:
        x, targets = part()
        second, cross = second + x.T @ x, cross + x.T @ (targets - shares)
    squares, axes = np.linalg.eigh(second)
    return _Heads(axes, np.maximum(squares, 0.0), axes.T @ cross, shares, n)


@dataclass(frozen=True, slots=True, eq=False)
class _Heads:
    """The solutions at all strengths, of XᵀX = V diag(s²) Vᵀ and VᵀXᵀ(Y − the classes' shares)."""

    axes: NDArray[np.float64]
    squares: NDArray[np.float64]
    inside: NDArray[np.float64]
    shares: NDArray[np.float64]
    n: int

    def wrong(
        self, x: NDArray[np.float64], targets: NDArray[np.float64], strengths: NDArray[np.float64]
    ) -> Iterator[NDArray[np.float64]]:
        """Yield for each strength the errors (m, C) of some rows, by the solutions without them."""
        along = x @ self.axes
        squared = along**2
        for strength in strengths:
            weak = self.squares + self.n * strength
            fitted = self.shares + along @ (self.inside / weak[:, None])
            leverage = 1 / self.n + squared @ (1 / weak)
            yield (targets - fitted) / np.maximum(1 - leverage, 1e-9)[:, None]

    def weight(self, strength: float) -> NDArray[np.float64]:
        """Return the weight (C, d) on standardised features."""
        weight = self.axes @ (self.inside / (self.squares + self.n * strength)[:, None])
        turned: NDArray[np.float64] = weight.T
        return turned
