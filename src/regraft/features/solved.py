"""Heads that need no descent: class centroids, ridge regression, nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regraft.errors import ShapeError
from regraft.features.logistic import STRENGTHS
from regraft.features.standard import blocks, moments

_SMOOTHING = 1e-3

Matrix = NDArray[np.float32]


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
    found = moments(features, labels)
    n, width = features.shape
    counts = np.bincount(labels, minlength=n_classes)
    sums = np.zeros((n_classes, width))
    for rows in blocks(n, width):
        sums += _one_hot(labels[rows], n_classes).T @ found.standardise(features[rows])
    centroids = sums / np.maximum(counts, 1)[:, None]
    between = float((counts @ centroids**2).sum()) / n
    within = (float(found.varies.sum()) - between) / width
    soften = max(within, 1e-3) * np.sqrt(width)
    weight = centroids / soften
    bias = -0.5 * (centroids**2).sum(axis=1) / soften
    bias[counts == 0] = -1e4
    raw: NDArray[np.float64] = weight / found.scale
    return raw.astype(np.float32), (bias - raw @ found.mean).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """Least squares on one-hot labels with an L2 penalty, in closed form.

    Attributes:
        weight: Shape (C, d), float32; bias: shape (C,), on raw features.
        strength: λ of mean ½‖y − ŷ‖² + λ/2 ‖W‖² on standardised features.
        left_out: Shape (n, C): each row's scores by the solution without it.
        error: Mean squared error of `left_out`, per row.
    """

    weight: Matrix
    bias: Matrix
    strength: float
    left_out: NDArray[np.float64]
    error: float


def ridge_head(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    n_classes: int,
    *,
    strengths: NDArray[np.float64] = STRENGTHS,
) -> Ridge:
    """Return the ridge solution of the least leave-one-out error; ties go to the stronger penalty.

    One decomposition X = U S Vᵀ serves all strengths: the fit is U diag(s² / (s² + nλ)) Uᵀ Y, and
    the error of a row that was left out is its error over one minus its leverage.

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
    x = found.standardise(features).astype(np.float64)
    targets = _one_hot(labels, n_classes)
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
                error,
            )
    if best is None:
        raise ShapeError("no strength was given. Give one at least.")
    return best


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
    for rows in blocks(len(queries), len(train)):
        similarity = _unit(queries[rows] - mean) @ unit.T  # (block, n)
        nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        weight = np.maximum(np.take_along_axis(similarity, nearest, axis=1), 0.0)
        block = np.arange(len(nearest))[:, None]
        np.add.at(votes[rows], (block, train_labels[nearest]), weight)
    shares: NDArray[np.float64] = votes / votes.sum(axis=1, keepdims=True)
    return np.log(shares).astype(np.float32)


def _one_hot(labels: NDArray[np.integer], n_classes: int) -> NDArray[np.float64]:
    one_hot = np.zeros((len(labels), n_classes))
    one_hot[np.arange(len(labels)), labels] = 1.0
    return one_hot


def _unit(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.floating] = rows / np.maximum(norms, 1e-12)
    return unit
