"""Runs at other label budgets, with the settings that the ladder found, frozen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regraft.search.arms import with_fit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from regraft.evidence.verdict import Verdict
    from regraft.events import Event
    from regraft.measure.metrics import Metric
    from regraft.search.ladder import ArmOutcome, Ladder
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


def efficiency_arms(
    outcomes: Sequence[ArmOutcome], metric: Metric
) -> list[ArmOutcome]:
    """Return the arms that are compared over label budgets.

    The best control of each kind (raw inputs, from scratch, without fine-tuning) and the best candidate.
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
    outcomes: Sequence[ArmOutcome],
    pool: Task,
    *,
    budgets: Sequence[int],
    seeds: int,
    seed: int,
    make_ladder: Callable[[Task], Ladder],
) -> Generator[Event, str | None, list[BudgetRun]]:
    """Run each arm at each label budget with several nested subsets; return what was run.

    No labels are held out: the number of optimiser steps, the rate and the protocol are the ladder's.
    """
    runs: list[BudgetRun] = []
    for repetition in range(seeds):
        for per_class in budgets:
            task = pool.with_label_budget(per_class, seed=seed + repetition).without_validation()
            ladder = make_ladder(task)
            for outcome in outcomes:
                protocol = _frozen(outcome, len(task.development))
                ended = yield from ladder.run(outcome, protocol, repetition=repetition)
                if ended.status == "done":
                    runs.append(
                        BudgetRun(
                            outcome.arm.key,
                            per_class,
                            len(task.development),
                            ended.run,
                            protocol,
                            outcome.arm.backbone or 0,
                        )
                    )
    return runs


def _frozen(outcome: ArmOutcome, n_labels: int) -> dict[str, Any]:
    """Return the arm's protocol with the epochs that make as many steps on n labels as in the ladder."""
    protocol = outcome.protocol
    stages = outcome.repetitions[0].summary["stages"]
    if not stages:
        return protocol
    batch_size = int(protocol["fit"]["batch_size"])
    steps = int(protocol["fit"]["epochs"]) * math.ceil(int(stages[0]["n_train"]) / batch_size)
    return with_fit(protocol, epochs=math.ceil(steps / math.ceil(n_labels / batch_size)))
