"""The spread of a metric over the items that it was measured on, and where it cannot be trusted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import ShapeError
from regraft.measure.metrics import METRICS, decide, item_values, metric_named
from regraft.measure.resampling import mean_score, resampled_scores, resamples_of
from regraft.measure.spreads import (
    calibration_ends,
    effective_items,
    mean_ends,
    recall_deviation,
    wilson_ends,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW_ITEMS = 30
FEW_OF_A_CLASS = 5
FEW_OF_A_RANKED_CLASS = 10
FEW_ANSWERS = 5
"""Wilson's interval covers as little as 84 % where fewer than 3 are wrong, or right, and as much as
98 % up to here: its steps are large."""
SKEWED = 0.25
"""Skewness over √n from which the mean of item values misses more often than it says."""
FEW_CALIBRATED_ITEMS, FEW_CALIBRATED_ANSWERS = 500, 40
"""Where there are fewer items, or fewer are wrong, or right, the interval of ECE covers 81 – 93 %:
the gap between confidence and accuracy is as skewed as they."""
BIASED = 4.0
"""An ECE below so many times what a calibrated model would show is mostly noise of the bins."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its confidence interval.

    Attributes:
        value: The estimate.
        low: Lower end; ≤ value.
        high: Upper end; ≥ value.
        n: Items it rests on.
        estimator: How the ends were found, in words.
        level: Nominal coverage.
        warning: Why the interval may hold the truth less often than it says; None where it has
            been measured to hold (benchmarks/coverage.py).
    """

    value: float
    low: float
    high: float
    n: int
    estimator: str
    level: float = 0.95
    warning: str | None = None

    def to_json(self) -> dict[str, float | int | str | None]:
        """Return the plain record."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """What an interval is asked of: repetitions (S, N, C) of one system on labelled items."""

    metric: str
    value: float
    repetitions: NDArray[np.floating]
    labels: NDArray[np.integer]
    costs: NDArray[np.floating] | None
    level: float
    resamples: int
    seed: int

    @property
    def n(self) -> int:
        return len(self.labels)


def wilson(k: float, n: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion of k among n; k may be a mean of counts.

    Args:
        k: Successes, 0 ≤ k ≤ n.
        n: Trials, ≥ 1.
        level: Nominal coverage in (0, 1).

    Raises:
        ShapeError: n is below 1 or k outside [0, n].

    Reference:
        Wilson, Probable Inference, JASA 22 (1927).

    Example:
        >>> i = wilson(8, 10)
        >>> round(i.low, 4), round(i.high, 4)
        (0.4902, 0.9433)
    """
    if n < 1 or not 0 <= k <= n + 1e-9:
        raise ShapeError(f"wilson: {k} of {n} is no proportion. Give 0 ≤ k ≤ n and n ≥ 1.")
    share = min(k / n, 1.0)
    low, high = wilson_ends(share, n, level=level)
    warning = few_items(n) or few_answers(share, n)
    return Interval(share, low, high, n, "Wilson score interval", level, warning)


def interval(
    metric: str,
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    costs: NDArray[np.floating] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a metric with its interval over items, by the method that holds for that metric.

    Accuracy: Wilson. Balanced accuracy, F1, AUROC, and accuracy over several repetitions: Wilson of
    as many items as would give the metric's own variance (by item for accuracy, by class for
    balanced accuracy, else by bootstrap), which stays within [0, 1] and is as skewed as the metric
    is near its ends. Log loss, Brier score and mean cost: t corrected for skewness. ECE: the errors
    whose noisy estimate could be the one seen, since the plain estimate is biased upward. With
    several repetitions the value is their mean, and items are drawn jointly.

    Args:
        metric: A metric's name.
        probabilities: Shape (N, C), or (S, N, C) for S repetitions.
        labels: Class indices, shape (N,).
        costs: Shape (C, C), rows the true class.
        level: Nominal coverage in (0, 1).
        resamples: Bootstrap resamples, where there are any.
        seed: Of the resampling.

    Raises:
        ConfigError: The metric is unknown, or is ``mean_cost`` and no costs are given.
        ShapeError: The shapes do not fit together.
    """
    repetitions = probabilities if probabilities.ndim == 3 else probabilities[None]
    value = mean_score(metric, repetitions, labels, costs=costs)
    scored = _Scored(metric, value, repetitions, labels, costs, level, resamples, seed)
    if metric == "accuracy" and len(repetitions) == 1:
        found = wilson(value * len(labels), len(labels), level=level)
    elif metric == "ece":
        found = _of_calibration(scored)
    elif metric_named(metric).proportion:
        found = _of_proportion(scored)
    else:
        found = _of_mean(scored)
    seeds = f", mean of {len(repetitions)} seeds" if len(repetitions) > 1 else ""
    # The value and its ends are sums in other orders, which may differ in the last bit.
    low, high = min(found.low, value), max(found.high, value)
    return Interval(value, low, high, found.n, found.estimator + seeds, level, found.warning)


def _of_proportion(scored: _Scored) -> Interval:
    value, n = scored.value, scored.n
    deviation, how = _deviation(scored)
    if np.isnan(value):
        return Interval(value, value, value, n, how, scored.level, _few(scored, float(n)))
    effective = effective_items(value, deviation, n)
    low, high = wilson_ends(value, effective, level=scored.level)
    estimator = f"Wilson score interval of {effective:,.0f} effective items; {how}"
    return Interval(value, low, high, n, estimator, scored.level, _few(scored, effective))


def _deviation(scored: _Scored) -> tuple[float, str]:
    """Return the standard error of a proportion, and how it was found."""
    if scored.metric in ("accuracy", "balanced_accuracy"):
        predicted = decide(scored.repetitions, scored.costs)
        rights = (predicted == scored.labels).mean(axis=0)
        if scored.metric == "balanced_accuracy":
            return recall_deviation(rights, scored.labels), "variance by class"
        spread = float(rights.std(ddof=1)) if scored.n > 1 else 0.0
        return spread / float(np.sqrt(scored.n)), "variance by item"
    draws = resampled_scores(
        scored.metric,
        [scored.repetitions],
        scored.labels,
        costs=scored.costs,
        resamples=scored.resamples,
        seed=scored.seed,
    )[0]
    defined = draws[~np.isnan(draws)]
    kind = "within classes" if METRICS[scored.metric].class_average else "of items"
    count = resamples_of(scored.metric, scored.resamples)
    deviation = float(defined.std(ddof=1)) if len(defined) > 1 else 0.0
    # Equal sums in another order differ by rounding, which is no spread.
    return (deviation if deviation > 1e-12 else 0.0), f"bootstrap {kind}, {count} resamples"


def _of_mean(scored: _Scored) -> Interval:
    values = np.mean(
        [
            item_values(scored.metric, one, scored.labels, costs=scored.costs)
            for one in scored.repetitions
        ],
        axis=0,
    )
    low, high, skew = mean_ends(values, level=scored.level)
    if METRICS[scored.metric].reads == "probabilities":
        low = max(low, 0.0)
    warning = few_items(scored.n)
    if warning is None and abs(skew) > SKEWED:
        warning = f"a few of the {scored.n} items make up most of it: the interval is rough"
    if warning is None and low == high:
        warning = f"all {scored.n} items have the same value: no spread is known"
    estimator = "t interval corrected for skewness"
    return Interval(scored.value, low, high, scored.n, estimator, scored.level, warning)


def _of_calibration(scored: _Scored) -> Interval:
    low, high, noise = calibration_ends(
        scored.repetitions,
        scored.labels,
        level=scored.level,
        resamples=scored.resamples,
        seed=scored.seed,
    )
    rights = float((decide(scored.repetitions) == scored.labels).mean())
    warning = few_items(scored.n, FEW_CALIBRATED_ITEMS) or few_answers(
        rights, scored.n, FEW_CALIBRATED_ANSWERS
    )
    if scored.value < BIASED * noise:
        warning = (
            f"bins of {scored.n} items are noisy: a calibrated model would show about {noise:.2g}"
        )
    estimator = f"errors that could show so, noise by bootstrap, {scored.resamples} resamples"
    return Interval(scored.value, low, high, scored.n, estimator, scored.level, warning)


def _few(scored: _Scored, effective: float) -> str | None:
    answers = few_answers(scored.value, max(effective, scored.n))
    return few_items(scored.n) or few_of_a_class(scored.metric, scored.labels) or answers


def few_items(n: int, least: int = FEW_ITEMS) -> str | None:
    """Return a warning where there are fewer items than it takes."""
    if n >= least:
        return None
    return f"{n} item{'s are' if n > 1 else ' is'} few: the interval is rough"


def few_of_a_class(metric: str, labels: NDArray[np.integer]) -> str | None:
    """Return a warning where classes weigh alike and one of them has fewer items than it takes."""
    known = metric_named(metric)
    if not known.class_average:
        return None
    least = FEW_OF_A_RANKED_CLASS if known.reads == "probabilities" else FEW_OF_A_CLASS
    counts = np.bincount(labels)
    fewest = int(counts[counts > 0].min())
    if fewest >= least:
        return None
    return f"a class has {fewest} item{'s' * (fewest > 1)}: the interval is rough"


def few_answers(share: float, n: float, least: int = FEW_ANSWERS) -> str | None:
    """Return a warning where fewer answers are wrong, or right, than it takes."""
    # A NaN compares false with everything, so an undefined score carries no such warning.
    for kind, part in (("wrong", 1 - share), ("right", share)):
        if part * n < least - 1e-9:
            return f"fewer than {least} answers are {kind}: the interval is rough"
    return None
