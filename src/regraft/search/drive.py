"""Drive one run: ask for its events, write them down, answer its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from regraft.engine.fit import FINISH
from regraft.engine.run import execute
from regraft.events import Adjusted, Checkpoint, Done, Event, Failed, event_json

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from regraft.engine.job import Job
    from regraft.ledger.ledger import Ledger
    from regraft.search.clock import Clock


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """How a run ended: its summary and out-of-sample logits, or why there are none."""

    run: str
    status: Literal["done", "failed"]
    reason: str
    summary: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray[Any, Any]]


def recorded(ledger: Ledger, run: str) -> Outcome | None:
    """Return the outcome of a run that has ended, in this study or in another."""
    result = ledger.runs.result(run)
    if result is not None:
        return Outcome(run, "done", "", result.summary, result.arrays)
    failure = ledger.runs.failure(run)
    return None if failure is None else Outcome(run, "failed", failure, {}, {})


def drive(
    ledger: Ledger, study: str, make_job: Callable[[Mapping[str, Any]], Job], *, run: str, clock: Clock
) -> Generator[Event, str | None, Outcome]:
    """Run to the end, or go on from the last checkpoint; yield every event after writing it down.

    A measurement that changes the run (a batch halved for memory, the end of the budget) is recorded as
    a decision before it acts, and replayed when the run is resumed. Who consumes the events may answer a
    step with `CHECKPOINT`.

    Args:
        ledger: Where events, checkpoints, decisions and the result are written.
        study: The study's id.
        make_job: Makes the job from the adjustments that earlier sittings recorded.
        run: The run's id.
        clock: The study's clock; when its budget is spent the run ends at its next checkpoint.
    """
    if (ended := recorded(ledger, run)) is not None:
        return ended
    resume = ledger.runs.checkpoint(run)
    ledger.runs.rewind(run, resume)
    events = execute(make_job(_adjustments(ledger, study, run)), resume=resume)
    answer: str | None = None
    outcome: Outcome | None = None
    while True:
        try:
            event = events.send(answer)
        except StopIteration:
            break
        answer = None
        match event:
            case Checkpoint():
                ledger.runs.save_checkpoint(event)
                clock.save()
                answer = _answer(ledger, study, event, clock)
            case Adjusted():
                key = f"run/{run}/{event.key}"
                ledger.decisions.decide(
                    study, key, lambda value=event: {**value.value, "reason": value.reason}
                )
            case Done():
                ledger.runs.save_result(event)
                outcome = Outcome(run, "done", "", event.summary, event.arrays)
            case Failed():
                ledger.runs.save_failure(run, event.reason)
                outcome = Outcome(run, "failed", event.reason, {}, {})
            case _:
                ledger.runs.append(run, event_json(event))
        asked = yield event
        answer = answer or asked
    clock.save()
    if outcome is None:
        raise AssertionError(f"run {run} ended without Done or Failed")
    return outcome


def _adjustments(ledger: Ledger, study: str, run: str) -> dict[str, dict[str, Any]]:
    prefix = f"run/{run}/"
    return {
        decision.key.removeprefix(prefix): decision.value
        for decision in ledger.decisions.all(study)
        if decision.key.startswith(prefix)
    }


def _answer(ledger: Ledger, study: str, event: Checkpoint, clock: Clock) -> str | None:
    """Answer a checkpoint: finish when the budget is spent, decided once and written down first."""
    if clock.remaining > 0:
        return None
    stage, step = event.progress["stage"], int(event.progress["fit"]["step"])
    reason = f"the budget of {clock.budget:.0f} s is spent: the run ends with its best state so far"
    decided = ledger.decisions.decide(
        study, f"run/{event.run}/finish/{stage}", lambda: {"at_step": step, "reason": reason}
    )
    return FINISH if int(decided["at_step"]) <= step else None
