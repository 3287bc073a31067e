"""How a classifier serves groups of items: a metric per group, the worst one, and gaps of rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import ShapeError
from regraft.measure.intervals import Interval, interval, wilson
from regraft.measure.metrics import metric_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class GroupRates:
    """The rates of one group for one class that counts as positive; each with Wilson's interval.

    Attributes:
        n: Items of the group.
        selection: Share that is predicted positive.
        true_positive: Share of the positives that is predicted positive; None without positives.
        false_positive: Share of the others that is predicted positive; None without others.
    """

    n: int
    selection: Interval
    true_positive: Interval | None
    false_positive: Interval | None


@dataclass(frozen=True, slots=True)
class Fairness:
    """What a classifier does to each group.

    Attributes:
        metric: The metric's name.
        groups: The metric of each group, with its interval and n.
        worst: The group where the metric is worst.
        gap: Best minus worst value of the metric, ≥ 0.
        rates: The rates of each group for the positive class.
        demographic_parity: See `demographic_parity_difference`.
        equalized_odds: See `equalized_odds_difference`.
    """

    metric: str
    groups: Mapping[str, Interval]
    worst: str
    gap: float
    rates: Mapping[str, GroupRates]
    demographic_parity: float
    equalized_odds: float


def by_group(
    metric: str,
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    groups: Sequence[str],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    costs: NDArray[np.floating] | None = None,
) -> dict[str, Interval]:
    """Return a metric of each group with its interval over the group's items, sorted by name.

    Args:
        metric: A metric's name.
        probabilities: Shape (N, C), or (S, N, C) for S repetitions; N ≥ 1.
        labels: Class indices, shape (N,).
        groups: The group of each item, length N.
        level: Nominal coverage of each group's interval.
        resamples: Bootstrap resamples where the metric is not the accuracy (which has Wilson's).
        seed: Of the resampling.
        costs: Shape (C, C), rows the true class; needed by ``mean_cost``.

    Returns:
        NaN where a group does not define the metric (an AUROC of one class).

    Raises:
        ConfigError: The metric is unknown, or is ``mean_cost`` and no costs are given.
        ShapeError: The shapes do not fit together.
    """
    return {
        name: interval(
            metric,
            probabilities[..., rows, :],
            labels[rows],
            costs=costs,
            level=level,
            resamples=resamples,
            seed=seed,
        )
        for name, rows in rows_by_group(groups, len(labels)).items()
    }


def worst_group(metric: str, groups: Mapping[str, Interval]) -> tuple[str, Interval]:
    """Return the group with the worst value of a metric, the first by name where several have it.

    Raises:
        ConfigError: The metric is unknown.
        ShapeError: No group has a value.
    """
    sign = metric_named(metric).sign
    defined = {name: one for name, one in sorted(groups.items()) if not np.isnan(one.value)}
    if not defined:
        raise ShapeError(f"worst_group: no group has a value of {metric}. Take another metric.")
    name = min(defined, key=lambda key: sign * defined[key].value)
    return name, defined[name]


def group_rates(
    predictions: NDArray[np.integer],
    labels: NDArray[np.integer],
    groups: Sequence[str],
    *,
    positive: int = 1,
) -> dict[str, GroupRates]:
    """Return selection, true-positive and false-positive rate of each group, sorted by name.

    Args:
        predictions: Predicted classes, shape (N,), N ≥ 1.
        labels: Class indices, shape (N,).
        groups: The group of each item, length N.
        positive: The class whose prediction is the benefit (or burden) in question.

    Raises:
        ShapeError: The shapes do not fit together.
    """
    if predictions.shape != labels.shape or labels.ndim != 1:
        raise ShapeError(
            f"predictions {predictions.shape} and labels {labels.shape} do not fit. "
            "Give (N,) twice."
        )
    chosen, actual = predictions == positive, labels == positive
    return {
        name: GroupRates(
            n=len(rows),
            selection=wilson(int(chosen[rows].sum()), len(rows)),
            true_positive=_share(chosen[rows][actual[rows]]),
            false_positive=_share(chosen[rows][~actual[rows]]),
        )
        for name, rows in rows_by_group(groups, len(labels)).items()
    }


def demographic_parity_difference(rates: Mapping[str, GroupRates]) -> float:
    """Return the largest minus the smallest selection rate of the groups, in [0, 1].

    Raises:
        ShapeError: There are no groups.

    Reference:
        Agarwal et al., A Reductions Approach to Fair Classification, ICML 2018, definition 1.
    """
    return _gap(rates, lambda one: one.selection)


def equalized_odds_difference(rates: Mapping[str, GroupRates]) -> float:
    """Return the larger of the groups' gaps in true-positive and in false-positive rate.

    A group without positives has no true-positive rate and is left out of that gap, likewise for
    false positives: counting it as 0 would make a gap out of missing items.

    Returns:
        In [0, 1].

    Raises:
        ShapeError: There are no groups.

    Reference:
        Hardt, Price & Srebro, Equality of Opportunity in Supervised Learning, NeurIPS 2016,
        definition 2.1.
    """
    return max(
        _gap(rates, lambda one: one.true_positive), _gap(rates, lambda one: one.false_positive)
    )


def fairness(
    metric: str,
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    groups: Sequence[str],
    *,
    positive: int = 1,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Fairness:
    """Return the metric of each group, the worst group, and the gaps of rates between groups.

    Args:
        metric: A metric's name other than ``mean_cost``.
        probabilities: Shape (N, C), N ≥ 1.
        labels: Class indices, shape (N,).
        groups: The group of each item, length N.
        positive: The class whose rates are compared.
        resamples: Bootstrap resamples of the metric.
        seed: Of the resampling.

    Raises:
        ConfigError: The metric is unknown.
        ShapeError: The shapes do not fit together, or the positive class is not one.
    """
    if not 0 <= positive < probabilities.shape[-1]:
        raise ShapeError(
            f"fairness: positive class {positive} is not among the {probabilities.shape[-1]} "
            "classes. Give its index."
        )
    each = by_group(metric, probabilities, labels, groups, resamples=resamples, seed=seed)
    worst, low = worst_group(metric, each)
    values = [one.value for one in each.values() if not np.isnan(one.value)]
    rates = group_rates(probabilities.argmax(axis=1), labels, groups, positive=positive)
    return Fairness(
        metric=metric,
        groups=each,
        worst=worst,
        gap=float(max(abs(value - low.value) for value in values)),
        rates=rates,
        demographic_parity=demographic_parity_difference(rates),
        equalized_odds=equalized_odds_difference(rates),
    )


def _share(chosen: NDArray[np.bool_]) -> Interval | None:
    return wilson(int(chosen.sum()), len(chosen)) if len(chosen) else None


def _gap(rates: Mapping[str, GroupRates], rate: Callable[[GroupRates], Interval | None]) -> float:
    if not rates:
        raise ShapeError("there are no groups to compare. Give at least one.")
    found = [rate(one) for one in rates.values()]
    values = [one.value for one in found if one is not None]
    return float(max(values) - min(values)) if values else 0.0


def rows_by_group(groups: Sequence[str], n: int) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each group, sorted by name.

    Raises:
        ShapeError: There is not one group per item, or there are no items.
    """
    if len(groups) != n or n == 0:
        raise ShapeError(f"{len(groups)} groups for {n} items. Give one per item, at least one.")
    names = np.asarray([str(one) for one in groups])
    return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}
