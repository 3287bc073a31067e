"""The rule-based advisor: which arm comes next and on what terms, each with its reason.

Rules, in order: controls always run, before anything else, to their end; then candidates race,
cheap before dear; an arm that is the same as an earlier one on this backbone is left out; an arm
starts only when all its learning rates fit in what the budget leaves beside the reserve for
repetitions, with fewer epochs if need be; an arm with optional ingredients only where its
off-switches run, after them; on the way the better third goes on; training from scratch takes at
most a third of the budget; what ties with the best is repeated with other seeds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from regraft.config.protocol import depth_index
from regraft.errors import BudgetError
from regraft.hashing import canonical_json
from regraft.search.arms import Arm, with_fit
from regraft.search.halving import racing_share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.search.costs import CostModel

SCRATCH_SHARE = 1 / 3
_PLANNED_SHARE = 0.8
"""Share of its cap for which training from scratch is planned: a run may take a quarter longer than
predicted, and one that is cut short never comes to the end of its schedule."""
RESERVED_SHARE = 0.2
"""Share of the budget kept for repetitions, half of it where nothing is repeated, for the final
scoring; as much again where a label curve follows."""
FEWEST_EPOCHS = 3
MOST_CONTENDERS = 3

_ROLE_ORDER = {"control_without_transfer": 0, "control_without_fine_tuning": 0, "candidate": 1}


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether and how an arm runs.

    Attributes:
        admitted: Whether it runs; `reason` says why, or why not.
        n_rates: How many of its learning rates are tried.
        epochs: Epochs of each run.
        estimated_seconds: Estimate of one of its runs, the shared feature pass included.
    """

    admitted: bool
    reason: str
    n_rates: int = 1
    epochs: int = 1
    estimated_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that the ledger keeps."""
        return asdict(self)


def order(arms: Sequence[Arm], costs: Mapping[str, CostModel]) -> list[Arm]:
    """Return the arms in the order in which they run: controls first, cheap before dear.

    An arm comes after what its optional ingredients are held against.
    """
    by_key = {arm.key: arm for arm in arms}

    def cost(arm: Arm) -> tuple[float, int]:
        held = [cost(by_key[one.off]) for one in arm.switches if one.off in by_key]
        dear = max([costs[arm.key].run(arm.candidates[0]), *(seconds for seconds, _ in held)])
        return dear, max((1 + depth for _, depth in held), default=0)

    def rank(arm: Arm) -> tuple[int, int, tuple[float, int]]:
        return _ROLE_ORDER[arm.role], int(arm.is_from_scratch), cost(arm)

    return sorted(arms, key=rank)


@dataclass(slots=True)
class Purse:
    """What of the budget candidates may still plan with.

    Attributes:
        budget: Seconds of the whole study.
        reserved: Seconds kept for what follows the ladder; `kept` is what even the first candidate
            must leave: without one there is nothing to repeat.
        share: Part of their steps that candidates take when the worse drop out on the way; 1 where
            they do not race.
        planned: Seconds of the race that are planned already.
        admitted: Arms that run.
        off_switches: Keys of arms that ingredients of others are held against.
    """

    budget: float
    reserved: float
    kept: float
    share: float = 1.0
    planned: float = 0.0
    admitted: list[Arm] = field(default_factory=list)
    off_switches: frozenset[str] = frozenset()

    def terms(self, arm: Arm, cost: CostModel, *, remaining: float) -> Admission:
        """Decide whether an arm runs.

        Args:
            arm: The arm.
            cost: Its cost model.
            remaining: Seconds left now.

        Raises:
            BudgetError: The budget does not hold even the controls.
        """
        if not arm.is_trained:
            return _admit_control(arm, cost, remaining)
        if arm.is_from_scratch:
            return _admit_scratch(arm, cost, budget=self.budget, remaining=remaining)
        twin = twin_of(arm, self.admitted, cost.n_blocks)
        if twin is not None and arm.key not in self.off_switches:
            return Admission(False, f"the same as {twin} on a backbone of {cost.n_blocks} blocks")
        running = {one.key for one in self.admitted}
        for one in arm.switches:
            if one.off not in running:
                return Admission(
                    False,
                    f"its off-switch, {one.off}, does not run: {one.ingredient}"
                    " could not be judged",
                )
        is_first = not any(one.role == "candidate" for one in self.admitted)
        available = remaining - (self.kept if is_first else self.reserved) - self.planned
        return _admit_candidate(arm, cost, available=available, share=self.share)

    def races(self, arm: Arm) -> bool:
        """Whether an arm's learning rates race those of other arms."""
        return arm.role == "candidate" and self.share < 1

    def take(self, arm: Arm, terms: Admission, cost: CostModel) -> float:
        """Note what was decided of an arm; return the seconds that all its learning rates need."""
        if not terms.admitted:
            return 0.0
        self.admitted.append(arm)
        if not self.races(arm):
            return terms.estimated_seconds * terms.n_rates
        whole = cost.run(with_fit(arm.candidates[0], epochs=terms.epochs)) - cost.start_seconds
        seconds = (whole * self.share + cost.start_seconds) * terms.n_rates
        self.planned += seconds
        return seconds


def purse_of(
    arms: Sequence[Arm], *, budget: float, raced: bool, more_follows: bool, seeds: int
) -> Purse:
    """Return the purse of a study before anything runs.

    Args:
        arms: All arms.
        budget: Seconds of the study.
        raced: Whether worse candidates drop out; under cross-validation none does, as a fold of a
            few items cannot tell.
        more_follows: Whether the budget must also hold a label-efficiency curve.
        seeds: How often what ties with the best runs.
    """
    kept = RESERVED_SHARE * budget if more_follows else 0.0
    reserved = kept + RESERVED_SHARE * budget * (1.0 if seeds > 1 else 0.5)
    n = sum(len(arm.candidates) for arm in arms if arm.role == "candidate")
    share = racing_share(n) if raced and n else 1.0
    off_switches = frozenset(one.off for arm in arms for one in arm.switches)
    return Purse(budget, reserved, kept, share, off_switches=off_switches)


def _span(seconds: float) -> str:
    """Return seconds for people; below zero there is nothing left."""
    return f"{max(seconds, 0.0):.{0 if seconds >= 10 else 1}f} s"


def _admit_control(arm: Arm, cost: CostModel, remaining: float) -> Admission:
    seconds = cost.run(arm.candidates[0])
    if arm.role == "control_without_fine_tuning":
        seconds += cost.feature_pass
    if seconds > remaining:
        raise BudgetError(
            f"{arm.title} needs about {_span(seconds)} and {_span(remaining)} are left, but "
            "controls must always run. Raise the budget.",
            where="budget",
        )
    return Admission(True, "control: always runs", 1, 1, seconds)


def _admit_scratch(arm: Arm, cost: CostModel, *, budget: float, remaining: float) -> Admission:
    protocol = arm.candidates[0]
    epoch = _epoch(cost)
    cap = SCRATCH_SHARE * budget
    if epoch > remaining:
        raise BudgetError(
            f"one epoch from scratch needs about {_span(epoch)} and {_span(remaining)} are "
            "left, but controls must always run. Raise the budget.",
            where="budget",
        )
    asked, n_rates = int(protocol["fit"]["epochs"]), len(arm.candidates)
    planned = _PLANNED_SHARE * cap
    epochs = min(asked, int(planned / (epoch * n_rates)))
    if epochs < 1:
        epochs, n_rates = max(1, min(asked, int(planned / epoch))), 1
    reason = (
        f"control: always runs; capped at a third of the budget ({_span(cap)}): "
        f"{_rates(n_rates)} of at most {epochs} epochs"
    )
    return Admission(True, reason, n_rates, epochs, epochs * epoch)


def _admit_candidate(arm: Arm, cost: CostModel, *, available: float, share: float) -> Admission:
    protocol = arm.candidates[0]
    asked, n_rates = int(protocol["fit"]["epochs"]), len(arm.candidates)
    epoch, start = _epoch(cost), cost.start_seconds
    each = epoch * n_rates * share
    epochs = min(asked, max(0, int((available - start * n_rates) / each)))
    raced = ", the worse dropping out" if share < 1 else ""
    if epochs < min(FEWEST_EPOCHS, asked):
        return Admission(
            False,
            f"{_rates(n_rates)} of {asked} epochs{raced and raced + ','} need about "
            f"{_span(each * asked + start * n_rates)}; "
            f"{_span(available)} are left beside the reserve for repetitions",
            estimated_seconds=start + epoch * asked + cost.feature_pass,
        )
    needed = each * epochs + start * n_rates
    reason = f"about {_span(needed)} for {_rates(n_rates)}{raced}"
    if epochs < asked:
        reason += f"; {asked} epochs cut to {epochs} to fit in {_span(available)}"
    estimated = start + epoch * epochs + cost.feature_pass
    return Admission(True, reason, n_rates, epochs, estimated)


def _epoch(cost: CostModel) -> float:
    """Return the seconds of an epoch in every fit of a run; after a failed trial next to none."""
    return max(cost.epoch_seconds * cost.fits, 1e-9)


def _rates(n: int) -> str:
    return f"{n} learning rate" + ("s" if n > 1 else "")


def twin_of(arm: Arm, others: Sequence[Arm], n_blocks: int) -> str | None:
    """Return the title of an arm among `others` that trains just the same on so many blocks."""

    def identity(one: Arm) -> tuple[object, ...]:
        protocol = dict(one.candidates[0])
        train = dict(protocol.pop("train"))
        train["from_depth"] = depth_index(train["from_depth"], n_blocks)
        return one.backbone, canonical_json(protocol), canonical_json(train)

    return next((o.title for o in others if o.is_trained and identity(o) == identity(arm)), None)


def contenders(tied: Sequence[Arm], values: Mapping[str, float]) -> list[Arm]:
    """Return the trained arms worth repeating: three at most of what ties, best first."""
    trained = [arm for arm in tied if arm.is_trained]
    return sorted(trained, key=lambda arm: (-values[arm.key], arm.key))[:MOST_CONTENDERS]


def admit_repetition(arm: Arm, *, estimated: float, remaining: float, number: int) -> Admission:
    """Decide whether a contender is repeated once more with another seed.

    Args:
        arm: The contender.
        estimated: Seconds of this repetition, and of those before it that run together with it.
        remaining: Seconds left.
        number: How many come before it, its first run included.
    """
    if estimated > remaining:
        reason = f"about {_span(estimated)} needed, {_span(remaining)} left"
        return Admission(False, reason, estimated_seconds=estimated)
    reason = f"{arm.title} ties with the best: seed {number + 1}"
    return Admission(True, reason, estimated_seconds=estimated)


def admit_curve(*, estimated: float, remaining: float, number: int) -> Admission:
    """Decide whether the label-efficiency curve is drawn once more with other labels."""
    if estimated > remaining:
        reason = f"about {_span(estimated)} needed, {_span(remaining)} left"
        return Admission(False, reason, estimated_seconds=estimated)
    return Admission(True, f"label-efficiency curve, draw {number + 1}", 1, 1, estimated)
