"""Predictions for corrupted sealed inputs and for outliers, before any sealed label is seen."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.arm import Part
from regraft.evidence.draws import drawn
from regraft.evidence.gathered import HeldUp, Predicted
from regraft.evidence.questions.asked import best_of, stands_for_transfer, validation_values
from regraft.evidence.verdict import WITHOUT_FINE_TUNING, WITHOUT_TRANSFER
from regraft.search.predicting import AT_ONCE, Predictors, joined
from regraft.seeds import derive
from regraft.tasks.corruptions.items import corrupted, corruptions_of, plain_inputs
from regraft.tasks.outliers import built_in, made_outliers

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from regraft.config.study import RobustnessSpec
    from regraft.ledger.ledger import Ledger
    from regraft.search.outcomes import ArmOutcome
    from regraft.search.surroundings import Surroundings
    from regraft.tasks.items import Items
    from regraft.tasks.task import Task

    Shown = Mapping[str, Callable[[Items], Items]]

GIVEN = "given outliers"
FEWEST_ITEMS = 8
_MOST_TRAINED = 1000
"""Training items whose features tell what is usual; above it a seeded draw."""


def held_up(
    around: Surroundings,
    spec: RobustnessSpec,
    *,
    task: Task,
    inputs: Items,
    outliers: Items | None,
    outcomes: Sequence[ArmOutcome],
    winner: str,
) -> HeldUp:
    """Return what the winner and the best controls say of corrupted inputs and of outliers.

    Args:
        around: Ledger, clock and backbones.
        spec: Severities, and how many items at most.
        task: Of the ladder: its training items tell the outlier scores what is usual.
        inputs: The sealed items, without labels.
        outliers: Those that the user gave.
        outcomes: The finalists.
        winner: Key of the arm that the verdict names.
    """
    seed = derive(around.seed, "robustness")
    arms = held_arms(outcomes, winner, _values(outcomes, task, seed))
    predictors = Predictors(around.ledger, arms, [b.backbone for b in around.benches], task)
    n, reason = _admitted(around, spec, arms, inputs)
    rows = drawn(len(inputs), n, seed=seed, name="items")
    if not len(rows):
        return HeldUp(rows, reason, {}, {}, {}, {}, np.empty(0, np.int64))
    cells = [
        (name, severity)
        for name in corruptions_of(inputs.kind, sample_rate=spec.sample_rate)
        for severity in spec.severities
    ]
    shown = {"": _as_they_are, **{str(one): _corruption(spec, one, seed) for one in cells}}
    shown |= {name: _outliers(name, seed) for name in built_in(inputs.kind)}
    unspoilt = {"", *built_in(inputs.kind)}
    found = _all_said(predictors, inputs.subset(rows), shown, unspoilt)
    said = {name: found[name] for name in built_in(inputs.kind)}
    if outliers is not None:
        some = outliers.subset(drawn(len(outliers), spec.items, seed=seed, name="items"))
        said[GIVEN] = _all_said(predictors, some, {"": _as_they_are})[""]
    trained = task.development.subset(_trained_rows(task, seed))
    usual = _all_said(predictors.first_of_each(), trained, {"": _as_they_are})[""]
    return HeldUp(
        rows,
        reason,
        clean=found[""],
        corrupted={one: found[str(one)] for one in cells},
        outliers=said,
        trained=usual,
        trained_labels=trained.labels,
    )


def held_arms(
    outcomes: Sequence[ArmOutcome], winner: str, values: Mapping[str, float]
) -> list[ArmOutcome]:
    """Return the winner, what stands for transfer, and the best control of each role, none twice.

    What stands for transfer is the arm of which the evidence will tell, by the same rule.

    Args:
        outcomes: The finalists.
        winner: Key of the arm that the verdict names.
        values: Of each on validation, by key, more is better.
    """
    roles = {one.arm.key: one.arm.role for one in outcomes}
    best = [
        best_of([key for key, own in roles.items() if own == role], values)
        for role in (WITHOUT_FINE_TUNING, WITHOUT_TRANSFER)
    ]
    chosen = dict.fromkeys([winner, stands_for_transfer(roles, winner, values), *best])
    by_key = {one.arm.key: one for one in outcomes}
    return [by_key[key] for key in chosen if key is not None]


def seconds_per_item(
    spec: RobustnessSpec, one: Items, *, forward_seconds: float, passes: int
) -> float:
    """Return the seconds that one sealed item costs: all its corruptions, made and predicted.

    Args:
        spec: Severities.
        one: A single item, on which the corruptions are timed.
        forward_seconds: Of one pass of one item through a backbone.
        passes: How often each version of the item is predicted.
    """
    kinds = corruptions_of(one.kind, sample_rate=spec.sample_rate)
    plain, severity = plain_inputs(one), spec.severities[len(spec.severities) // 2]
    started = time.perf_counter()
    for name in kinds:
        corrupted(plain, name, severity=severity, seed=0, sample_rate=spec.sample_rate)
    made = (time.perf_counter() - started) * len(spec.severities)
    versions = len(kinds) * len(spec.severities) + 1 + len(built_in(one.kind))
    return made + versions * passes * forward_seconds


def slowest_pass(ledger: Ledger, study: str) -> float:
    """Return the seconds of one item's pass through the slowest backbone, as first measured."""
    measured = [
        float(one.value["seconds_per_item"])
        for one in ledger.decisions.all(study)
        if one.key.startswith("cost/") and "seconds_per_item" in one.value
    ]
    return max(measured, default=0.0)


def _admitted(
    around: Surroundings, spec: RobustnessSpec, arms: Sequence[ArmOutcome], inputs: Items
) -> tuple[int, str]:
    """Return how many items the rest of the budget holds, and why; decided and written down."""
    asked = min(spec.items, len(inputs))

    def decide() -> dict[str, Any]:
        passes = sum(len(one.repetitions) for one in arms)
        forward = slowest_pass(around.ledger, around.study)
        each = seconds_per_item(spec, inputs.subset([0]), forward_seconds=forward, passes=passes)
        fits = int(max(0.0, around.clock.remaining) / max(each, 1e-9))
        n = asked if fits >= asked else fits if fits >= FEWEST_ITEMS else 0
        about = f"{asked} sealed items, corrupted, need about {asked * each:.0f} s"
        left = "" if n == asked else f"; the budget still holds {n or f'fewer than {FEWEST_ITEMS}'}"
        return {"items": n, "reason": about + left}

    value = around.ledger.decisions.decide(around.study, "robustness", decide)
    return int(value["items"]), str(value["reason"])


def _all_said(
    predictors: Predictors,
    items: Items,
    shown: Shown,
    keeps_features: Container[str] | None = None,
) -> dict[str, dict[str, Predicted]]:
    """Return what is said of the items in each form; a part of them is in memory at a time.

    Features are kept of the forms named, of all if none are.
    """
    found: dict[str, list[dict[str, Predicted]]] = {name: [] for name in shown}
    for start in range(0, len(items), AT_ONCE):
        part = plain_inputs(items.subset(range(start, min(start + AT_ONCE, len(items)))))
        for name, make in shown.items():
            said = predictors.of(make(part))
            if keeps_features is not None and name not in keeps_features:
                said = {key: replace(one, features=None) for key, one in said.items()}
            found[name].append(said)
    return {name: joined(parts) for name, parts in found.items()}


def _as_they_are(plain: Items) -> Items:
    return plain


def _corruption(spec: RobustnessSpec, cell: tuple[str, int], seed: int) -> Callable[[Items], Items]:
    name, severity = cell
    rate = spec.sample_rate
    return lambda plain: corrupted(plain, name, severity=severity, seed=seed, sample_rate=rate)


def _outliers(name: str, seed: int) -> Callable[[Items], Items]:
    return lambda plain: made_outliers(plain, name, seed=seed)


def _trained_rows(task: Task, seed: int) -> np.ndarray[Any, Any]:
    """Return rows of items that the arms' weights were trained on."""
    n = len(task.development)
    rows = task.folds[0].train if len(task.folds) == 1 else np.arange(n)
    chosen: np.ndarray[Any, Any] = rows[drawn(len(rows), _MOST_TRAINED, seed=seed, name="items")]
    return chosen


def _values(outcomes: Sequence[ArmOutcome], task: Task, seed: int) -> dict[str, float]:
    rows = outcomes[0].repetitions[0].arrays["rows"]
    part = Part(task.development.labels[rows], task.costs, seed)
    probabilities = {one.arm.key: one.probabilities() for one in outcomes}
    return validation_values(probabilities, part, task.metric)
