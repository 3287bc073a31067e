"""Runs at other label budgets, with the settings that the ladder found, frozen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regraft.search.advisor import admit_curve
from regraft.search.arms import with_fit
from regraft.search.ladder import Ladder

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from regraft.events import Event
    from regraft.measure.metrics import Metric
    from regraft.search.outcomes import ArmOutcome
    from regraft.search.surroundings import Surroundings
    from regraft.tasks.task import Task


@dataclass(frozen=True, slots=True, eq=False)
class BudgetRun:
    """One run at a label budget, scored in the final evaluation."""

    arm: str
    per_class: int
    n_labels: int
    run: str
    protocol: Mapping[str, Any]
    backbone: int


def efficiency_arms(outcomes: Sequence[ArmOutcome], metric: Metric) -> list[ArmOutcome]:
    """Return the arms that are compared over label budgets.

    The best control of each kind (raw inputs, from scratch, without fine-tuning) and the best
    candidate.
    """
    sign = 1.0 if metric.higher_is_better else -1.0

    def value(outcome: ArmOutcome) -> float:
        return sign * float(outcome.repetitions[0].summary["metrics"][metric.name])

    groups: dict[str, list[ArmOutcome]] = {}
    for outcome in outcomes:
        if outcome.is_done:
            group = "scratch" if outcome.arm.is_from_scratch else outcome.arm.role
            groups.setdefault(group, []).append(outcome)
    return [max(group, key=value) for group in groups.values()]


def budget_events(
    around: Surroundings,
    outcomes: Sequence[ArmOutcome],
    pool: Task,
    *,
    budgets: Sequence[int],
    seeds: int,
    seed: int,
) -> Generator[Event, str | None, list[BudgetRun]]:
    """Run each arm at each label budget with several nested subsets; return what was run.

    No labels are held out: the number of optimiser steps, the rate and the protocol are the
    ladder's. A further draw of labels begins only when the time left holds all of it.
    """
    runs: list[BudgetRun] = []
    once = sum(_seconds_of_a_fit(one) for one in outcomes) * len(budgets)
    for repetition in range(seeds):
        if not _is_admitted(around, repetition, once):
            break
        once = 0.0
        for per_class in budgets:
            task = pool.with_label_budget(per_class, seed=seed + repetition).without_validation()
            ladder = Ladder(around, task)
            for outcome in outcomes:
                protocol = _frozen(outcome, len(task.development))
                ended = yield from ladder.run(
                    outcome, protocol, repetition=repetition, with_weights=True
                )
                if ended.status != "done":
                    continue
                once += float(ended.summary["seconds"])
                n_labels, place = len(task.development), outcome.arm.backbone or 0
                key = outcome.arm.key
                runs.append(BudgetRun(key, per_class, n_labels, ended.run, protocol, place))
    return runs


def _seconds_of_a_fit(outcome: ArmOutcome) -> float:
    """Return the time of one fit of an arm's run, which has several under cross-validation."""
    summary = outcome.repetitions[0].summary
    return float(summary["seconds"]) / max(1, len(summary["stages"]))


def _is_admitted(around: Surroundings, repetition: int, estimated: float) -> bool:
    remaining = around.clock.remaining
    decided = around.ledger.decisions.decide(
        around.study,
        f"label-efficiency/{repetition}",
        lambda: admit_curve(estimated=estimated, remaining=remaining, number=repetition).to_json(),
    )
    return bool(decided["admitted"])


def _frozen(outcome: ArmOutcome, n_labels: int) -> dict[str, Any]:
    """Return the arm's protocol, with as many steps on n labels as in the ladder."""
    protocol = outcome.protocol
    stages = outcome.repetitions[0].summary["stages"]
    if not stages:
        return protocol
    batch_size = int(protocol["fit"]["batch_size"])
    steps = int(protocol["fit"]["epochs"]) * math.ceil(int(stages[0]["n_train"]) / batch_size)
    return with_fit(protocol, epochs=math.ceil(steps / math.ceil(n_labels / batch_size)))
