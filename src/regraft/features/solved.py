"""Heads that are solved, not trained: logistic regression over strengths, k-NN, centroids."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from regraft.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator

STRENGTHS: NDArray[np.float64] = np.logspace(1, -5, 20)
"""L2 strengths λ of the path, strong to weak: mean loss + λ/2 · ‖W‖² on standardised features."""

_DEFAULT_STRENGTH = 1e-2
_FOLDS = 5
_BLOCK_NUMBERS = 1 << 22
_PATIENCE = 3
_SMOOTHING = 1e-3

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

    def logits(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return logits (n, C) of features (n, d)."""
        return features.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias


def logistic_path(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    n_classes: int,
    *,
    strengths: NDArray[np.float64] = STRENGTHS,
) -> list[Probe]:
    """Multinomial logistic regression at every strength, each started from the one before.

    Minimises mean cross-entropy + λ/2 · ‖W‖² by L-BFGS in float64 on features standardised by their
    own mean and deviation; the bias is not penalised. Equal to scikit-learn's
    ``LogisticRegression`` with C = 1 / (λ n) on the same standardised features.

    Args:
        features: Shape (n, d).
        labels: Shape (n,), in [0, n_classes).
        n_classes: C; classes without items get no score above the others.
        strengths: λ, from strong to weak.

    Raises:
        ShapeError: Rows and labels do not fit, or there are none.
    """
    return list(_walk(features, labels, n_classes, strengths))


def _walk(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    n_classes: int,
    strengths: NDArray[np.float64],
) -> Iterator[Probe]:
    """Yield the solution at each strength, computed when it is asked for."""
    standardised, mean, scale = _standardised(features, labels)
    x, basis = _row_space(standardised)
    n, width = x.shape
    onehot = np.zeros((n, n_classes))
    onehot[np.arange(n), labels] = 1.0
    start = np.zeros((width + 1) * n_classes)
    start[width * n_classes :] = np.log((onehot.sum(0) + _SMOOTHING) / (n + _SMOOTHING * n_classes))
    for strength in strengths:
        # The loss is then within 1e-6 of the optimum at every strength (widths 384 and 2,048, up to
        # 10 classes), in half the time that 1e-8 takes.
        solved = minimize(
            _objective,
            start,
            args=(x, onehot, float(strength)),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 500, "ftol": 1e-10, "gtol": 1e-6, "maxcor": 20},
        )
        start = solved.x
        weight = start[: width * n_classes].reshape(n_classes, width)
        bias = start[width * n_classes :]
        loss = float(solved.fun) - 0.5 * float(strength) * float((weight**2).sum())
        raw = (weight if basis is None else weight @ basis) / scale
        offset = bias - raw @ mean
        yield Probe(raw.astype(np.float32), offset.astype(np.float32), float(strength), loss)


def fit_probe(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    n_classes: int,
    held_out: NDArray[np.floating],
    held_out_labels: NDArray[np.integer],
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
    """
    if len(held_out_labels):
        return _best_on(_walk(features, labels, n_classes, STRENGTHS), held_out, held_out_labels)
    strength = _strength_by_folds(features, labels, n_classes)
    chosen = STRENGTHS[strength * 1.001 < STRENGTHS]
    return logistic_path(features, labels, n_classes, strengths=np.append(chosen, strength))[-1]


def _best_on(
    path: Iterator[Probe], held_out: NDArray[np.floating], labels: NDArray[np.integer]
) -> Probe:
    """Return the probe of the lowest held-out loss; the path ends when three in a row are worse.

    The weak end of a path takes most of its time, and its loss on held-out rows has one valley.
    """
    best = next(path)
    least, worse = np.inf, 0
    for probe in chain([best], path):
        loss = log_loss(probe.logits(held_out), labels)
        if loss < least:
            best, least, worse = probe, loss, 0
        else:
            worse += 1
        if worse == _PATIENCE:
            break
    return best


def log_loss(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Return the mean cross-entropy in nats of logits (n, C)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    normal = np.log(np.exp(shifted).sum(axis=1))
    return float((normal - shifted[np.arange(len(labels)), labels]).mean())


def centroid_head(
    features: NDArray[np.floating], labels: NDArray[np.integer], n_classes: int
) -> tuple[Matrix, Matrix]:
    """Nearest class centroid on standardised features, as a linear head.

    argmin_c ‖z − μ_c‖² = argmax_c (μ_c·z − ‖μ_c‖²/2); the scores are divided by √d times the mean
    within-class variance, which softens the probabilities and changes no decision.

    Returns:
        Weight (C, d) and bias (C,) on raw features, float32; a class without items has a very low
        bias.
    """
    x, mean, scale = _standardised(features, labels)
    counts = np.bincount(labels, minlength=n_classes)
    sums = np.zeros((n_classes, x.shape[1]))
    np.add.at(sums, labels, x)
    centroids = sums / np.maximum(counts, 1)[:, None]
    within = float(((x - centroids[labels]) ** 2).mean())
    soften = max(within, 1e-3) * np.sqrt(x.shape[1])
    weight = centroids / soften
    bias = -0.5 * (centroids**2).sum(axis=1) / soften
    bias[counts == 0] = -1e4
    raw: NDArray[np.float64] = weight / scale
    return raw.astype(np.float32), (bias - raw @ mean).astype(np.float32)


def knn_logits(
    train: NDArray[np.floating],
    train_labels: NDArray[np.integer],
    queries: NDArray[np.floating],
    *,
    k: int,
    n_classes: int,
) -> NDArray[np.float32]:
    """Log shares of the votes of the k most similar training rows, weighted by similarity.

    Similarity is the cosine after subtracting the training mean; negative similarities do not vote.

    Args:
        train: Shape (n, d); train_labels: (n,).
        train_labels: Labels of the training rows.
        queries: Shape (m, d).
        k: Neighbours, at most n are used.
        n_classes: C.

    Returns:
        Shape (m, C).
    """
    mean = train.mean(axis=0)
    unit = _unit(train - mean)
    k = min(k, len(train))
    votes = np.full((len(queries), n_classes), _SMOOTHING)
    step = max(1, _BLOCK_NUMBERS // len(train))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        similarity = _unit(queries[rows] - mean) @ unit.T  # (block, n)
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        weight = np.maximum(np.take_along_axis(similarity, nearest, axis=1), 0.0)
        block = np.arange(len(nearest))[:, None]
        np.add.at(votes[rows], (block, train_labels[nearest]), weight)
    shares: NDArray[np.float64] = votes / votes.sum(axis=1, keepdims=True)
    return np.log(shares).astype(np.float32)


def _objective(
    flat: NDArray[np.float64], x: NDArray[np.float64], onehot: NDArray[np.float64], strength: float
) -> tuple[float, NDArray[np.float64]]:
    """Return the penalised mean loss and its gradient."""
    n, width = x.shape
    n_classes = onehot.shape[1]
    weight = flat[: width * n_classes].reshape(n_classes, width)
    logits = x @ weight.T + flat[width * n_classes :]
    logits -= logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits)
    total = probabilities.sum(axis=1, keepdims=True)
    loss = float((np.log(total[:, 0]) - (logits * onehot).sum(axis=1)).mean())
    probabilities /= total
    error = (probabilities - onehot) / n
    gradient = np.concatenate([(error.T @ x + strength * weight).ravel(), error.sum(axis=0)])
    return loss + 0.5 * strength * float((weight**2).sum()), gradient


def _strength_by_folds(
    features: NDArray[np.floating], labels: NDArray[np.integer], n_classes: int
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
        path = logistic_path(features[inside], labels[inside], n_classes)
        losses += [log_loss(p.logits(features[outside]), labels[outside]) for p in path]
    return float(STRENGTHS[int(np.argmin(losses))])


def _standardised(
    features: NDArray[np.floating], labels: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    if features.ndim != 2 or len(features) != len(labels) or not len(labels):
        raise ShapeError(
            f"features {features.shape} and labels {labels.shape} do not fit: (n, d) and (n,) with "
            "n ≥ 1 are needed."
        )
    x = features.astype(np.float64)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    scale = np.where(deviation > 1e-8 * max(1.0, float(deviation.max())), deviation, 1.0)
    return (x - mean) / scale, mean, scale


def _row_space(
    x: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return x and None, or x in an orthonormal basis of its rows and the basis, where narrower.

    With an L2 penalty the optimal weights lie in the span of the rows, so nothing is lost.
    """
    if x.shape[1] <= len(x):
        return x, None
    columns, triangle = np.linalg.qr(x.T)
    return np.ascontiguousarray(triangle.T), np.ascontiguousarray(columns.T)


def _unit(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.floating] = rows / np.maximum(norms, 1e-12)
    return unit
