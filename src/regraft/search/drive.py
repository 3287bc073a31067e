"""Drive one run: ask for its events, write them down, answer its checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from regraft.engine.fit import FINISH
from regraft.engine.run import execute
from regraft.engine.stack import Stack
from regraft.errors import LedgerError
from regraft.events import Adjusted, Checkpoint, Done, Event, Failed, event_json

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from regraft.engine.job import Job
    from regraft.ledger.ledger import Ledger
    from regraft.search.surroundings import Surroundings


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """How a run ended: its summary and out-of-sample logits, or why there are none."""

    run: str
    status: Literal["done", "failed"]
    reason: str
    summary: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray[Any, Any]]


def recorded(ledger: Ledger, study: str, run: str) -> Outcome | None:
    """Return the outcome of a run that has ended, in this study or in another.

    A run that another study's budget cut short is no result for this one.
    """
    result = ledger.runs.result(run)
    if result is not None:
        cut_short = any(stage["finished_early"] for stage in result.summary["stages"])
        own = any(key.startswith("finish/") for key in adjustments(ledger, study, run))
        if cut_short and not own:
            return None
        return Outcome(run, "done", "", result.summary, result.arrays)
    failure = ledger.runs.failure(run)
    return None if failure is None else Outcome(run, "failed", failure, {}, {})


def adjustments(ledger: Ledger, study: str, run: str) -> dict[str, dict[str, Any]]:
    """Return what earlier sittings of a study decided for a run, by key."""
    prefix = _prefix(run)
    return {
        decision.key.removeprefix(prefix): decision.value
        for decision in ledger.decisions.all(study)
        if decision.key.startswith(prefix)
    }


def has_weights(ledger: Ledger, run: str) -> bool:
    """Whether the weights that a run left can be loaded; losers' are freed when a study ends."""
    result = ledger.runs.result(run)
    try:
        return result is not None and bool(result.load_state())
    except LedgerError:
        return False


def as_recorded(job: Job, summary: Mapping[str, Any]) -> Job:
    """Return a job to run again to the same numbers, given the summary of its result.

    One that the budget ended can be ended at just the same step; one that trained together with
    others, or compiled, computes as it did then.
    """
    is_cut = any(key.startswith("finish/") for key in job.adjustments)
    stack = Stack(**summary["stack"]) if "stack" in summary else None
    job = replace(job, stack=stack, compiled=bool(summary.get("compiled")))
    return replace(job, checkpoint_seconds=0.0) if is_cut else job


def was_ended_at(job: Job, event: Checkpoint) -> bool:
    """Whether the budget ended a recorded run at this checkpoint."""
    decided = job.adjustments.get(f"finish/{event.progress['stage']}")
    return decided is not None and int(decided["at_step"]) <= event.step


def drive(
    around: Surroundings,
    job: Job,
    *,
    most_seconds: float = math.inf,
    with_weights: bool = False,
) -> Generator[Event, str | None, Outcome]:
    """Run to the end, or go on from the last checkpoint; yield every event after writing it down.

    A measurement that changes the run (a batch halved for memory, the end of the budget) is
    recorded as a decision before it acts, and replayed when the run is resumed. Who consumes the
    events may answer a step with `CHECKPOINT`.

    Args:
        around: Ledger and clock; when the budget is spent the run ends at its next checkpoint.
        job: The run, with the adjustments of earlier sittings.
        most_seconds: The run ends at its first checkpoint after so many seconds of its own.
        with_weights: Whether it runs again if its result is there but its weights were freed.
    """
    ledger = around.ledger
    ended = recorded(ledger, around.study, job.run)
    is_enough = not with_weights or has_weights(ledger, job.run)
    if ended is not None and (ended.status == "failed" or is_enough):
        return ended
    if is_again := ended is not None:
        job = as_recorded(job, ended.summary)
    resume = ledger.journal.checkpoint(job.run)
    ledger.journal.rewind(job.run, resume)
    events = execute(job, resume=resume)
    answer: str | None = None
    outcome: Outcome | None = None
    while True:
        try:
            event = events.send(answer)
        except StopIteration:
            break
        if isinstance(event, Done):
            event = _with_labels(event, job)
        outcome = _written(around, event)
        answer = None
        if isinstance(event, Checkpoint):
            ends = was_ended_at(job, event) if is_again else _ends(around, event, most_seconds)
            answer = FINISH if ends else None
        asked = yield event
        answer = answer or asked
    around.clock.save()
    if outcome is None:
        raise AssertionError(f"run {job.run} ended without Done or Failed")
    return outcome


def _with_labels(event: Done, job: Job) -> Done:
    """Add the labels of the validated items, by which runs can be compared without the data."""
    labels = job.data.labels[event.arrays["rows"]]
    return replace(event, arrays={**event.arrays, "labels": labels})


def _written(around: Surroundings, event: Event) -> Outcome | None:
    """Write an event down; return how the run ended, if it did."""
    ledger = around.ledger
    match event:
        case Checkpoint():
            ledger.journal.save_checkpoint(event)
            around.clock.save()
        case Adjusted():
            value = {**event.value, "reason": event.reason}
            ledger.decisions.decide(around.study, _prefix(event.run) + event.key, lambda: value)
        case Done():
            ledger.runs.save_result(event)
            return Outcome(event.run, "done", "", event.summary, event.arrays)
        case Failed():
            ledger.runs.save_failure(event.run, event.reason)
            return Outcome(event.run, "failed", event.reason, {}, {})
        case _:
            ledger.journal.append(event.run, event_json(event))
    return None


def _ends(around: Surroundings, event: Checkpoint, most_seconds: float) -> bool:
    """Whether the run ends here, its time spent; decided once and written down first."""
    clock = around.clock
    is_over_its_cap = float(event.progress["meter"]["seconds"]) >= most_seconds
    if clock.remaining > 0 and not is_over_its_cap:
        return False
    stage, step = event.progress["stage"], int(event.progress["fit"]["step"])
    spent = f"the budget of {clock.budget:.0f} s is spent"
    if is_over_its_cap:
        spent = "training from scratch has had its share of the budget"
    reason = f"{spent}: the run ends with its best state so far"
    decided = around.ledger.decisions.decide(
        around.study,
        f"{_prefix(event.run)}finish/{stage}",
        lambda: {"at_step": step, "reason": reason},
    )
    return int(decided["at_step"]) <= step


def _prefix(run: str) -> str:
    return f"run/{run}/"
