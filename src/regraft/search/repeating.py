"""Which repetitions of a contender there is time for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from regraft.search.advisor import Admission, admit_repetition
from regraft.search.drive import recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from regraft.search.outcomes import ArmOutcome
    from regraft.search.race import Runner
    from regraft.search.surroundings import Surroundings


def with_time(
    around: Surroundings, outcome: ArmOutcome, group: Mapping[Runner, int], *, kept: float
) -> list[Runner]:
    """Return the repetitions that run; decided one after the other and written down.

    Those that run together begin together: each is asked for with what those before it take. Who
    has no time takes part in no step of theirs.

    Args:
        around: Ledger and clock.
        outcome: The contender, its first seed done.
        group: A repetition, or those that run together, with their numbers (1 is the second seed).
        kept: Seconds of the budget kept for what follows.
    """
    due: list[Runner] = []
    seconds = 0.0
    for runner, number in group.items():
        decide: Callable[[], dict[str, Any]] = Admission(True, "its result is on record").to_json
        if recorded(around.ledger, around.study, runner.run) is None:
            seconds += float(outcome.repetitions[0].summary["seconds"])
            decide = partial(_admission, around, outcome, number=number, seconds=seconds, kept=kept)
        key = f"seed/{outcome.arm.key}/{number}"
        if around.ledger.decisions.decide(around.study, key, decide)["admitted"]:
            due.append(runner)
    for runner in set(group) - set(due):
        if runner.stack is not None:
            runner.stack.end(runner.run, -1)
    return due


def _admission(
    around: Surroundings, outcome: ArmOutcome, *, number: int, seconds: float, kept: float
) -> dict[str, Any]:
    remaining = around.clock.remaining - kept
    terms = admit_repetition(outcome.arm, estimated=seconds, remaining=remaining, number=number)
    return terms.to_json()
