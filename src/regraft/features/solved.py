"""Heads that are read off the rows: class centroids, nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regraft.features.standard import blocks, moments, one_hot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.features.rows import Features

_SMOOTHING = 1e-3
_LEAST_QUERIES = 256  # that meet a block of training rows, which is read anew for each block

Matrix = NDArray[np.float32]
Nearest = tuple[NDArray[np.floating], NDArray[np.intp]]
"""Similarities and numbers of the nearest rows, shape (queries, k)."""


def centroid_head(
    features: Features, labels: NDArray[np.integer], n_classes: int
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
        sums += one_hot(labels[rows], n_classes).T @ found.standardise(features[rows])
    centroids = sums / np.maximum(counts, 1)[:, None]
    between = float((counts @ centroids**2).sum()) / n
    within = (float(found.varies.sum()) - between) / width
    soften = max(within, 1e-3) * np.sqrt(width)
    weight = centroids / soften
    bias = -0.5 * (centroids**2).sum(axis=1) / soften
    bias[counts == 0] = -1e4
    raw: NDArray[np.float64] = weight / found.scale
    return raw.astype(np.float32), (bias - raw @ found.mean).astype(np.float32)


def linear_logits(features: Features, weight: Matrix, bias: Matrix) -> NDArray[np.floating]:
    """Return the logits (n, C) of features (n, d) under a linear head (C, d), (C,)."""
    kind = np.result_type(features[0:0], weight, bias)
    logits: NDArray[np.floating] = np.empty((len(features), len(bias)), kind)
    for rows in blocks(len(features), max(weight.shape)):
        logits[rows] = features[rows] @ weight.T + bias
    return logits


def knn_logits(
    train: Features,
    train_labels: NDArray[np.integer],
    queries: Features,
    *,
    k: int,
    n_classes: int,
) -> NDArray[np.float32]:
    """Log shares of the votes of the k most similar training rows, weighted by similarity.

    Similarity is the cosine after subtracting the training mean; negative similarities do not vote.
    Blocks of queries meet blocks of training rows, and keep their k best so far.

    Args:
        train: Shape (n, d); train_labels: (n,).
        train_labels: Labels of the training rows.
        queries: Shape (m, d).
        k: Neighbours, at most n are used.
        n_classes: C.

    Returns:
        Shape (m, C).
    """
    n, width = train.shape
    k = min(k, n)
    parts = list(blocks(n, width))
    if len(parts) > 1:
        parts = list(blocks(n, max(width, _LEAST_QUERIES)))
    mean = _mean(train, parts)
    # Where all training rows are one block, they are made of length 1 once.
    known = _unit(train[parts[0]] - mean) if len(parts) == 1 else None
    logits = np.empty((len(queries), n_classes), np.float32)
    for rows in blocks(len(queries), max(k, len(range(n)[parts[0]]))):
        asked = _unit(queries[rows] - mean)
        best: Nearest | None = None
        for part in parts:
            unit = _unit(train[part] - mean) if known is None else known
            best = _nearer(best, asked @ unit.T, part.start, k)  # (block, rows of the part)
        if best is None:
            raise AssertionError("there is a block of training rows at least")
        similarity, nearest = best
        votes = np.full((len(asked), n_classes), _SMOOTHING)
        block = np.arange(len(asked))[:, None]
        np.add.at(votes, (block, train_labels[nearest]), np.maximum(similarity, 0.0))
        logits[rows] = np.log(votes / votes.sum(axis=1, keepdims=True))
    return logits


def _nearer(best: Nearest | None, similarity: NDArray[np.floating], start: int, k: int) -> Nearest:
    """Return the k largest similarities so far and the numbers of their training rows.

    Args:
        best: Those of the blocks before.
        similarity: To the rows of a further block, shape (queries, rows).
        start: Number of the block's first row.
        k: How many are kept; fewer while so many were not seen.
    """
    least = min(k, similarity.shape[1])
    nearest = np.argpartition(-similarity, least - 1, axis=1)[:, :least]
    found = np.take_along_axis(similarity, nearest, axis=1)
    nearest += start
    if best is None:
        return found, nearest
    found, nearest = np.hstack([best[0], found]), np.hstack([best[1], nearest])
    least = min(k, found.shape[1])
    order = np.argpartition(-found, least - 1, axis=1)[:, :least]
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(nearest, order, axis=1)


def _mean(features: Features, parts: Sequence[slice]) -> NDArray[np.floating]:
    total = np.zeros(features.shape[1])
    for part in parts:
        total += features[part].sum(axis=0)
    kind = np.result_type(features[0:0], np.float32)
    mean: NDArray[np.floating] = (total / len(features)).astype(kind)
    return mean


def _unit(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.floating] = rows / np.maximum(norms, 1e-12)
    return unit
