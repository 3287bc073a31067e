"""What the trained runs of an arm were predicted to cost, beside what they cost."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from regraft.evidence.arm import RunCost
from regraft.search.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.ledger.decisions import Decision
    from regraft.search.outcomes import ArmOutcome

_MISTIMED = 1.5
_TELLING_SECONDS = 1.0


def run_costs(decisions: Sequence[Decision], outcome: ArmOutcome) -> tuple[RunCost, ...]:
    """Return the costs of an arm's runs, those that dropped out of the race at what they took.

    The prediction is that of the arm's trial, for the epochs that a run took. A run that trained
    together with others has no time or memory of its own that was predicted; of one that dropped
    out the time to its last comparison is known, but no memory.

    Args:
        decisions: Of the study.
        outcome: What became of the arm.
    """
    by_key = {one.key: one.value for one in decisions}
    keys = [cost_key(outcome.arm.key, again=again) for again in (True, False)]
    measured = next((by_key[key] for key in keys if key in by_key), None)
    if measured is None:
        return ()
    tried = Trial(**measured)
    ended = [
        _ended(tried, one.run, one.summary)
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
    return (*ended, *(_dropped(tried, seen[run], epochs) for run in runs))


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


def _ended(tried: Trial, run: str, summary: Mapping[str, Any]) -> RunCost:
    return RunCost(
        run=run,
        predicted_seconds=tried.seconds_of(summary["stages"]),
        seconds=float(summary["seconds"]),
        predicted_memory_bytes=tried.peak_memory_bytes,
        peak_memory_bytes=int(summary["peak_memory_bytes"]),
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
