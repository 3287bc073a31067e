"""Every metric as a function of item weights, so that one definition serves scores and resamples.

Each function prepares what does not depend on the weights and returns a `Weighted`: it maps weights
(N, R), non-negative, to the R values of the metric under them. All ones is the plain metric; the
counts of a bootstrap resample are that resample's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from regraft.measure.calibration import ECE_BINS, bin_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

Weighted = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]

_SMALLEST = float(np.finfo(np.float64).eps)


def mean_of(values: NDArray[np.float64]) -> Weighted:
    """Return the weighted mean of one value per item, shape (N,)."""

    def weighted(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        means: NDArray[np.float64] = values @ weights / weights.sum(axis=0)
        return means

    return weighted


def accuracy(predictions: NDArray[np.integer], labels: NDArray[np.integer]) -> Weighted:
    """Share of items that are predicted right."""
    return mean_of((predictions == labels).astype(np.float64))


def balanced_accuracy(
    predictions: NDArray[np.integer], labels: NDArray[np.integer], n_classes: int
) -> Weighted:
    """Mean recall of the classes that have items."""
    counts = _counts(predictions, labels, n_classes)

    def weighted(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        right, actual, _ = counts(weights)
        return _mean_where(_ratio(right, actual), actual > 0)

    return weighted


def macro_f1(
    predictions: NDArray[np.integer], labels: NDArray[np.integer], n_classes: int
) -> Weighted:
    """Mean F1 of the classes that have items or predictions."""
    counts = _counts(predictions, labels, n_classes)

    def weighted(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        right, actual, predicted = counts(weights)
        total = actual + predicted
        return _mean_where(_ratio(2 * right, total), total > 0)

    return weighted


def weighted_f1(
    predictions: NDArray[np.integer], labels: NDArray[np.integer], n_classes: int
) -> Weighted:
    """Mean F1 of the classes, each weighted by its items."""
    counts = _counts(predictions, labels, n_classes)

    def weighted(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        right, actual, predicted = counts(weights)
        f1 = _ratio(2 * right, actual + predicted)
        means: NDArray[np.float64] = (f1 * actual).sum(axis=0) / actual.sum(axis=0)
        return means

    return weighted


def log_losses(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> NDArray[np.float64]:
    """−ln of the probability of the right class per item, clipped at the smallest float64 step."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.clip(right, _SMALLEST, 1.0)))


def log_loss(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> Weighted:
    """Mean of `log_losses`."""
    return mean_of(log_losses(probabilities, labels))


def brier_scores(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Σ_c (p_c − 1{label = c})² per item, in [0, 2]."""
    gap = probabilities.astype(np.float64)
    gap[np.arange(len(labels)), labels] -= 1.0
    return np.asarray((gap**2).sum(axis=1))


def brier(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> Weighted:
    """Mean of `brier_scores`."""
    return mean_of(brier_scores(probabilities, labels))


def mean_cost(
    predictions: NDArray[np.integer], labels: NDArray[np.integer], costs: NDArray[np.floating]
) -> Weighted:
    """Mean cost of the predictions; `costs` is (C, C), rows the label, columns the prediction."""
    return mean_of(costs[labels, predictions].astype(np.float64))


def ece_gaps(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> csr_array:
    """Return the sparse (15, N) matrix of right − confidence, each item in its bin's row."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    gap = (probabilities.argmax(axis=1) == labels) - confidence
    return _sum_by(bin_index(confidence, ECE_BINS), ECE_BINS, gap)


def ece(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> Weighted:
    """Return the expected calibration error of the highest probability, 15 equal-width bins."""
    gaps = ece_gaps(probabilities, labels)

    def weighted(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        means: NDArray[np.float64] = np.abs(gaps @ weights).sum(axis=0) / weights.sum(axis=0)
        return means

    return weighted


def auroc(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> Weighted:
    """Area under the ROC curve, each class against the rest, mean over classes that have both.

    Ties count one half. NaN where no class has both items and others.
    """
    n_classes = probabilities.shape[1]
    parts = [_auroc_of(probabilities[:, c], labels == c) for c in range(n_classes)]

    def weighted(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        values = np.stack([part(weights) for part in parts])
        return _mean_where(values, ~np.isnan(values))

    return weighted


def _auroc_of(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> Weighted:
    """P(score of a positive > score of a negative) + ½ P(equal), by cumulated weights."""
    levels, level = np.unique(scores, return_inverse=True)
    ups = _sum_by(level, len(levels), positive.astype(np.float64))
    downs = _sum_by(level, len(levels), (~positive).astype(np.float64))

    def weighted(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        up, down = ups @ weights, downs @ weights
        below = np.cumsum(down, axis=0) - down / 2
        pairs = up.sum(axis=0) * down.sum(axis=0)
        wins = (up * below).sum(axis=0)
        return _ratio(wins, pairs, otherwise=np.nan)

    return weighted


def _counts(
    predictions: NDArray[np.integer], labels: NDArray[np.integer], n_classes: int
) -> Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], ...]]:
    """Return weights → (right, actual, predicted) weight per class, each (C, R)."""
    rights = _sum_by(labels, n_classes, (predictions == labels).astype(np.float64))
    actuals = _sum_by(labels, n_classes)
    predicteds = _sum_by(predictions, n_classes)
    return lambda weights: (rights @ weights, actuals @ weights, predicteds @ weights)


def _sum_by(
    group: NDArray[np.integer], n_groups: int, values: NDArray[np.float64] | None = None
) -> csr_array:
    """Return the sparse (n_groups, N) matrix that sums values times weights within groups."""
    data = np.ones(len(group)) if values is None else values
    matrix = csr_array((data, (group, np.arange(len(group)))), shape=(n_groups, len(group)))
    matrix.eliminate_zeros()
    return matrix


def _ratio(
    part: NDArray[np.float64], whole: NDArray[np.float64], *, otherwise: float = 0.0
) -> NDArray[np.float64]:
    ratios = np.full(part.shape, otherwise)
    np.divide(part, whole, out=ratios, where=whole > 0)
    return ratios


def _mean_where(values: NDArray[np.float64], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    n = where.sum(axis=0)
    total = np.where(where, values, 0.0).sum(axis=0)
    return _ratio(total, n.astype(np.float64), otherwise=np.nan)
