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
    standings = [
        standing
        for key, rung in by_key.items()
        if key.startswith("rung/")
        for standing in rung["standings"]
    ]
    last = {one["run"]: one for one in standings if one["run"] in alone}
    epochs = outcome.admission.epochs
    return (*ended, *(_dropped(tried, last[run], epochs) for run in outcome.dropped if run in last))


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


def _dropped(tried: Trial, standing: Mapping[str, Any], epochs: int) -> RunCost:
    step, total = int(standing["step"]), int(standing["total_steps"])
    return RunCost(
        run=standing["run"],
        predicted_seconds=tried.start_seconds + tried.epoch_seconds * epochs * step / total,
        seconds=float(standing["seconds"]),
        predicted_memory_bytes=tried.peak_memory_bytes,
        dropped_at=(step, total),
    )


def _stacked(decided: Mapping[str, Any] | None) -> set[str]:
    """Return the runs that trained together, by the decision on it."""
    if decided is None or decided["together"] < 2:
        return set()
    return set(decided["runs"])
