"""Successive halving: what share of their steps candidates get, and which go on. Pure functions."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

ETA = 3
"""One candidate in so many goes on, to so many times the steps (Jamieson & Talwalkar, 2016)."""

_MOST_RUNGS = 3
FEWEST_STEPS = 20
"""A candidate is not judged before so many steps."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a candidate stands at a rung.

    Attributes:
        run: Its run.
        value: The study's metric, more is better; log_loss: decides between equals.
        step: Steps taken, of `total_steps`.
        seconds: Seconds taken.
        n_items: Validation items that it was looked at on.
        ended: Whether the run has ended; then it costs nothing more.
        curve: Step and value wherever it was compared, the last included.
    """

    run: str
    value: float
    log_loss: float
    step: int
    total_steps: int
    seconds: float
    n_items: int
    ended: bool
    curve: tuple[tuple[int, float], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that the ledger keeps."""
        return asdict(self)

    def seconds_to(self, share: float) -> float:
        """Return the seconds that it needs to have taken a share of its steps."""
        if self.ended or self.step == 0:
            return 0.0
        return max(0.0, share * self.total_steps - self.step) * self.seconds / self.step


def rungs(n: int) -> list[float]:
    """Return the shares of their steps at which n candidates are compared, from low to high.

    There are as many rungs as leave one candidate for the last leg, three at most.

    Example:
        >>> [round(share, 3) for share in rungs(21)], rungs(3), rungs(2)
        ([0.037, 0.111, 0.333], [0.3333333333333333], [])
    """
    if n < ETA:
        return []
    levels = min(_MOST_RUNGS, math.ceil(math.log(n, ETA) - 1e-9))
    return [float(ETA) ** -(levels - i) for i in range(levels)]


def racing_share(n: int) -> float:
    """Return the part of the steps of n candidates that are taken when the worse drop out.

    Example:
        >>> round(racing_share(9), 3), racing_share(2)
        (0.259, 1.0)
    """
    taken, done, left = 0.0, 0.0, n
    for share in rungs(n):
        taken += left * (share - done)
        done, left = share, kept(left)
    return (taken + left * (1.0 - done)) / n


def held_against(
    chosen: Sequence[Standing],
    standings: Sequence[Standing],
    pairs: Sequence[tuple[frozenset[str], frozenset[str]]],
) -> list[Standing]:
    """Return who goes on beside those chosen, so that each ingredient meets its off-switch.

    An arm and its off-switch go on together or drop out together: what regularises learns slowly
    at first. Of the off-switch as many learning rates go on as of the arm, of the arm one at least;
    their best.

    Args:
        chosen: Who goes on by merit.
        standings: All that are compared, ties in the order given.
        pairs: Runs of an arm with an optional ingredient, and of the arm without it.
    """
    going, added = {one.run for one in chosen}, list[Standing]()
    in_order = ranked(standings)
    is_settled = False
    while not is_settled:
        is_settled = True
        for runs, off_runs in pairs:
            n_on, n_off = len(going & runs), len(going & off_runs)
            left = [one for one in in_order if one.run in off_runs - going]
            waiting = left[: max(0, n_on - n_off)]
            if n_off and not n_on:
                waiting = [one for one in in_order if one.run in runs][:1]
            going |= {one.run for one in waiting}
            added += waiting
            is_settled = is_settled and not waiting
    return added


def ranked(standings: Sequence[Standing]) -> list[Standing]:
    """Return standings, best first; ties in the order given."""
    return sorted(standings, key=lambda one: (-one.value, one.log_loss))


def kept(n: int) -> int:
    """Return how many of n candidates go on."""
    return math.ceil(n / ETA)


def promoted(standings: Sequence[Standing], *, to_share: float, available: float) -> list[Standing]:
    """Return those that go on, best first: the better third, as many as the time left holds.

    The best goes on in any case.

    Args:
        standings: All that are compared, ties in the order given.
        to_share: Share of their steps at which they are compared next, or 1.
        available: Seconds left for them.
    """
    best = ranked(standings)[: kept(len(standings))]
    chosen = best[:1]
    spent = sum(one.seconds_to(to_share) for one in chosen)
    for one in best[1:]:
        spent += one.seconds_to(to_share)
        if spent > available:
            break
        chosen.append(one)
    return chosen
