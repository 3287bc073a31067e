"""What the trained runs of an arm were predicted to cost, beside what they cost."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

from regraft.evidence.arm import RunCost
from regraft.search.halving import kept, rungs
from regraft.search.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.ledger.decisions import Decision
    from regraft.search.costs import CostModel
    from regraft.search.drive import Outcome
    from regraft.search.outcomes import ArmOutcome

RACE = "cost-race"
"""Key of the decision that holds what the process held as the race began, and might hold."""

_CHECKPOINT_SECONDS = 10.0
"""Least time between two checkpoints, unless a sitting asks for another."""

_MISTIMED = 1.5
_TELLING_SECONDS = 1.0


def run_costs(
    decisions: Sequence[Decision],
    outcome: ArmOutcome,
    outcomes: Sequence[ArmOutcome],
) -> tuple[RunCost, ...]:
    """Return the costs of an arm's runs, those that dropped out of the race at what they took.

    The prediction is that of the arm's trial, for the epochs that a run took. A run that trained
    together with others has no time or memory of its own that was predicted; of one that dropped
    out the time to its last comparison is known, but no memory.

    Args:
        decisions: Of the study.
        outcome: What became of the arm.
        outcomes: What became of all arms: in the race their runs hold memory beside this one's,
            and so does what the study has read since the trial.
    """
    by_key = {one.key: one.value for one in decisions}
    tried = _trial(by_key, outcome)
    if tried is None:
        return ()
    beside, first = _held_beside(by_key, outcomes), _first_run(by_key, outcome)
    begun = by_key.get(RACE, {}) if outcome.arm.role == "candidate" else {}
    is_known = bool(begun) and tried.held_bytes > 0
    grown = max(0, begun["held_bytes"] - tried.held_bytes) if is_known else 0
    ended = [
        _ended(
            tried,
            one,
            beside=grown + beside.get(one.run, 0),
            memory_bytes=begun.get("memory_bytes") or math.inf,
        )
        for one in (*outcome.tuning, *outcome.repetitions[1:])
        if one.status == "done" and one.summary.get("stacked", 1) == 1
    ]
    alone = set(outcome.dropped) - _stacked(by_key.get(f"stack/{outcome.arm.key}"))
    seen: dict[str, list[Mapping[str, Any]]] = {}
    for key, rung in by_key.items():
        for standing in rung["standings"] if key.startswith("rung/") else ():
            seen.setdefault(standing["run"], []).append(standing)
    epochs = outcome.admission.epochs
    runs = [run for run in outcome.dropped if run in alone and run in seen]
    costs = (*ended, *(_dropped(tried, seen[run], epochs) for run in runs))
    return tuple(_with_preflight(one, tried) if one.run == first else one for one in costs)


def held_beside(waiting: Sequence[int]) -> list[int]:
    """Return what the others of a race hold while each runs, given what each holds when it waits.

    To the first comparison they run in turn, and those before one wait; later those that go on.

    Example:
        >>> held_beside([10, 10, 10])
        [0, 10, 20]
    """
    if not rungs(len(waiting)):
        return [0] * len(waiting)  # too few to be compared: one ends before the next begins
    going_on = (kept(len(waiting)) - 1) * sum(waiting) // len(waiting)
    before = [sum(waiting[:place]) for place in range(len(waiting))]
    return [max(one, going_on) for one in before]


def cost_key(arm: str, *, again: bool) -> str:
    """Return the key of the decision that holds an arm's trial; the second counts, where it is."""
    return f"cost-again/{arm}" if again else f"cost/{arm}"


def mistimed(costs: Sequence[RunCost]) -> str:
    """Return why trials are not to be believed: what ran took other times. Nothing where they are.

    Args:
        costs: Of runs that were tried before; what takes no time tells nothing of it.
    """
    told = [one for one in costs if max(one.seconds, one.predicted_seconds) >= _TELLING_SECONDS]
    if not told:
        return ""
    ratio = median(one.seconds / max(one.predicted_seconds, 1e-9) for one in told)
    if 1 / _MISTIMED <= ratio <= _MISTIMED:
        return ""
    runs = "1 run" if len(told) == 1 else f"{len(told)} runs"
    return f"{runs} took {ratio:.2g} times as long as trials said: what is left is tried again"


def peak_memory(
    cost: Trial | CostModel, *, seconds: float, beside: int, memory_bytes: float
) -> int:
    """Return the most memory of a run.

    Where that is more than the process may hold, runs that wait are put on disk.

    Args:
        cost: Of its arm.
        seconds: Of one of its fits: a short one comes to no checkpoint.
        beside: Bytes that the process holds meanwhile and did not in the trial.
        memory_bytes: What the process may hold.
    """
    own = cost.peak_memory_bytes
    if seconds >= _CHECKPOINT_SECONDS:
        own += cost.checkpoint_bytes
    return int(max(own, min(own + beside, memory_bytes)))


def _trial(by_key: Mapping[str, Any], outcome: ArmOutcome) -> Trial | None:
    """Return the trial by which an arm's runs were predicted."""
    keys = [cost_key(outcome.arm.key, again=again) for again in (True, False)]
    measured = next((by_key[key] for key in keys if key in by_key), None)
    return None if measured is None else Trial(**measured)


def _compared(by_key: Mapping[str, Any]) -> list[str]:
    """Return the runs that were compared first in the race, in their order."""
    rung = by_key.get("rung/0")
    return [] if rung is None else [one["run"] for one in rung["standings"]]


def _runs(outcome: ArmOutcome) -> list[str]:
    return [*(one.run for one in outcome.tuning), *outcome.dropped]


def _first_run(by_key: Mapping[str, Any], outcome: ArmOutcome) -> str | None:
    """Return the run of an arm that ran before all others, if any did."""
    own = _runs(outcome)
    raced = [run for run in _compared(by_key) if run in own]
    return next(iter([*raced, *own]), None)


def _held_beside(by_key: Mapping[str, Any], outcomes: Sequence[ArmOutcome]) -> dict[str, int]:
    """Return, by run of the race, what the others hold while it is on."""
    waiting = dict[str, int]()
    for outcome in outcomes:
        tried = _trial(by_key, outcome)
        waiting |= dict.fromkeys(_runs(outcome), 0 if tried is None else tried.waiting_bytes)
    raced = [run for run in _compared(by_key) if run in waiting]
    return dict(zip(raced, held_beside([waiting[run] for run in raced]), strict=True))


def _with_preflight(cost: RunCost, tried: Trial) -> RunCost:
    return replace(cost, predicted_seconds=cost.predicted_seconds + tried.preflight_seconds)


def _ended(tried: Trial, ended: Outcome, *, beside: int, memory_bytes: float) -> RunCost:
    seconds = tried.seconds_of(ended.summary["stages"])
    return RunCost(
        run=ended.run,
        predicted_seconds=seconds,
        seconds=float(ended.summary["seconds"]),
        predicted_memory_bytes=peak_memory(
            tried,
            seconds=seconds / len(ended.summary["stages"]),
            beside=beside,
            memory_bytes=memory_bytes,
        ),
        peak_memory_bytes=int(ended.summary["peak_memory_bytes"]),
    )


def _dropped(tried: Trial, standings: Sequence[Mapping[str, Any]], epochs: int) -> RunCost:
    """Return the cost of a run that was looked at on the way; at an epoch's end it was anyway."""
    last = standings[-1]
    step, total = int(last["step"]), int(last["total_steps"])
    per_epoch = total / epochs
    looks = [int(one["n_items"]) for one in standings if int(one["step"]) % per_epoch]
    return RunCost(
        run=last["run"],
        predicted_seconds=tried.seconds_to(step, steps_per_epoch=per_epoch, looked_at=sum(looks)),
        seconds=float(last["seconds"]),
        predicted_memory_bytes=tried.peak_memory_bytes,
        dropped_at=(step, total),
    )


def _stacked(decided: Mapping[str, Any] | None) -> set[str]:
    """Return the runs that trained together, by the decision on it."""
    if decided is None or decided["together"] < 2:
        return set()
    return set(decided["runs"])
