"""The verb `plan`: what a study would run, why, and what every run of it would cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regraft.errors import BudgetError
from regraft.search.advisor import Admission, order, purse_of
from regraft.search.arms import with_fit
from regraft.search.clock import Clock
from regraft.search.forecasts import held_beside, peak_memory
from regraft.search.holding_up import seconds_per_item, slowest_pass
from regraft.search.ladder import Ladder
from regraft.search.outcomes import ArmOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.search.arms import Arm
    from regraft.search.costs import CostModel
    from regraft.study import Study


def plan_study(study: Study) -> list[dict[str, Any]]:
    """Return what the ladder would do: for each arm whether it runs, why, and at what cost.

    A forward pass and a few steps of every arm are measured (and kept for the study itself). Of
    each run of an arm, `each` has learning rate, epochs, and seconds and peak memory if it goes on
    to its end; in the race few do, and what all are expected to take is the arm's `seconds`. The
    first of `each` that reads features pays the pass for them. Of what is not trained no memory is
    predicted.
    """
    study.register()
    budget = study.spec.budget
    around = study.surroundings(Clock(study.ledger, study.id, budget))
    ladder = Ladder(around, study.task)
    costs = {arm.key: ladder.cost(arm) for arm in study.arms}
    purse = purse_of(
        study.arms,
        budget=budget,
        raced=len(study.task.folds) == 1,
        more_follows=bool(study.spec.label_budgets or study.spec.robustness),
        seeds=study.spec.seeds,
    )
    remaining = budget
    planned: list[_Planned] = []
    for arm in order(study.arms, costs):
        cost = costs[arm.key]
        try:
            terms = purse.terms(arm, cost, remaining=remaining)
        except BudgetError as error:
            terms = Admission(False, str(error))
        seconds = purse.take(arm, terms, cost)
        races = terms.admitted and purse.races(arm)
        remaining -= 0.0 if races else seconds
        planned.append(_Planned(arm, terms, cost, seconds, races=races))
    return [*_rows(planned, around.memory_bytes), *_beyond(study)]


@dataclass(frozen=True, slots=True, eq=False)
class _Planned:
    """An arm, on what terms it would run, and at what cost; whether it would race others."""

    arm: Arm
    terms: Admission
    cost: CostModel
    seconds: float
    races: bool

    @property
    def protocols(self) -> list[dict[str, Any]]:
        """Return what its runs train, in their order."""
        candidates = ArmOutcome(self.arm, self.terms).admitted_candidates()
        epochs = self.terms.epochs
        return [with_fit(one, epochs=epochs) for one in candidates] if self.terms.admitted else []


def _rows(planned: Sequence[_Planned], memory_bytes: float) -> list[dict[str, Any]]:
    raced = [one for one in planned if one.races for _ in one.protocols]
    beside = iter(held_beside([one.cost.waiting_bytes for one in raced]))
    rows, read = [], set[int | None]()
    for one in planned:
        each = []
        for number, protocol in enumerate(one.protocols):
            held = next(beside) if one.races else 0
            each.append(
                _run(one, protocol, is_first=not number, beside=held, memory_bytes=memory_bytes)
            )
        if each and one.arm.role == "control_without_fine_tuning" and one.arm.backbone not in read:
            read.add(one.arm.backbone)
            each[0]["seconds"] += one.cost.feature_pass
        rows.append(_row(one, each))
    return rows


def _row(one: _Planned, each: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of an arm, given its runs."""
    peaks = [run["peak_memory_bytes"] for run in each if run["peak_memory_bytes"]]
    return {
        "protocol": one.arm.key,
        "title": one.arm.title,
        "role": one.arm.role,
        "runs": one.terms.admitted,
        "learning_rates": len(each),
        "each": each,
        "seconds": one.seconds,
        "peak_memory_bytes": max(peaks, default=one.cost.peak_memory_bytes) or None,
        "reason": one.terms.reason,
    }


def _run(
    one: _Planned,
    protocol: Mapping[str, Any],
    *,
    is_first: bool,
    beside: int,
    memory_bytes: float,
) -> dict[str, Any]:
    """Return what one run of an arm costs; the first makes the pre-flight for all."""
    cost = one.cost
    seconds = cost.run(protocol) + (cost.preflight_seconds if is_first else 0.0)
    fit = cost.run(protocol) / cost.fits
    peak = peak_memory(cost, seconds=fit, beside=beside, memory_bytes=memory_bytes)
    return {
        "rate": float(protocol["rate"]["peak"]) if one.arm.is_trained else None,
        "epochs": one.terms.epochs if one.arm.is_trained else None,
        "seconds": seconds,
        "peak_memory_bytes": peak if cost.peak_memory_bytes else None,
    }


def _beyond(study: Study) -> list[dict[str, Any]]:
    """Return what is planned after the ladder: corrupted inputs, predicted by three arms."""
    spec, inputs = study.spec.robustness, study.pool.sealed.inputs
    if spec is None or not len(inputs):
        return []
    n, passes = min(spec.items, len(inputs)), study.spec.seeds + 2
    forward = slowest_pass(study.ledger, study.id)
    one = seconds_per_item(spec, inputs.subset([0]), forward_seconds=forward, passes=passes)
    return [
        {
            "protocol": "robustness",
            "title": "Corrupted inputs, outliers",
            "role": "evidence",
            "runs": True,
            "learning_rates": 0,
            "each": [],
            "seconds": n * one,
            "peak_memory_bytes": None,
            "reason": f"{n} sealed items, by the winner and two controls; fewer if the budget ends",
        }
    ]
