"""Is the target met? Each clause is measured on the sealed part and held against its bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.arm import interval_json
from regraft.evidence.criterion import LATENCY, criterion_of
from regraft.measure.group_gaps import gap_interval, pair_level, sidak, worst_interval
from regraft.measure.groups import by_group, rows_by_group
from regraft.measure.intervals import Interval, interval
from regraft.measure.metrics import METRICS, decide, softmax
from regraft.measure.more_labels import labels_needed, with_more_items
from regraft.measure.rates import nothing, rate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from regraft.evidence.arm import ArmEvidence
    from regraft.evidence.criterion import Clause, Quantity, Status
    from regraft.evidence.gathered import Evidence

_HIGHER_IS_BETTER = ("recall", "precision")


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A system on labelled items, and how long it took.

    Attributes:
        probabilities: Of S repetitions, shape (S, N, C).
        labels: Class indices, shape (N,).
        classes: Names of the classes.
        subgroups: By column, the group of each item.
        groups: By column, the groups that the data has; one may have no item here.
        costs: Shape (C, C), or None.
        seed: Of resampling.
        latency: Milliseconds of one item, or None where it was not asked for.
    """

    probabilities: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    classes: Sequence[str]
    subgroups: Mapping[str, np.ndarray[Any, Any]]
    groups: Mapping[str, Sequence[str]]
    costs: np.ndarray[Any, Any] | None = None
    seed: int = 0
    latency: Interval | None = None

    def of_groups(self, quantity: Quantity, level: Callable[[int], float]) -> dict[str, Interval]:
        """Return a measure of each group, each interval of a level that their number decides."""
        column = str(quantity.column)
        groups = self.subgroups[column].tolist()
        rows = rows_by_group(groups, len(self.labels))
        each = level(len(rows))
        if quantity.measure in METRICS:
            found = by_group(
                quantity.measure,
                self.probabilities,
                self.labels,
                groups,
                level=each,
                seed=self.seed,
                costs=self.costs,
            )
        else:
            found = {name: self.rate(quantity, one, level=each) for name, one in rows.items()}
        return {name: found.get(name) or nothing(each) for name in self.groups[column]}

    def rate(
        self, quantity: Quantity, rows: np.ndarray[Any, Any] | slice, *, level: float = 0.95
    ) -> Interval:
        """Return a rate of a class over some items."""
        predictions = decide(self.probabilities, self.costs)[:, rows]
        label = self.classes[1] if quantity.label is None else quantity.label
        positive = list(self.classes).index(label)
        return rate(
            quantity.measure, predictions, self.labels[rows], positive=positive, level=level
        )


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A quantity with its interval, and what the interval would be with more labels.

    Attributes:
        parts: The intervals that it is made of, by family and group.
        proportion: Whether these are of proportions.
        combine: Makes the quantity of its parts.
        labels_help: Whether more labels narrow it.
    """

    parts: list[dict[str, Interval]]
    proportion: bool
    combine: Callable[[list[dict[str, Interval]]], Interval]
    labels_help: bool = True

    def with_more(self, factor: float) -> Interval:
        """Return the interval of the same value on so many times the labels."""
        return self.combine(
            [
                {
                    name: with_more_items(one, factor, proportion=self.proportion)
                    for name, one in family.items()
                }
                for family in self.parts
            ]
        )

    @property
    def found(self) -> Interval:
        """The interval as it was measured."""
        return self.combine(self.parts)

    @property
    def unknown(self) -> list[str]:
        """The groups of which no item says anything."""
        without = {n: None for one in self.parts for n, i in one.items() if np.isnan(i.value)}
        return list(without)


def target_json(evidence: Evidence, winner: ArmEvidence) -> dict[str, Any] | None:
    """Return whether the winner meets the study's target on the sealed part, plain."""
    clauses = criterion_of(evidence.task)
    if not clauses or evidence.test is None or winner.test_logits is None:
        return None
    return judge(clauses, scored(evidence, winner))


def scored(evidence: Evidence, arm: ArmEvidence) -> Scored:
    """Return what an arm made of the sealed part."""
    if evidence.test is None or arm.test_logits is None:
        raise AssertionError("only what the final evaluation scored can be judged")
    latency, subgroups = evidence.latency, evidence.test_items.subgroups
    return Scored(
        probabilities=softmax(arm.test_logits),
        labels=evidence.test.labels,
        classes=evidence.task.classes,
        subgroups=subgroups,
        groups={
            column: sorted({*values.tolist(), *evidence.task.development.subgroups[column]})
            for column, values in subgroups.items()
        },
        costs=evidence.test.costs,
        seed=evidence.test.seed,
        latency=None if latency is None else Interval(**latency),
    )


def judge(clauses: Sequence[Clause], system: Scored) -> dict[str, Any]:
    """Hold a criterion against a system: met when every clause is, not met when one is not.

    Returns:
        ``text``, ``status`` and ``clauses``; each of these has text, value, low, high, n,
        estimator, seeds, warning, status, ``more_labels`` (test labels beside those there are with
        which an undecided clause would be decided if its value stayed; None where none would help)
        and ``says``, the same in words.
    """
    found = [_judged(clause, system) for clause in clauses]
    statuses = {one["status"] for one in found}
    status: Status = "undecided"
    if statuses == {"met"}:
        status = "met"
    elif "not_met" in statuses:
        status = "not_met"
    return {
        "text": " and ".join(str(one) for one in clauses),
        "status": status,
        "clauses": found,
    }


def _judged(clause: Clause, system: Scored) -> dict[str, Any]:
    measured = _measured(clause, system)
    found = measured.found
    unknown, more = measured.unknown, None
    status = clause.status(found) if not np.isnan(found.value) else "undecided"
    if unknown and status == "met":
        status = "undecided"
    elif status == "undecided" and measured.labels_help and not unknown:
        more = labels_needed(
            len(system.labels),
            lambda factor: clause.status(measured.with_more(factor)) != "undecided",
        )
    # One graft is timed, the first repetition's.
    seeds = 1 if clause.quantity.measure == LATENCY else len(system.probabilities)
    return {
        "text": str(clause),
        **interval_json(found, seeds=seeds),
        "status": status,
        "more_labels": more,
        "says": _says(clause, status, more, unknown),
    }


def _measured(clause: Clause, system: Scored) -> Measured:
    quantity = clause.quantity
    if quantity.measure == LATENCY:
        if system.latency is None:
            raise AssertionError("the latency is measured where a target asks for it")
        return Measured([{"": system.latency}], False, _alone, labels_help=False)
    proportion = quantity.measure not in METRICS or METRICS[quantity.measure].proportion
    if not quantity.over:
        return Measured([{"": _overall(quantity, system)}], proportion, _alone)
    if quantity.over == "worst_group":
        upward = _is_higher_better(clause)
        parts = system.of_groups(quantity, lambda n: sidak(0.95, n))
        return Measured(
            [parts], proportion, lambda one: worst_interval(one[0], higher_is_better=upward)
        )
    families = families_of(quantity, system.classes)
    each = [system.of_groups(one, lambda n: pair_level(0.95, n, len(families))) for one in families]
    return Measured(each, proportion, gap_interval)


def families_of(quantity: Quantity, classes: Sequence[str]) -> list[Quantity]:
    """Return the rates whose largest gap a quantity is; of more than two classes, of each."""
    rates = {
        "demographic_parity": ["selection_rate"],
        "equalized_odds": ["recall", "false_positive_rate"],
    }.get(quantity.over)
    if rates is None:
        return [quantity]
    labels = classes[1:] if len(classes) == 2 else classes
    return [
        type(quantity)(name, label, quantity.over, quantity.column)
        for label in labels
        for name in rates
    ]


def _overall(quantity: Quantity, system: Scored) -> Interval:
    if quantity.measure not in METRICS:
        return system.rate(quantity, slice(None))
    return interval(
        quantity.measure,
        system.probabilities,
        system.labels,
        costs=system.costs,
        seed=system.seed,
    )


def _is_higher_better(clause: Clause) -> bool:
    measure = clause.quantity.measure
    if measure in METRICS:
        return METRICS[measure].higher_is_better
    if measure in _HIGHER_IS_BETTER:
        return True
    return measure == "selection_rate" and clause.at_least


def _alone(parts: list[dict[str, Interval]]) -> Interval:
    return parts[0][""]


def _says(clause: Clause, status: str, more: int | None, unknown: Sequence[str]) -> str:
    if status != "undecided":
        return status.replace("_", " ")
    if unknown:
        whose = ", ".join(one for one in unknown if one)
        return f"undecided: no test item{' of ' * bool(whose)}{whose} defines it"
    if clause.quantity.measure == LATENCY:
        return "undecided: the bound lies within the spread of the calls"
    if more is None:
        return "undecided: it stands at the bound, and no number of test labels would tell"
    return f"undecided: about {about(more)} more test labels would decide it"


def about(count: int) -> str:
    """Return a count to two digits, upward.

    Example:
        >>> about(7), about(238), about(12_001)
        ('7', '240', '13,000')
    """
    unit = 10 ** max(len(str(count)) - 2, 0)
    return f"{-(-count // unit) * unit:,}"
