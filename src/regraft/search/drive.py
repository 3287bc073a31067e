"""Drive one run: ask for its events, write them down, answer its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from regraft.engine.fit import FINISH
from regraft.engine.run import execute
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


def drive(around: Surroundings, job: Job) -> Generator[Event, str | None, Outcome]:
    """Run to the end, or go on from the last checkpoint; yield every event after writing it down.

    A measurement that changes the run (a batch halved for memory, the end of the budget) is
    recorded as a decision before it acts, and replayed when the run is resumed. Who consumes the
    events may answer a step with `CHECKPOINT`.

    Args:
        around: Ledger and clock; when the budget is spent the run ends at its next checkpoint.
        job: The run, with the adjustments of earlier sittings.
    """
    ledger = around.ledger
    if (ended := recorded(ledger, around.study, job.run)) is not None:
        return ended
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
        answer, outcome = _written(around, event)
        asked = yield event
        answer = answer or asked
    around.clock.save()
    if outcome is None:
        raise AssertionError(f"run {job.run} ended without Done or Failed")
    return outcome


def _written(around: Surroundings, event: Event) -> tuple[str | None, Outcome | None]:
    """Write an event down; return what to answer it with, and how the run ended if it did."""
    ledger = around.ledger
    match event:
        case Checkpoint():
            ledger.journal.save_checkpoint(event)
            around.clock.save()
            return _answer(around, event), None
        case Adjusted():
            value = {**event.value, "reason": event.reason}
            ledger.decisions.decide(around.study, _prefix(event.run) + event.key, lambda: value)
        case Done():
            ledger.runs.save_result(event)
            return None, Outcome(event.run, "done", "", event.summary, event.arrays)
        case Failed():
            ledger.runs.save_failure(event.run, event.reason)
            return None, Outcome(event.run, "failed", event.reason, {}, {})
        case _:
            ledger.journal.append(event.run, event_json(event))
    return None, None


def _answer(around: Surroundings, event: Checkpoint) -> str | None:
    """Answer a checkpoint: finish when the budget is spent, decided once and written down first."""
    clock = around.clock
    if clock.remaining > 0:
        return None
    stage, step = event.progress["stage"], int(event.progress["fit"]["step"])
    reason = f"the budget of {clock.budget:.0f} s is spent: the run ends with its best state so far"
    decided = around.ledger.decisions.decide(
        around.study,
        f"{_prefix(event.run)}finish/{stage}",
        lambda: {"at_step": step, "reason": reason},
    )
    return FINISH if int(decided["at_step"]) <= step else None


def _prefix(run: str) -> str:
    return f"run/{run}/"
