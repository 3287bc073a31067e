"""Ridge regression on one-hot labels, solved from few rows whole, from many by blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regraft.errors import ShapeError
from regraft.features import standard
from regraft.features.logistic import STRENGTHS
from regraft.features.standard import Moments, blocks, moments, one_hot

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    found = moments(features, labels)
    if not len(strengths):
        raise ShapeError("no strength was given. Give one at least.")
    n, width = features.shape
    solve = _by_blocks if n * width > standard.BLOCK_NUMBERS and n > width else _whole
    return solve(features, labels, n_classes, strengths, found)


def _whole(
    features: Features,
    labels: NDArray[np.integer],
    n_classes: int,
    strengths: NDArray[np.float64],
    found: Moments,
) -> Ridge:
    x = found.standardise(features[:]).astype(np.float64)
    targets = one_hot(labels, n_classes)
    shares = targets.mean(axis=0)
    left, singular, right = np.linalg.svd(x, full_matrices=False)
    inside = left.T @ (targets - shares)
    best: Ridge | None = None
    for strength in strengths:
        shrunk = singular**2 / (singular**2 + len(x) * strength)
        fitted = shares + left @ (shrunk[:, None] * inside)
        leverage = 1 / len(x) + (left**2) @ shrunk  # the mean's and the weights'
        wrong = (targets - fitted) / np.maximum(1 - leverage, 1e-9)[:, None]
        error = float((wrong**2).sum(axis=1).mean())
        if best is None or error < best.error:
            solved = right.T @ ((singular / (singular**2 + len(x) * strength))[:, None] * inside)
            raw = solved.T / found.scale
            bias = shares - raw @ found.mean
            best = Ridge(
                raw.astype(np.float32),
                bias.astype(np.float32),
                float(strength),
                targets - wrong,
                np.arange(len(x)),
                error,
            )
    if best is None:
        raise AssertionError("there is a strength at least")
    return best


def _by_blocks(
    features: Features,
    labels: NDArray[np.integer],
    n_classes: int,
    strengths: NDArray[np.float64],
    found: Moments,
) -> Ridge:
    n, width = features.shape
    parts = list(blocks(n, max(width, n_classes)))
    shares = np.bincount(labels, minlength=n_classes) / n
    second, cross = np.zeros((width, width)), np.zeros((width, n_classes))
    for part in parts:
        x = found.standardise(features[part]).astype(np.float64)
        second += x.T @ x
        cross += x.T @ (one_hot(labels[part], n_classes) - shares)
    squares, axes = np.linalg.eigh(second)
    heads = _Heads(axes, np.maximum(squares, 0.0), axes.T @ cross, shares, n)

    errors = np.zeros(len(strengths))
    for part in parts:
        x = found.standardise(features[part]).astype(np.float64)
        wrongs = heads.wrong(x, one_hot(labels[part], n_classes), strengths)
        errors += [float((wrong**2).sum()) / n for wrong in wrongs]
    place = int(np.argmin(errors))
    strength = float(strengths[place])

    some = np.linspace(0, n - 1, min(n, standard.BLOCK_NUMBERS // n_classes)).astype(np.intp)
    left_out = np.empty((len(some), n_classes))
    for part in parts:
        inside = slice(*np.searchsorted(some, [part.start, part.stop]))
        x = found.standardise(features[part][some[inside] - part.start]).astype(np.float64)
        targets = one_hot(labels[some[inside]], n_classes)
        (wrong,) = heads.wrong(x, targets, strengths[place : place + 1])
        left_out[inside] = targets - wrong
    raw = heads.weight(strength) / found.scale
    bias = shares - raw @ found.mean
    return Ridge(
        raw.astype(np.float32), bias.astype(np.float32), strength, left_out, some, errors[place]
    )


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
