"""The advisor: controls first and always, cheap before dear, the budget kept, a reason for all."""

from __future__ import annotations

from typing import Any

import pytest

from regraft.config.protocol import load_ladder
from regraft.errors import BudgetError
from regraft.search.advisor import (
    FEWEST_EPOCHS,
    MOST_CONTENDERS,
    Admission,
    Purse,
    admit_curve,
    admit_repetition,
    contenders,
    order,
    purse_of,
    twin_of,
)
from regraft.search.arms import Arm, lowest_trained_depth, study_arms, with_off_switches
from regraft.search.costs import CostModel

ARMS = study_arms(["ladder"], ["one"], n_train=100)
BY_KEY = {arm.key: arm for arm in ARMS}
N_BLOCKS, FORWARD, START = 4, 1e-3, 2.0
AMPLE = 1e6


def cost_of(arm: Arm, *, n_folds: int = 1) -> CostModel:
    """Return the cost of an arm on a backbone whose blocks take the same time each."""
    lowest = lowest_trained_depth(arm.candidates[0], N_BLOCKS) if arm.is_trained else N_BLOCKS
    upper = FORWARD * (1 - lowest / N_BLOCKS)
    return CostModel(
        feature_pass=FORWARD * 125,
        start_seconds=START,
        epoch_seconds=100 * 3 * upper + 25 * upper,
        peak_memory_bytes=1,
        n_train=100,
        n_folds=n_folds,
        n_blocks=N_BLOCKS,
    )


COSTS = {arm.key: cost_of(arm) for arm in ARMS}


def price(key: str, **more: Any) -> float:
    return cost_of(BY_KEY[key], **more).run(BY_KEY[key].candidates[0])


def epoch_of(key: str) -> float:
    return COSTS[key].epoch_seconds


def asked(
    key: str, *, budget: float = AMPLE, remaining: float | None = None, **more: object
) -> Admission:
    remaining = budget if remaining is None else remaining
    return purse(budget, **more).terms(BY_KEY[key], COSTS[key], remaining=remaining)


def purse(budget: float, **more: Any) -> Purse:
    """Return a purse after a first candidate, so that the reserve counts."""
    first = Arm("first", "first", "First", "candidate", 1, BY_KEY["lora"].candidates)
    return Purse(budget, **{"reserved": 0.0, "kept": 0.0, "admitted": [first], **more})


def test_controls_come_first_then_cheap_before_dear() -> None:
    arms = order(list(reversed(ARMS)), COSTS)
    n_controls = sum(arm.role != "candidate" for arm in ARMS)
    assert {arm.role for arm in arms[n_controls:]} == {"candidate"}
    assert arms[n_controls - 1].is_from_scratch
    for group in (arms[: n_controls - 1], arms[n_controls:]):
        prices = [price(arm.key) for arm in group]
        assert prices == sorted(prices)
    assert {arm.key for arm in arms} == {entry.protocol for entry in load_ladder("default")}


def test_a_run_costs_its_start_and_its_epochs_in_every_fit() -> None:
    epochs = BY_KEY["full"].candidates[0]["fit"]["epochs"]
    assert price("full") == pytest.approx(START + epochs * epoch_of("full"))
    assert price("full", n_folds=5) == pytest.approx(START + 6 * epochs * epoch_of("full"))
    assert price("linear-probe") < price("lp-ft-upper") < price("full")


@pytest.mark.parametrize(
    "arm", [arm for arm in ARMS if arm.role != "candidate"], ids=lambda a: a.key
)
def test_a_control_always_runs(arm: Arm) -> None:
    for remaining in (AMPLE, 60.0, 10.0):
        terms = purse(60.0, reserved=AMPLE, admitted=[*ARMS]).terms(
            arm, COSTS[arm.key], remaining=remaining
        )
        assert terms.admitted
        assert terms.reason.startswith("control: always runs")


@pytest.mark.parametrize(
    "arm", [arm for arm in ARMS if arm.role != "candidate"], ids=lambda a: a.key
)
def test_a_budget_that_does_not_hold_a_control_is_an_error(arm: Arm) -> None:
    with pytest.raises(
        BudgetError, match=r"budget: .* controls must always run\. Raise the budget"
    ):
        purse(0.01).terms(arm, COSTS[arm.key], remaining=0.0)


@pytest.mark.parametrize("budget", [0.5, 3.0, 12.0, 60.0, 1e4])
def test_training_from_scratch_takes_at_most_a_third(budget: float) -> None:
    terms = asked("scratch", budget=budget)
    epoch = epoch_of("scratch")
    spent = terms.n_rates * terms.epochs * epoch
    assert spent <= max(budget / 3, epoch)
    assert "capped at a third of the budget (" in terms.reason
    assert f" {terms.n_rates} learning rate" in terms.reason
    assert terms.reason.endswith(f"of at most {terms.epochs} epochs")


def test_with_time_every_arm_gets_all_its_rates_and_epochs() -> None:
    for key, arm in BY_KEY.items():
        terms = asked(key)
        assert terms.admitted
        assert terms.n_rates == len(arm.candidates)
        assert not arm.is_trained or terms.epochs == arm.candidates[0]["fit"]["epochs"]


def test_a_budget_cuts_epochs_and_never_rates() -> None:
    protocol = BY_KEY["full"].candidates[0]
    epochs, n_rates = protocol["fit"]["epochs"], len(BY_KEY["full"].candidates)
    whole = epoch_of("full") * epochs * n_rates
    terms = asked("full", remaining=0.51 * whole + 3 * START)
    assert terms.admitted
    assert (terms.n_rates, terms.epochs) == (n_rates, epochs // 2)
    assert f"{epochs} epochs cut to {epochs // 2} to fit in" in terms.reason


def test_a_candidate_that_would_get_too_few_epochs_is_left_out() -> None:
    few = epoch_of("full") * (FEWEST_EPOCHS - 0.5) * 3
    terms = asked("full", remaining=few)
    assert not terms.admitted
    assert "3 learning rates of" in terms.reason
    assert "left beside the reserve for repetitions" in terms.reason
    assert not asked("full", remaining=AMPLE, reserved=AMPLE).admitted


def test_the_reserve_is_not_spent_on_candidates() -> None:
    whole = asked("full").estimated_seconds * 3
    assert (
        asked("full", remaining=whole + 10).epochs
        > asked("full", remaining=whole + 10, reserved=whole / 2).epochs
    )


def test_only_the_first_candidate_may_use_the_reserve() -> None:
    whole = price("full") * 3
    half = (whole - 3 * START) / 2
    settings = {"reserved": whole, "kept": 0.0, "remaining": whole + half + 3 * START + 0.01}
    epochs = BY_KEY["full"].candidates[0]["fit"]["epochs"]
    assert asked("full", admitted=[], **settings).epochs == epochs
    assert asked("full", **settings).epochs == epochs // 2


def test_a_race_plans_with_a_part_of_the_steps_and_a_purse_fills() -> None:
    whole = price("full") * 3
    planned = (whole - 3 * START) / 4 + 3 * START
    alone, raced = purse(AMPLE), purse(AMPLE, share=0.25)
    for one in (alone, raced):
        terms = one.terms(BY_KEY["full"], COSTS["full"], remaining=whole)
        one.take(BY_KEY["full"], terms, COSTS["full"])
    assert alone.planned == 0.0
    assert raced.planned == pytest.approx(planned)
    left = raced.terms(BY_KEY["lp-ft"], COSTS["lp-ft"], remaining=planned + 1e-6)
    assert not left.admitted
    assert "epochs, the worse dropping out, need about" in left.reason
    control = raced.terms(BY_KEY["scratch"], COSTS["scratch"], remaining=whole)
    assert raced.take(BY_KEY["scratch"], control, COSTS["scratch"]) > 0
    assert raced.planned == pytest.approx(planned)


def test_a_twin_is_left_out_and_named() -> None:
    assert twin_of(BY_KEY["full"], ARMS[:3], 4) is None
    fraction, block = (
        Arm(key, key, key.upper(), "candidate", 0, (protocol_from(depth),))
        for key, depth in (("half", 0.5), ("two", 2))
    )
    assert twin_of(block, [fraction], 4) == "HALF"
    assert twin_of(block, [fraction], 6) is None
    other = Arm("other", "other", "Other", "candidate", 1, block.candidates)
    assert twin_of(other, [fraction], 4) is None
    terms = purse(AMPLE, admitted=[fraction]).terms(block, COSTS["lp-ft-upper"], remaining=AMPLE)
    assert not terms.admitted
    assert terms.reason == "the same as HALF on a backbone of 4 blocks"


def protocol_from(depth: float) -> dict[str, object]:
    protocol = BY_KEY["lp-ft-upper"].candidates[0]
    return {**protocol, "train": {**protocol["train"], "from_depth": depth}}


def test_three_at_most_contend_and_the_best_first() -> None:
    trained = [arm for arm in ARMS if arm.is_trained]
    values = {arm.key: float(place) for place, arm in enumerate(ARMS)}
    chosen = contenders(ARMS, values)
    assert len(chosen) == MOST_CONTENDERS
    assert chosen == sorted(trained, key=lambda arm: -values[arm.key])[:MOST_CONTENDERS]
    assert contenders([BY_KEY["knn"], BY_KEY["majority"]], values) == []
    equal = contenders(ARMS, dict.fromkeys(values, 0.5))
    assert [arm.key for arm in equal] == sorted(arm.key for arm in trained)[:MOST_CONTENDERS]


@pytest.mark.parametrize(("remaining", "admitted"), [(9.9, False), (10.0, True), (-3.0, False)])
def test_repetitions_and_curves_begin_only_when_the_time_left_holds_them(
    remaining: float, admitted: bool
) -> None:
    repetition = admit_repetition(BY_KEY["full"], estimated=10.0, remaining=remaining, number=1)
    curve = admit_curve(estimated=10.0, remaining=remaining, number=2)
    assert (repetition.admitted, curve.admitted) == (admitted, admitted)
    if admitted:
        assert repetition.reason == "Full fine-tuning ties with the best: seed 2"
        assert curve.reason == "label-efficiency curve, draw 3"
    else:
        assert repetition.reason.startswith("about 10 s needed, ")
        assert "-" not in repetition.reason


def test_every_decision_has_a_reason_and_is_plain() -> None:
    for key in BY_KEY:
        for remaining in (AMPLE, 1.0):
            plain = asked(key, budget=AMPLE, remaining=remaining).to_json()
            assert plain["reason"]
            assert Admission(**plain) == asked(key, budget=AMPLE, remaining=remaining)


def gated_arms() -> list[Arm]:
    """Return a LoRA with two ingredients, and what they are held against."""
    plain = BY_KEY["lora"].candidates
    both = tuple(
        {
            **one,
            "fit": {**one["fit"], "label_smoothing": 0.1},
            "data": {**one["data"], "rebalance": {"kind": "balanced"}},
        }
        for one in plain
    )
    return with_off_switches([Arm("mine", "mine", "Mine", "candidate", 0, both)])


def test_an_arm_comes_after_its_off_switches_whatever_they_cost() -> None:
    arms = gated_arms()
    costs = {arm.key: cost_of(arm) for arm in arms}
    bare = arms[-1].key
    dear = cost_of(BY_KEY["full"])
    for one in ({}, {bare: dear}, {arms[1].key: dear}):
        keys = [arm.key for arm in order(arms, {**costs, **one})]
        assert keys[0] == bare
        assert keys[-1] == "mine"


def test_an_arm_runs_only_where_its_off_switches_do() -> None:
    arms = {arm.key: arm for arm in gated_arms()}
    found = purse_of(list(arms.values()), budget=AMPLE, raced=False, more_follows=False, seeds=3)
    cost = COSTS["lora"]
    for arm in order(list(arms.values()), dict.fromkeys(arms, cost)):
        terms = found.terms(arm, cost, remaining=AMPLE)
        assert terms.admitted
        found.take(arm, terms, cost)
    left_out = ("mine", "mine-without-rebalance")
    found.admitted = [one for one in found.admitted if one.key not in left_out]
    terms = found.terms(arms["mine"], cost, remaining=AMPLE)
    assert (terms.admitted, terms.reason) == (
        False,
        "its off-switch, mine-without-rebalance, does not run: balanced class weights could not be "
        "judged",
    )


def test_an_off_switch_that_is_the_same_as_another_arm_here_runs_all_the_same() -> None:
    arms = gated_arms()
    found = purse_of(arms, budget=AMPLE, raced=False, more_follows=False, seeds=3)
    found.admitted = [BY_KEY["lora"]]
    assert found.terms(arms[-1], COSTS["lora"], remaining=AMPLE).admitted
    assert not found.terms(BY_KEY["lora"], COSTS["lora"], remaining=AMPLE).admitted


def test_what_is_not_repeated_needs_half_the_reserve() -> None:
    arms = list(BY_KEY.values())
    once, thrice = (
        purse_of(arms, budget=100.0, raced=False, more_follows=False, seeds=n) for n in (1, 3)
    )
    assert (once.reserved, thrice.reserved) == (10.0, 20.0)
    curve = purse_of(arms, budget=100.0, raced=False, more_follows=True, seeds=3)
    assert (curve.reserved, curve.kept) == (40.0, 20.0)
