"""The race: candidates go on rung by rung, the worse drop out; nobody starts again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, final

from regraft.engine.fit import CHECKPOINT, GLIMPSE
from regraft.engine.meter import used_bytes
from regraft.events import Checkpoint, Event, Glimpse, Started, Step
from regraft.evidence.words import number, percent
from regraft.measure.metrics import METRICS
from regraft.search.halving import (
    FEWEST_STEPS,
    Standing,
    held_against,
    kept,
    promoted,
    ranked,
    rungs,
)
from regraft.search.outlook import UNLIKELY, chances
from regraft.search.stacking import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from regraft.engine.stack import Stack
    from regraft.ledger.decisions import Decision
    from regraft.ledger.journal import Journal
    from regraft.search.drive import Outcome
    from regraft.search.surroundings import Surroundings

_RUNG = "rung/"


@final
class Runner:
    """A candidate in the race: its run, paused where it was compared last.

    Attributes:
        run: The run's id.
        outcome: How the run ended, once it has.
        stack: The runs that it trains together with; None where it trains alone.
    """

    def __init__(
        self,
        run: str,
        start: Callable[[], Generator[Event, str | None, Outcome]],
        journal: Journal,
        stack: Stack | None = None,
    ) -> None:
        self.run, self.stack = run, stack
        self.outcome: Outcome | None = None
        self._start, self._journal = start, journal
        self._events: Generator[Event, str | None, Outcome] | None = None
        self._seen: Glimpse | None = None
        self._curve: list[Glimpse] = []

    @property
    def has_failed(self) -> bool:
        """Whether the run has ended without a result."""
        return self.outcome is not None and self.outcome.status == "failed"

    @property
    def step(self) -> int:
        """How many steps a run that has ended took, by its journal."""
        events = self._journal.events(self.run)
        return max((int(one["step"]) for one in events if one["kind"] == "step"), default=0)

    def advance(self, share: float) -> Generator[Event, str | None, None]:
        """Go on until a share of the steps is taken and the metrics are known, or to the end."""
        if self._events is None:
            self._events = self._start()
        answer: str | None = None
        while self.outcome is None and not self._has_reached(share):
            try:
                event = self._events.send(answer)
            except StopIteration as stop:
                self.outcome = stop.value
                return
            if isinstance(event, Glimpse):
                self._see(event)
            elif isinstance(event, Started) and event.resumed_at_step:
                self._recall(share)
            is_there = isinstance(event, Step) and event.step >= _goal(share, event.total_steps)
            asked = yield event
            answer = GLIMPSE if share < 1 and is_there else asked

    def standing(self, metric: str) -> Standing:
        """Return where it stands: by its result if it has ended, else by what was seen last."""
        sign = METRICS[metric].sign
        if self.outcome is not None:
            return self._ended(self.outcome, metric, sign)
        if self._seen is None:
            raise AssertionError("a runner that is compared has been seen")
        seen = self._seen
        value, loss = sign * seen.metrics.get(metric, 0.0), seen.metrics["log_loss"]
        curve = tuple((one.step, sign * one.metrics.get(metric, 0.0)) for one in self._curve)
        return Standing(
            self.run,
            value,
            loss,
            seen.step,
            seen.total_steps,
            seen.seconds,
            seen.n_items,
            False,
            curve,
        )

    def park(self) -> Generator[Event, str | None, None]:
        """Put the paused run on disk and free what it holds; it goes on from there to the same end.

        Where its last step was the last of all there is nothing left to put away.
        """
        while self._events is not None and self.outcome is None:
            try:
                event = self._events.send(CHECKPOINT)
            except StopIteration as stop:
                self.outcome = stop.value
                return
            yield event
            if isinstance(event, Checkpoint):
                self.drop_out()

    def drop_out(self) -> None:
        """Free what the paused run holds."""
        if self._events is not None:
            self._events.close()
        self._events = None

    def _ended(self, outcome: Outcome, metric: str, sign: float) -> Standing:
        metrics, stage = outcome.summary["metrics"], outcome.summary["stages"][0]
        return Standing(
            self.run,
            sign * metrics.get(metric, 0.0),
            metrics["log_loss"],
            stage["step"],
            stage["step"],
            float(outcome.summary["seconds"]),
            int(outcome.summary["n_validation"]),
            True,
            ((stage["step"], sign * metrics.get(metric, 0.0)),),
        )

    def _has_reached(self, share: float) -> bool:
        seen = self._seen
        return share < 1 and seen is not None and seen.step >= _goal(share, seen.total_steps)

    def _recall(self, share: float) -> None:
        """Take from the journal what an earlier sitting saw before the checkpoint."""
        for event in self._journal.events(self.run):
            if event["kind"] == "glimpse" and not self._has_reached(share):
                self._see(Glimpse(**{k: v for k, v in event.items() if k != "kind"}))

    def _see(self, seen: Glimpse) -> None:
        self._seen = seen
        self._curve = [one for one in self._curve if one.step < seen.step] + [seen]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A candidate that dropped out.

    Attributes:
        reason: Why.
        value: Its metric then.
        rank: The same, more is better.
        seconds: What it had taken.
    """

    reason: str
    value: float
    rank: float
    seconds: float


def race(
    around: Surroundings,
    runners: Sequence[Runner],
    *,
    metric: str,
    reserved: float,
    pairs: Sequence[tuple[frozenset[str], frozenset[str]]] = (),
) -> Generator[Event, str | None, None]:
    """Run all to the end but those that drop out.

    Who goes on is decided from the metrics on validation and from the time left, and written down
    before it acts; a resumed study does not run again what had dropped out.

    Args:
        around: Ledger and clock.
        runners: The candidates, cheap before dear.
        metric: The study's metric.
        reserved: Seconds kept for what follows the race.
        pairs: Runs of an arm with an optional ingredient, and of its off-switch.
    """
    left = list(runners)
    shares = rungs(len(left))
    decided = {one.key: one.value for one in around.ledger.decisions.all(around.study)}
    for rung, share in enumerate(shares):
        chosen = decided.get(f"{_RUNG}{rung}")
        running = set() if chosen is None else _running(chosen)
        for group in grouped(left):
            due = [one for one in group if one.run not in running]  # or to its end, on record
            yield from in_turn(due, share)
            if used_bytes(around.device) > around.memory_bytes:
                for runner in group:
                    yield from runner.park()
        left = [one for one in left if not one.has_failed]
        if len(left) < 2:
            break
        if chosen is None:
            standings = [one.standing(metric) for one in left]
            available = around.clock.remaining - reserved
            chances_of = chances(standings, metric)
            to_share = [*shares, 1.0][rung + 1]
            chosen = _decision(standings, chances_of, metric, to_share, available)
            chosen = _with_held_against(chosen, standings, pairs)
            around.ledger.decisions.decide(around.study, f"{_RUNG}{rung}", partial(dict, chosen))
        _drop(left, chosen)
        left = [one for one in left if one.run in chosen["promoted"]]
    for group in grouped(left):
        yield from in_turn(group, 1.0)


def grouped(runners: Sequence[Runner]) -> list[list[Runner]]:
    """Return the candidates, those together that train together."""
    groups: dict[int, list[Runner]] = {}
    for runner in runners:
        groups.setdefault(id(runner if runner.stack is None else runner.stack), []).append(runner)
    return list(groups.values())


def dropped_out(decisions: Sequence[Decision], metric: str) -> dict[str, Dropped]:
    """Return, by run, what dropped out of a study's race; a run that had ended has a result."""
    found: dict[str, Dropped] = {}
    for rung in (one.value for one in decisions if one.key.startswith(_RUNG)):
        by_merit = set(rung["promoted"]) - set(rung.get("held_against", ()))
        worst = min(one["value"] for one in rung["standings"] if one["run"] in by_merit)
        for one in rung["standings"]:
            if one["run"] not in rung["promoted"] and not one["ended"]:
                reason = (
                    f"dropped out after {one['step']} of {one['total_steps']} steps: "
                    f"{METRICS[metric].title} {_shown(one['value'], metric)}, the last to go on "
                    f"had {_shown(worst, metric)}{_outlook(one)}"
                )
                if one["run"] in rung.get("without_time", ()):
                    reason += "; it is of the better third, but the time left did not hold it"
                value = METRICS[metric].sign * one["value"]
                found[one["run"]] = Dropped(reason, value, one["value"], one["seconds"])
    return found


def _outlook(one: Mapping[str, Any]) -> str:
    if "chance" not in one:  # decided by a version that did not extrapolate
        return ""
    chance = percent(one["chance"])
    return f"; by its curve it would have ended ahead of the best with a chance of {chance}"


def _drop(runners: Sequence[Runner], chosen: Mapping[str, Any]) -> None:
    """Free those that drop out; who trained with them goes on without them from their step on."""
    steps = {one["run"]: int(one["step"]) for one in chosen["standings"]}
    for runner in runners:
        if runner.run not in chosen["promoted"]:
            runner.drop_out()
            if runner.stack is not None:
                runner.stack.end(runner.run, steps[runner.run])


def _running(chosen: Mapping[str, Any]) -> set[str]:
    """Return the runs that had not ended when it was decided who goes on."""
    return {one["run"] for one in chosen["standings"] if not one["ended"]}


def _decision(
    standings: Sequence[Standing],
    chances_of: Mapping[str, float],
    metric: str,
    to_share: float,
    available: float,
) -> dict[str, Any]:
    best = promoted(standings, to_share=to_share, available=available)
    chosen = [one for one in best if chances_of[one.run] >= UNLIKELY]
    untimely = kept(len(standings)) - len(best)
    reason = (
        f"{len(chosen)} of {len(standings)} candidates go on: {METRICS[metric].title} "
        f"{_shown(chosen[-1].value, metric)} or better"
    )
    if untimely:
        reason += f"; the time left does not hold {untimely} more of the better third"
    return {
        "promoted": [one.run for one in chosen],
        "standings": [{**one.to_json(), "chance": chances_of[one.run]} for one in standings],
        "without_time": [one.run for one in ranked(standings)[len(best) :][:untimely]],
        "reason": reason,
    }


def _with_held_against(
    chosen: dict[str, Any],
    standings: Sequence[Standing],
    pairs: Sequence[tuple[frozenset[str], frozenset[str]]],
) -> dict[str, Any]:
    """Let those that are held against each other go on together."""
    going = [one for one in standings if one.run in chosen["promoted"]]
    runs = [one.run for one in held_against(going, standings, pairs)]
    if not runs:
        return chosen
    reason = f"{chosen['reason']}; {len(runs)} more to tell what an optional ingredient does"
    promoted_too = [*chosen["promoted"], *runs]
    return {**chosen, "promoted": promoted_too, "held_against": runs, "reason": reason}


def _shown(value: float, metric: str) -> str:
    return number(METRICS[metric].sign * value)


def _goal(share: float, total_steps: int) -> int:
    return min(total_steps, max(FEWEST_STEPS, math.ceil(share * total_steps)))
