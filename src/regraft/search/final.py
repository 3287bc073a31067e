"""The one final evaluation: predictions for the sealed part first, then its labels."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.engine.predict import predict_logits
from regraft.evidence.gathered import BudgetPoint
from regraft.search.beyond import Beyond
from regraft.search.predicting import run_job

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from regraft.events import Event
    from regraft.evidence.verdict import Verdict
    from regraft.ledger.ledger import Ledger
    from regraft.search.bench import Bench
    from regraft.search.label_efficiency import BudgetRun
    from regraft.search.ladder import Ladder
    from regraft.search.outcomes import ArmOutcome
    from regraft.tasks.items import Items
    from regraft.tasks.task import Task


@dataclass(frozen=True, slots=True, eq=False)
class Final:
    """The sealed part, opened.

    Attributes:
        items: The test items with their labels.
        logits: Per arm, shape (seeds, n, C).
        openings: How many studies have opened this sealed part, this one included.
        beyond: What was asked beyond it, predicted before it was opened.
        seconds: Per arm, what its predictions took.
        benches: The backbones with the sealed inputs.
    """

    items: Items
    logits: Mapping[str, np.ndarray[Any, Any]]
    openings: int
    beyond: Beyond
    seconds: Mapping[str, float]
    benches: Sequence[Bench]


def finalists(outcomes: Sequence[ArmOutcome], verdict: Verdict) -> list[ArmOutcome]:
    """Return what is scored on the sealed part: the winner, its ties, and every control."""
    keep = {verdict.winner, verdict.leader, *verdict.tied}
    return [o for o in outcomes if o.is_done and (o.arm.key in keep or o.arm.role != "candidate")]


def weights_of_finalists(
    ladder: Ladder, verdict: Verdict, ledger: Ledger
) -> Generator[Event, str | None, None]:
    """Run again, to the same numbers, those whose weights were freed when another study ended."""
    for outcome in finalists(ladder.outcomes, verdict):
        for one in outcome.repetitions:
            number = int(ledger.runs.get(one.run).configuration["repetition"])
            yield from ladder.run(outcome, outcome.protocol, repetition=number, with_weights=True)


def run_logits(
    ledger: Ledger, run: str, protocol: Mapping[str, Any], bench: Bench, task: Task
) -> np.ndarray[Any, Any]:
    """Return logits (n, C) of a finished run over all items of `bench`, whatever their labels."""
    result = ledger.runs.result(run)
    if result is None:
        raise AssertionError(f"run {run} has no result")
    data = bench.plain_data(len(task.classes), task.metric)
    job = run_job(ledger, run, protocol=protocol, backbone=bench.backbone, data=data)
    return predict_logits(job, result.load_state())


def arm_logits(
    ledger: Ledger, outcome: ArmOutcome, benches: Sequence[Bench], task: Task
) -> np.ndarray[Any, Any]:
    """Return logits (seeds, n, C) of an arm's repetitions over the items of its bench."""
    bench = benches[outcome.arm.backbone or 0]
    protocol = outcome.protocol
    return np.stack(
        [run_logits(ledger, one.run, protocol, bench, task) for one in outcome.repetitions]
    )


def final_evaluation(
    ledger: Ledger,
    study: str,
    *,
    task: Task,
    benches: Sequence[Bench],
    finalists: Sequence[ArmOutcome],
    budget_runs: Sequence[BudgetRun],
    beyond: Beyond,
) -> tuple[Final, list[BudgetPoint]]:
    """Predict the sealed inputs with all that is to be scored; then, once, open the labels.

    Args:
        ledger: Where the runs and the opening are recorded.
        study: Its id.
        task: Classes, metric and the sealed part.
        benches: The backbones with the sealed inputs.
        finalists: What is scored.
        budget_runs: The runs of the label-efficiency curve.
        beyond: What was predicted beyond the sealed part.
    """
    logits, seconds = dict[str, np.ndarray[Any, Any]](), dict[str, float]()
    for one in finalists:
        began = time.perf_counter()
        logits[one.arm.key] = arm_logits(ledger, one, benches, task)
        seconds[one.arm.key] = time.perf_counter() - began
    grouped: dict[tuple[str, int, int], list[np.ndarray[Any, Any]]] = {}
    for run in budget_runs:
        scores = run_logits(ledger, run.run, run.protocol, benches[run.backbone], task)
        grouped.setdefault((run.arm, run.per_class, run.n_labels), []).append(scores)
    points = [
        BudgetPoint(arm, per_class, n, np.stack(all_scores))
        for (arm, per_class, n), all_scores in grouped.items()
    ]
    openings = ledger.openings.record(task.sealed.digest, study)
    return Final(task.sealed.open(), logits, openings, beyond, seconds, benches), points
