"""Multinomial logistic regression over a path of L2 strengths, solved on features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from numpy.typing import NDArray

from regraft.features.lbfgs import Descent, Point, lbfgs
from regraft.features.rows import chosen
from regraft.features.standard import Moments, blocks, moments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from regraft.features.rows import Features

STRENGTHS: NDArray[np.float64] = np.logspace(1, -5, 20)
"""L2 strengths λ of the path, strong to weak: mean loss + λ/2 · ‖W‖² on standardised features."""

KEPT_BYTES = 1 << 30
"""Standardised rows are kept up to this size; above it every pass reads and standardises anew."""

_DEFAULT_STRENGTH = 1e-2
_FOLDS = 5
_PATIENCE = 3
_SMOOTHING = 1e-3
_TOGETHER = 4
_TOLERANCE = 1e-6
_LEAST_CURVATURE = 1e-2  # of the bias, which has no penalty
_LEAST_SPREAD = 1e-4
_FOR_SPREAD = 4096
_READ_NUMBERS = 1 << 18

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A solved linear head on raw features.

    Attributes:
        weight: Shape (C, d), float32; bias: shape (C,).
        strength: Its L2 strength λ.
        loss: Mean training cross-entropy in nats, without the penalty.
    """

    weight: Matrix
    bias: Matrix
    strength: float
    loss: float

    def logits(self, features: Features) -> NDArray[np.float64]:
        """Return logits (n, C) of features (n, d)."""
        logits = np.empty((len(features), len(self.bias)))
        for rows, block in self._by_block(features):
            logits[rows] = block
        return logits

    def log_loss(self, features: Features, labels: NDArray[np.integer]) -> float:
        """Return the mean cross-entropy in nats on features (n, d); no logits are kept."""
        losses = np.empty(len(features))
        for rows, block in self._by_block(features):
            losses[rows] = _log_losses(block, labels[rows])
        return float(losses.mean())

    def _by_block(self, features: Features) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        n, width = features.shape
        weight = self.weight.T.astype(np.float64)
        for rows in blocks(n, max(width, len(self.bias))):
            yield rows, features[rows].astype(np.float64) @ weight + self.bias


def logistic_path(
    features: Features,
    labels: NDArray[np.integer],
    n_classes: int,
    *,
    strengths: NDArray[np.float64] = STRENGTHS,
    memory_bytes: float = KEPT_BYTES,
) -> list[Probe]:
    """Multinomial logistic regression at every strength of a path.

    Minimises mean cross-entropy + λ/2 · ‖W‖² on features standardised by their own mean and
    deviation; the bias is not penalised. Four strengths at a time descend together by L-BFGS and
    share each pass over the features; they start from the weakest of the four before. The loss is
    within 1e-5 of the least one, which is that of scikit-learn's ``LogisticRegression`` with
    C = 1 / (λ n) on the same standardised features. Products are in float32, sums in float64.
    Features are read in blocks: beside them it takes `memory_bytes`, a few blocks of 16 MiB and
    what a few heads take. What of the rows is kept in memory changes no number.

    Args:
        features: Shape (n, d); may be rows of a mapped file.
        labels: Shape (n,), in [0, n_classes).
        n_classes: C; classes without items get no score above the others.
        strengths: λ, from strong to weak.
        memory_bytes: Standardised rows are kept if they are not larger, nor than 1 GiB.

    Raises:
        ShapeError: Rows and labels do not fit, or there are none.
    """
    return list(_walk(features, labels, n_classes, strengths, memory_bytes))


def fit_probe(
    features: Features,
    labels: NDArray[np.integer],
    n_classes: int,
    held_out: Features,
    held_out_labels: NDArray[np.integer],
    *,
    memory_bytes: float = KEPT_BYTES,
) -> Probe:
    """Return the linear probe: the path's head with the lowest log loss on the held-out rows.

    Without held-out rows the strength is chosen by folds of the training rows and the head solved
    on all of them; where a class has a single row, it is 0.01. Ties go to the stronger penalty.

    Args:
        features: Training features (n, d); labels: (n,).
        labels: Training labels.
        n_classes: C.
        held_out: Validation features (m, d); m may be 0.
        held_out_labels: Validation labels (m,).
        memory_bytes: As `logistic_path` takes it.
    """
    if len(held_out_labels):
        path = _walk(features, labels, n_classes, STRENGTHS, memory_bytes)
        return _best_on(path, held_out, held_out_labels)
    strength = np.array([_strength_by_folds(features, labels, n_classes, memory_bytes)])
    return next(_walk(features, labels, n_classes, strength, memory_bytes))


def log_loss(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Return the mean cross-entropy in nats of logits (n, C)."""
    return float(_log_losses(logits, labels).mean())


def _log_losses(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.floating]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    normal = np.log(np.exp(shifted).sum(axis=1))
    losses: NDArray[np.floating] = normal - shifted[np.arange(len(labels)), labels]
    return losses


def _walk(
    features: Features,
    labels: NDArray[np.integer],
    n_classes: int,
    strengths: NDArray[np.float64],
    memory_bytes: float,
) -> Iterator[Probe]:
    """Yield the solution at each strength; a few are solved at a time, when they are asked for."""
    rows = _Rows(features, labels, n_classes, min(KEPT_BYTES, memory_bytes))
    point = rows.start()
    for first in range(0, len(strengths), _TOGETHER):
        chosen = [float(strength) for strength in strengths[first : first + _TOGETHER]]
        ends = _solve(rows, chosen, point)
        for strength, (point, value) in zip(chosen, ends, strict=True):
            yield rows.probe(point, strength, value)


def _solve(rows: _Rows, strengths: list[float], start: Point) -> list[tuple[Point, float]]:
    """Descend at all strengths together; return where each ends, and the value there."""
    spread = rows.spread(start)
    descents: dict[float, Descent] = {
        strength: lbfgs(
            start,
            precondition=partial(rows.precondition, strength=strength, spread=spread),
            curvature=min(strength, _LEAST_CURVATURE),
            tolerance=_TOLERANCE,
        )
        for strength in strengths
    }
    points = {strength: next(descent) for strength, descent in descents.items()}
    least: dict[float, tuple[Point, float]] = {}
    while points:
        answers = rows.evaluate(list(points.values()), list(points))
        for strength, (value, gradient) in zip(list(points), answers, strict=True):
            if strength not in least or value < least[strength][1]:
                least[strength] = points[strength], value
            try:
                points[strength] = descents[strength].send((value, gradient))
            except StopIteration:
                del points[strength]
    return [least[strength] for strength in strengths]


@final
class _Rows:
    """Standardised rows, in an orthonormal basis of theirs where that is narrower, with labels.

    With an L2 penalty the optimal weights lie in the span of the rows, so nothing is lost.
    A point is the weights (width · C,), feature by feature, and then the biases (C,).
    """

    def __init__(
        self, features: Features, labels: NDArray[np.integer], n_classes: int, kept_bytes: float
    ) -> None:
        self._features, self._n_classes = features, n_classes
        self._labels = torch.from_numpy(np.asarray(labels, np.int64))
        self._moments: Moments = moments(features, labels)
        self._basis: NDArray[np.float64] | None = None
        self._kept: torch.Tensor | None = None
        n, width = features.shape
        self._n = n
        if width > n:
            columns, triangle = np.linalg.qr(self._standardised(slice(None)).T.astype(np.float64))
            self._basis, width = np.ascontiguousarray(columns.T), n
            self._kept = torch.from_numpy(np.ascontiguousarray(triangle.T, np.float32))
        elif 4 * n * width <= kept_bytes:
            self._kept = self._read(slice(0, n), torch.empty((n, width)))
        # One buffer for all blocks: allocated anew for each, they would leave the heap in pieces.
        most = max(next(blocks(n, width)).stop, min(n, _FOR_SPREAD))
        self._buffer = torch.empty((most if self._kept is None else 0, width))
        self._width = width
        second = torch.zeros((width, width), dtype=torch.float64)
        for block in blocks(n, width):
            x = self._block(block)
            second += x.T @ x / n
        variances, self._axes = np.linalg.eigh(second.numpy())
        self._variances = np.maximum(variances, 0.0)

    def start(self) -> Point:
        """Return the point of no weights and the classes' shares."""
        counts = torch.bincount(self._labels, minlength=self._n_classes).numpy()
        shares = (counts + _SMOOTHING) / (self._n + _SMOOTHING * self._n_classes)
        return np.concatenate([np.zeros(self._width * self._n_classes), np.log(shares)])

    def spread(self, point: Point) -> float:
        """Return the mean of p (1 − p) over classes and some rows: how much the loss curves."""
        some = self._block(slice(0, _FOR_SPREAD))
        weight, bias = self._stacked([point])
        p = torch.softmax(torch.addmm(bias, some, weight), dim=1)
        return max(float((p * (1 - p)).mean()), _LEAST_SPREAD)

    def precondition(self, vector: Point, *, strength: float, spread: float) -> Point:
        """Return a vector times the inverse of spread · XᵀX/n + λ, which is near the Hessian's."""
        size = self._width * self._n_classes
        inside = self._axes.T @ vector[:size].reshape(self._width, self._n_classes)
        inside /= (spread * self._variances + strength)[:, None]
        return np.concatenate([(self._axes @ inside).ravel(), vector[size:] / spread])

    def evaluate(
        self, points: Sequence[Point], strengths: Sequence[float]
    ) -> list[tuple[float, Point]]:
        """Return penalised mean loss and gradient at each point, by one pass over the rows."""
        n_points, n_classes, width = len(points), self._n_classes, self._width
        weight, bias = self._stacked(points)
        losses = torch.zeros(n_points, dtype=torch.float64)
        sums = torch.zeros((width, n_points * n_classes), dtype=torch.float64)
        totals = torch.zeros(n_points * n_classes, dtype=torch.float64)
        for block in blocks(self._n, max(width, n_points * n_classes)):
            x = self._block(block)
            logits = torch.addmm(bias, x, weight).view(len(x), n_points, n_classes)
            logs = torch.log_softmax(logits, dim=2)
            given = self._labels[block][:, None, None].expand(len(x), n_points, 1)
            losses -= logs.gather(2, given).sum(dim=(0, 2), dtype=torch.float64)
            errors = logs.exp_().scatter_add_(2, given, -torch.ones_like(given, dtype=logs.dtype))
            errors = errors.view(len(x), n_points * n_classes)
            sums += x.T @ errors
            totals += errors.sum(dim=0, dtype=torch.float64)
        by_point = sums.view(width, n_points, n_classes).transpose(0, 1).reshape(n_points, -1)
        gradients = torch.cat([by_point, totals.view(n_points, n_classes)], dim=1) / self._n
        answers = []
        for point, strength, loss, slope in zip(
            points, strengths, losses.tolist(), gradients.numpy(), strict=True
        ):
            penalised = np.append(point[: width * n_classes], np.zeros(n_classes))
            value = loss / self._n + 0.5 * strength * float(penalised @ penalised)
            answers.append((value, slope + strength * penalised))
        return answers

    def probe(self, point: Point, strength: float, value: float) -> Probe:
        """Return the head on raw features of a point."""
        size = self._width * self._n_classes
        weight = point[:size].reshape(self._width, self._n_classes).T
        loss = value - 0.5 * strength * float((weight**2).sum())
        raw = (weight if self._basis is None else weight @ self._basis) / self._moments.scale
        raw[:, ~self._moments.varies] = 0.0
        offset = point[size:] - raw @ self._moments.mean
        return Probe(raw.astype(np.float32), offset.astype(np.float32), strength, loss)

    def _stacked(self, points: Sequence[Point]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the points' weights (width, points · C) and biases (points · C,), in float32."""
        size = self._width * self._n_classes
        weights = [point[:size].reshape(self._width, self._n_classes) for point in points]
        biases = np.concatenate([point[size:] for point in points])
        stacked = np.concatenate(weights, axis=1)
        return torch.from_numpy(stacked).float(), torch.from_numpy(biases).float()

    def _standardised(self, rows: slice) -> NDArray[np.float32]:
        return self._moments.standardise(np.asarray(self._features[rows]))

    def _block(self, rows: slice) -> torch.Tensor:
        if self._kept is not None:
            return self._kept[rows]
        return self._read(rows, self._buffer)

    def _read(self, rows: slice, into: torch.Tensor) -> torch.Tensor:
        """Write standardised rows into the first of a tensor (…, width), and return these."""
        into = into[: min(rows.stop, self._n) - rows.start]
        at = rows.start
        for piece in into.split(max(1, _READ_NUMBERS // max(1, into.shape[1]))):
            piece.copy_(torch.from_numpy(self._standardised(slice(at, at + len(piece)))))
            at += len(piece)
        return into


def _best_on(path: Iterator[Probe], held_out: Features, labels: NDArray[np.integer]) -> Probe:
    """Return the probe of the lowest held-out loss; the path ends when three in a row are worse.

    The weak end of a path takes most of its time, and its loss on held-out rows has one valley.
    """
    best = next(path)
    least, worse = np.inf, 0
    for probe in chain([best], path):
        loss = probe.log_loss(held_out, labels)
        if loss < least:
            best, least, worse = probe, loss, 0
        else:
            worse += 1
        if worse == _PATIENCE:
            break
    return best


def _strength_by_folds(
    features: Features, labels: NDArray[np.integer], n_classes: int, memory_bytes: float
) -> float:
    counts = np.bincount(labels, minlength=n_classes)
    fewest = int(counts[counts > 0].min())
    if fewest < 2:
        return _DEFAULT_STRENGTH
    fold = np.empty(len(labels), np.int64)
    for label in np.flatnonzero(counts):
        rows = np.flatnonzero(labels == label)
        fold[rows] = np.arange(len(rows)) % min(_FOLDS, fewest)
    losses = np.zeros(len(STRENGTHS))
    for held in range(min(_FOLDS, fewest)):
        inside, outside = fold != held, fold == held
        rest, others = chosen(features, inside), chosen(features, outside)
        path = _walk(rest, labels[inside], n_classes, STRENGTHS, memory_bytes)
        losses += [probe.log_loss(others, labels[outside]) for probe in path]
    return float(STRENGTHS[int(np.argmin(losses))])
