"""The metrics of single-label classification, by name.

Metrics that read labels judge decisions: the most probable class, or, where costs are given, the
class with the lowest expected cost. Metrics that read probabilities do not depend on costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from regraft.errors import ConfigError, ShapeError, did_you_mean
from regraft.measure import weighted
from regraft.measure.calibration import ECE_BINS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from regraft.measure.weighted import Weighted


@dataclass(frozen=True, slots=True)
class Metric:
    """What is to be known of a metric.

    Attributes:
        name: As in configurations.
        title: As in sentences and tables.
        higher_is_better: Its direction.
        reads: Whether decisions or probabilities are judged.
        proportion: Whether it lies in [0, 1] with 1 the best.
        class_average: Whether each class weighs the same, whatever its size.
    """

    name: str
    title: str
    higher_is_better: bool
    reads: Literal["labels", "probabilities"]
    proportion: bool
    class_average: bool = False

    @property
    def sign(self) -> float:
        """1 where higher is better, −1 where lower is."""
        return 1.0 if self.higher_is_better else -1.0


_SUM_TOLERANCE = 1e-3

_ALL = (
    Metric("accuracy", "accuracy", True, "labels", True),
    Metric("balanced_accuracy", "balanced accuracy", True, "labels", True, True),
    Metric("macro_f1", "macro-F1", True, "labels", True, True),
    Metric("weighted_f1", "weighted F1", True, "labels", True),
    Metric("auroc", "AUROC", True, "probabilities", True, True),
    Metric("log_loss", "log loss", False, "probabilities", False),
    Metric("brier", "Brier score", False, "probabilities", False),
    Metric("ece", f"ECE ({ECE_BINS} bins)", False, "probabilities", False),
    Metric("mean_cost", "mean cost", False, "labels", False),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})


def metric_named(name: str) -> Metric:
    """Return a metric.

    Raises:
        ConfigError: No metric has this name.
    """
    if name not in METRICS:
        raise ConfigError(f"unknown metric {name!r}.{did_you_mean(name, METRICS)}")
    return METRICS[name]


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return probabilities of logits (…, C), float64, each row summing to 1."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    np.exp(wide, out=wide)
    wide /= wide.sum(axis=-1, keepdims=True)
    return wide


def decide(
    probabilities: NDArray[np.floating], costs: NDArray[np.floating] | None = None
) -> NDArray[np.int64]:
    """Return the predicted class per item: the most probable, or the one of lowest expected cost.

    Args:
        probabilities: Shape (…, C).
        costs: Shape (C, C), rows the true class, columns the predicted one.

    Example:
        >>> p = np.array([[0.7, 0.3]])
        >>> decide(p), decide(p, np.array([[0.0, 1.0], [5.0, 0.0]]))
        (array([0]), array([1]))
    """
    best = probabilities.argmax(-1) if costs is None else (probabilities @ costs).argmin(-1)
    return np.asarray(best, dtype=np.int64)


def weighted_metric(
    name: str,
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    costs: NDArray[np.floating] | None = None,
) -> Weighted:
    """Return the metric as a function of item weights (N, R) → (R,).

    Args:
        name: A metric's name.
        probabilities: Shape (N, C), N ≥ 1.
        labels: Class indices, shape (N,).
        costs: Shape (C, C), rows the true class; needed by ``mean_cost``.

    Raises:
        ConfigError: The metric is unknown, or is ``mean_cost`` and no costs are given.
        ShapeError: The shapes do not fit together, or a label is not a class.
    """
    metric = metric_named(name)
    _check(probabilities, labels, costs)
    if metric.reads == "probabilities":
        return _BY_PROBABILITIES[name](probabilities, labels)
    predictions = decide(probabilities, costs)
    if name == "accuracy":
        return weighted.accuracy(predictions, labels)
    if name == "mean_cost":
        if costs is None:
            raise ConfigError("metric 'mean_cost' needs costs. Give task.costs, or another metric.")
        return weighted.mean_cost(predictions, labels, costs)
    return _BY_CLASS[name](predictions, labels, probabilities.shape[1])


_BY_PROBABILITIES = {
    "auroc": weighted.auroc,
    "log_loss": weighted.log_loss,
    "brier": weighted.brier,
    "ece": weighted.ece,
}
_BY_CLASS = {
    "balanced_accuracy": weighted.balanced_accuracy,
    "macro_f1": weighted.macro_f1,
    "weighted_f1": weighted.weighted_f1,
}


def score(
    name: str,
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    costs: NDArray[np.floating] | None = None,
) -> float:
    """Return a metric's value; NaN for an AUROC of labels that are all the same.

    Args:
        name: A metric's name.
        probabilities: Shape (N, C), N ≥ 1.
        labels: Class indices, shape (N,).
        costs: Shape (C, C), rows the true class; decisions then minimise the expected cost.

    Raises:
        ConfigError: The metric is unknown, or is ``mean_cost`` and no costs are given.
        ShapeError: The shapes do not fit together, or a label is not a class.
    """
    of = weighted_metric(name, probabilities, labels, costs=costs)
    return float(of(np.ones((len(labels), 1)))[0])


def item_values(
    name: str,
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    costs: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Return the value of each item, shape (N,), of a metric that is their mean.

    Args:
        name: ``accuracy``, ``log_loss``, ``brier`` or ``mean_cost``.
        probabilities: Shape (N, C), N ≥ 1.
        labels: Class indices, shape (N,).
        costs: Shape (C, C), rows the true class; needed by ``mean_cost``.

    Raises:
        ConfigError: The metric is no mean over items, or is ``mean_cost`` and no costs are given.
        ShapeError: The shapes do not fit together, or a label is not a class.
    """
    _check(probabilities, labels, costs)
    if name == "log_loss":
        return weighted.log_losses(probabilities, labels)
    if name == "brier":
        return weighted.brier_scores(probabilities, labels)
    if name == "accuracy":
        return np.asarray(decide(probabilities, costs) == labels, dtype=np.float64)
    if name == "mean_cost" and costs is not None:
        return np.asarray(costs[labels, decide(probabilities, costs)], dtype=np.float64)
    raise ConfigError(
        f"metric {name!r} has no value per item here. Take accuracy, log_loss or brier, or "
        "mean_cost with costs."
    )


def all_scores(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    costs: NDArray[np.floating] | None = None,
) -> dict[str, float]:
    """Return every metric that is defined: ``mean_cost`` needs costs, ``auroc`` two classes.

    Raises:
        ShapeError: The shapes do not fit together, or a label is not a class.
    """
    names = [name for name in METRICS if name != "mean_cost" or costs is not None]
    values = {name: score(name, probabilities, labels, costs=costs) for name in names}
    return {name: value for name, value in values.items() if not np.isnan(value)}


def confusion(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    costs: NDArray[np.floating] | None = None,
) -> NDArray[np.int64]:
    """Return counts (C, C), rows the true class, columns the predicted one.

    Raises:
        ShapeError: The shapes do not fit together, or a label is not a class.
    """
    _check(probabilities, labels, costs)
    n_classes = probabilities.shape[1]
    pairs = labels.astype(np.int64) * n_classes + decide(probabilities, costs)
    counts = np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)
    return counts.astype(np.int64)


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Precision, recall and F1 of one class, each 0 where it is undefined; n counts its items."""

    precision: float
    recall: float
    f1: float
    n: int


def per_class(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    costs: NDArray[np.floating] | None = None,
) -> list[ClassScores]:
    """Return the scores of each class, in order of the classes.

    Raises:
        ShapeError: The shapes do not fit together, or a label is not a class.
    """
    counts = confusion(probabilities, labels, costs=costs)
    rights, actuals, predicteds = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return [
        ClassScores(
            precision=float(right / max(predicted, 1)),
            recall=float(right / max(actual, 1)),
            f1=float(2 * right / max(actual + predicted, 1)),
            n=int(actual),
        )
        for right, actual, predicted in zip(rights, actuals, predicteds, strict=True)
    ]


def _check(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    costs: NDArray[np.floating] | None,
) -> None:
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ShapeError(
            f"probabilities {probabilities.shape} and labels {labels.shape} do not fit. "
            "Give (N, C) and (N,) with N of at least 1."
        )
    _check_sums(probabilities)
    n_classes = probabilities.shape[1]
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= n_classes:
        wrong = low if low < 0 else high
        raise ShapeError(f"label {wrong} is not among the {n_classes} classes (0…{n_classes - 1}).")
    if costs is not None and costs.shape != (n_classes, n_classes):
        raise ShapeError(f"costs {costs.shape} do not fit {n_classes} classes. Give (C, C).")


def _check_sums(probabilities: NDArray[np.floating]) -> None:
    """Refuse logits; what is not a number is for the caller to judge."""
    sums = probabilities.sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero((np.abs(sums - 1) > _SUM_TOLERANCE) | (probabilities < 0).any(axis=1))
    if len(wrong):
        row = int(wrong[0])
        raise ShapeError(
            f"row {row} holds no probabilities: it sums to {sums[row]:.4g}, its least is "
            f"{probabilities[row].min():.4g}. Logits go through softmax first."
        )
