"""Estimators from items taken two by two: PARC, leave-one-out k-NN; and the linear probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from regraft.errors import ShapeError
from regraft.measure.transferability.labelled import labelled, thin_svd

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AXES = 32
_BLOCK = 512
_STRENGTHS = np.logspace(-8.0, 2.0, 41)


def parc(
    features: NDArray[np.floating],
    labels: NDArray[np.generic],
    *,
    reduce: bool = False,
    most_items: int = 3000,
    seed: int = 0,
) -> float:
    """PARC: 100 × Spearman's ρ between 1 − corr(f_i, f_j) and 1 − corr(y_i, y_j), i < j.

    Features are standardised by column, then rows are correlated; y is one-hot. In [−100, 100],
    larger is better; 0 where the features' correlations never vary. The scale and origin of any
    feature do not matter.

    Args:
        features: Shape (n, d), d ≥ 2.
        labels: Shape (n,).
        reduce: Whether to reduce the features to 32 principal axes first.
        most_items: Above it a stratified draw of about so many is taken: pairs fill memory.
        seed: Of the draw.

    Raises:
        ShapeError: The shapes do not fit, d < 2, or there is a single item or class.

    Reference:
        Bolya et al., Scalable Diverse Model Selection for Accessible Transfer Learning, NeurIPS
        2021, algorithm 1.
    """
    data = labelled(features, labels)
    if data.x.shape[1] < 2:
        raise ShapeError("a single feature has no correlation between items. Give d ≥ 2.")
    rows = stratified(data.classes, most_items, np.random.default_rng(seed))
    x, classes = data.x[rows], data.classes[rows]
    if reduce:
        left, values, _ = thin_svd(x - x.mean(axis=0))
        x = (left * values)[:, :_AXES]
    deviation = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(deviation > 1e-12, deviation, 1.0)
    unit = _unit(x - x.mean(axis=1, keepdims=True))
    upper = np.triu_indices(len(unit), 1)
    # Rounding would give ranks of their own to what is equal.
    distances = np.round(1.0 - (unit @ unit.T)[upper], 12)
    differ = (classes[:, None] != classes)[upper]
    return 100.0 * _spearman_binary(distances, differ)


def knn_transfer(
    features: NDArray[np.floating], labels: NDArray[np.generic], *, k: int = 5
) -> float:
    """Accuracy of leave-one-out k nearest neighbours (`knn_rights`), larger is better.

    Args:
        features: Shape (n, d).
        labels: Shape (n,).
        k: Neighbours, ≥ 1; at most n − 1 are used.

    Raises:
        ShapeError: The shapes do not fit, k < 1, or there is a single item or class.
    """
    return float(knn_rights(features, labels, k=k).mean())


def knn_rights(
    features: NDArray[np.floating], labels: NDArray[np.generic], *, k: int = 5
) -> NDArray[np.bool_]:
    """Return which items leave-one-out k nearest neighbours get right, shape (n,).

    Neighbours by the cosine of centred features, each voting with its cosine (not below 0); on
    equal votes the class that sorts first wins. A rotation or a common scale of the features leaves
    it as it is.

    Args:
        features: Shape (n, d).
        labels: Shape (n,).
        k: Neighbours, ≥ 1; at most n − 1 are used.

    Raises:
        ShapeError: The shapes do not fit, k < 1, or there is a single item or class.
    """
    data = labelled(features, labels)
    if k < 1:
        raise ShapeError(f"k = {k} neighbours cannot vote. Give k ≥ 1.")
    unit, n = _unit(data.x - data.x.mean(axis=0)), len(data.x)
    rights = np.zeros(n, np.bool_)
    for start in range(0, n, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, n))
        similarity = unit[rows] @ unit.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : min(k, n - 1)]
        weight = np.maximum(np.take_along_axis(similarity, nearest, axis=1), 0.0)
        votes = np.zeros((len(rows), data.n_classes))
        np.add.at(votes, (np.arange(len(rows))[:, None], data.classes[nearest]), weight)
        rights[rows] = votes.argmax(axis=1) == data.classes[rows]
    return rights


def linear_probe(features: NDArray[np.floating], labels: NDArray[np.generic]) -> float:
    """Leave-one-out accuracy of a ridge classifier, the baseline that estimators must beat.

    See `probe_rights`. In [0, 1], larger is better.

    Args:
        features: Shape (n, d).
        labels: Shape (n,).

    Raises:
        ShapeError: The shapes do not fit, or there is a single item or class.
    """
    return float(probe_rights(features, labels).mean())


def probe_rights(features: NDArray[np.floating], labels: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return which items a ridge classifier trained on all others gets right, shape (n,).

    Least squares from features and an intercept to one-hot labels, an item predicted without
    itself: with hat matrix H, ŷ_(i) = y_i − (y_i − ŷ_i)/(1 − H_ii). The class is that of the
    largest ŷ_(i) − ȳ_(i) + ȳ: the mean without an item counts against its own class, so that
    features that say nothing would never be right, not even by chance. The penalty, on a grid of 41
    from 1e-8 to 100 times σ_max², is the one of the least leave-one-out squared error; the optimism
    of choosing it is left in.

    Args:
        features: Shape (n, d).
        labels: Shape (n,).

    Raises:
        ShapeError: The shapes do not fit, or there is a single item or class.
    """
    data = labelled(features, labels)
    left, values, _ = thin_svd(data.x - data.x.mean(axis=0))
    targets = np.eye(data.n_classes)[data.classes]
    best, rights = np.inf, np.zeros(len(data.x), np.bool_)
    variances = (values / values[0]) ** 2 if len(values) else values
    z, mean = left.T @ targets, targets.mean(axis=0)
    without_itself = (len(targets) * mean - targets) / (len(targets) - 1)
    for strength in _STRENGTHS:
        shares = variances / (variances + strength)
        leverage = (left**2) @ shares + 1.0 / len(targets)
        fitted = left @ (shares[:, None] * z) + mean
        errors = (targets - fitted) / np.maximum(1.0 - leverage, 1e-12)[:, None]
        loss = float((errors**2).sum())
        if loss < best:
            said = (targets - errors - without_itself + mean).argmax(axis=1)
            best, rights = loss, said == data.classes
    return rights


def stratified(
    classes: NDArray[np.intp], most: int, generator: np.random.Generator
) -> NDArray[np.intp]:
    """Return rows, in order, of which each class has its share of `most`, or all if they are fewer.

    Each class keeps at least one row, so somewhat more than `most` may come where classes are many.
    """
    n = len(classes)
    if n <= most:
        return np.arange(n)
    drawn = [
        generator.permutation(rows)[: max(1, round(len(rows) * most / n))]
        for rows in (np.flatnonzero(classes == one) for one in np.unique(classes))
    ]
    return np.sort(np.concatenate(drawn))


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float64] = rows / np.maximum(norms, 1e-12)
    return unit


def _spearman_binary(values: NDArray[np.float64], differ: NDArray[np.bool_]) -> float:
    """Return Spearman's ρ of values with a yes or no: Pearson's of their mid-ranks."""
    ranks = rankdata(values)
    share = float(differ.mean())
    spread = float(ranks.std()) * np.sqrt(share * (1.0 - share))
    if spread == 0.0:
        return 0.0
    covariance = float(ranks[differ].sum()) / len(ranks) - share * float(ranks.mean())
    return float(covariance / spread)
