"""What runs were predicted to cost beside what they cost, those that dropped out included."""

from __future__ import annotations

import math
from typing import Any

import pytest

from regraft.evidence.arm import RunCost
from regraft.ledger.decisions import Decision
from regraft.search.advisor import Admission
from regraft.search.arms import Arm
from regraft.search.drive import Outcome
from regraft.search.forecasts import held_beside, mistimed, peak_memory, run_costs
from regraft.search.outcomes import ArmOutcome
from regraft.search.race import Dropped
from regraft.search.trial import Trial

TRIED = {
    "start_seconds": 1.0,
    "epoch_seconds": 2.0,
    "peak_memory_bytes": 500,
    "evaluation_seconds": 0.5,
    "n_validated": 40,
}


def ended(run: str, *, epochs: int, stacked: int = 1) -> Outcome:
    """Return a run that was validated after its last epoch."""
    stage = {"n_train": 80, "epochs": 9, "history": [{"epoch": epochs}]}
    figures = {"seconds": 12.0, "peak_memory_bytes": 600, "stacked": stacked}
    return Outcome(run, "done", "", {**figures, "stages": [stage]}, {})


def outcome(*ends: Outcome, dropped: tuple[str, ...] = ()) -> ArmOutcome:
    arm = Arm("lora", "lora", "LoRA", "candidate", 0, ({},))
    gone = {run: Dropped("", 0.5, 0.5, 3.0) for run in dropped}
    terms = Admission(True, "", n_rates=3, epochs=9)
    return ArmOutcome(arm, terms, list(ends), list(ends[:1]), dropped=gone)


def decisions(**more: Any) -> list[Decision]:
    """Return decisions on the arm's cost and whatever else, "/" in a key written as "__"."""
    found = {"cost/lora": TRIED} | {key.replace("__", "/"): one for key, one in more.items()}
    return [Decision(i, key, value, "") for i, (key, value) in enumerate(found.items())]


def costs_of(decided: list[Decision], *arms: ArmOutcome) -> tuple[RunCost, ...]:
    """Return the costs of the first arm's runs."""
    return run_costs(decided, arms[0], arms)


def standing(run: str, step: int, seconds: float) -> dict[str, Any]:
    return {"run": run, "step": step, "total_steps": 90, "seconds": seconds, "n_items": 20}


def test_a_run_that_ended_is_held_against_the_epochs_that_it_took() -> None:
    repeated = outcome(ended("a", epochs=5))
    repeated.repetitions.append(ended("b", epochs=9))
    first, second = costs_of(decisions(), repeated)
    assert (first.run, first.predicted_seconds, first.seconds) == ("a", 11.0, 12.0)
    assert (first.predicted_memory_bytes, first.peak_memory_bytes) == (500, 600)
    assert (second.run, second.predicted_seconds, second.dropped_at) == ("b", 19.0, None)
    assert first.to_json()["dropped_at"] is None


def test_a_run_that_dropped_out_is_held_against_the_steps_that_it_took() -> None:
    rungs = {
        "rung__0": {"standings": [standing("a", 10, 2.0), standing("b", 10, 3.0)]},
        "rung__1": {"standings": [standing("a", 30, 6.0), standing("b", 35, 9.0)]},
    }
    first, second = costs_of(decisions(**rungs), outcome(ended("a", epochs=9), dropped=("b",)))
    assert (first.run, first.dropped_at) == ("a", None)
    assert (second.run, second.dropped_at) == ("b", (35, 90))
    # 3.5 epochs of 10 steps, three of them evaluated; at step 10 the evaluation itself was the look
    assert second.predicted_seconds == pytest.approx(1.0 + 1.5 * 3.5 + 0.5 * (3 + 20 / 40))
    assert (second.seconds, second.peak_memory_bytes) == (9.0, None)
    assert second.to_json()["dropped_at"] == [35, 90]


def test_trials_of_older_studies_do_not_tell_evaluations_apart() -> None:
    old = {key: TRIED[key] for key in ("start_seconds", "epoch_seconds", "peak_memory_bytes")}
    rung = {"standings": [standing("b", 35, 9.0)]}
    (found,) = costs_of(decisions(cost__lora=old, rung__0=rung), outcome(dropped=("b",)))
    assert found.predicted_seconds == pytest.approx(1.0 + 2.0 * 3.5)


def test_the_first_run_of_an_arm_makes_the_preflight_that_its_trial_could_not() -> None:
    tried = {**TRIED, "preflight_seconds": 0.7}
    tuned = outcome(ended("a", epochs=5), ended("b", epochs=5))
    assert [one.predicted_seconds for one in costs_of(decisions(cost__lora=tried), tuned)] == [
        pytest.approx(11.7),
        11.0,
    ]
    rung = {"standings": [standing("c", 10, 2.0), standing("b", 10, 2.0), standing("a", 10, 2.0)]}
    raced = outcome(ended("a", epochs=5), dropped=("b", "c"))
    found = costs_of(decisions(cost__lora=tried, rung__0=rung), raced)
    plain = costs_of(decisions(rung__0=rung), raced)
    more = {
        one.run: one.predicted_seconds - other.predicted_seconds
        for one, other in zip(found, plain, strict=True)
    }
    assert more == {"a": 0.0, "b": 0.0, "c": pytest.approx(0.7)}


def test_in_the_race_memory_holds_those_that_wait() -> None:
    more = {
        "cost__lora": {**TRIED, "waiting_bytes": 30},
        "cost__full": {**TRIED, "waiting_bytes": 90},
        "rung__0": {"standings": [standing(run, 10, 2.0) for run in ("a", "b", "c", "x", "y")]},
    }
    lora = outcome(ended("a", epochs=9), dropped=("b", "c"))
    arm = Arm("full", "full", "Full", "candidate", 0, ({},))
    full = ArmOutcome(
        arm, lora.admission, [ended("y", epochs=9)], [], dropped=dict(x=lora.dropped["b"])
    )
    (first, *_), (last, *_) = (
        run_costs(decisions(**more), one, [lora, full]) for one in (lora, full)
    )
    # of five two go on: beside the first one other, of a middling size
    assert first.predicted_memory_bytes == 500 + (30 * 3 + 90 * 2) // 5
    assert last.predicted_memory_bytes == 500 + 30 * 3 + 90
    # what was read between the trial and the race is there too
    trial_full = {**more["cost__full"], "held_bytes": 200}
    later = decisions(**{**more, "cost__full": trial_full, "cost-race": {"held_bytes": 240}})
    last = run_costs(later, full, [lora, full])[0]
    assert last.predicted_memory_bytes == 500 + 30 * 3 + 90 + 40
    bounded = {
        **more,
        "cost__full": trial_full,
        "cost-race": {"held_bytes": 240, "memory_bytes": 600},
    }
    assert run_costs(decisions(**bounded), full, [lora, full])[0].predicted_memory_bytes == 600
    alone = costs_of(
        decisions(**{key: one for key, one in more.items() if "rung" not in key}), lora
    )
    assert alone[0].predicted_memory_bytes == 500


@pytest.mark.parametrize(
    ("seconds", "beside", "memory_bytes", "peak"),
    [
        (9.0, 0, math.inf, 500),
        (10.0, 0, math.inf, 580),
        (9.0, 70, math.inf, 570),
        (11.0, 70, 600.0, 600),
        (9.0, 70, 300.0, 500),
    ],
)
def test_memory_holds_a_checkpoint_and_what_waits_up_to_what_it_may(
    seconds: float, beside: int, memory_bytes: float, peak: int
) -> None:
    tried = Trial(**TRIED, checkpoint_bytes=80)
    found = peak_memory(tried, seconds=seconds, beside=beside, memory_bytes=memory_bytes)
    assert found == peak


@pytest.mark.parametrize("waiting", [[], [7], [5, 5, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9]])
def test_who_runs_last_meets_all_that_wait(waiting: list[int]) -> None:
    held = held_beside(waiting)
    assert len(held) == len(waiting)
    assert held == sorted(held)
    assert all(0 <= one <= sum(waiting) for one in held)
    if waiting:
        assert held[-1] == max(sum(waiting[:-1]), held[0])


def test_what_trained_together_has_no_cost_of_its_own() -> None:
    more = {
        "rung__0": {"standings": [standing("b", 10, 3.0), standing("c", 10, 3.0)]},
        "stack__lora": {"together": 2, "runs": ["a", "b"]},
    }
    found = outcome(ended("a", epochs=9, stacked=2), dropped=("b", "c"))
    assert [one.run for one in costs_of(decisions(**more), found)] == ["c"]
    alone = decisions(**{**more, "stack__lora": {"together": 1, "runs": ["a", "b"]}})
    assert [one.run for one in costs_of(alone, found)] == ["b", "c"]


def test_where_nothing_was_predicted_or_the_run_failed_there_is_nothing_to_compare() -> None:
    failed = Outcome("a", "failed", "NaN", {}, {})
    assert costs_of(decisions(), outcome(failed)) == ()
    assert costs_of([], outcome(ended("a", epochs=9))) == ()


def test_a_second_trial_takes_the_place_of_the_first() -> None:
    again = {**TRIED, "epoch_seconds": 4.0}
    (found,) = costs_of(decisions(**{"cost-again/lora": again}), outcome(ended("a", epochs=5)))
    assert found.predicted_seconds == 21.0


@pytest.mark.parametrize(
    ("pairs", "ratio"),
    [
        ([], ""),
        ([(10.0, 12.0)], ""),
        ([(0.1, 0.9)], ""),
        ([(10.0, 1.0)], "0.1"),
        ([(10.0, 30.0), (10.0, 10.0), (5.0, 20.0)], "3"),
    ],
)
def test_trials_are_not_believed_when_runs_take_other_times(
    pairs: list[tuple[float, float]], ratio: str
) -> None:
    said = mistimed([RunCost(str(i), *pair, 1) for i, pair in enumerate(pairs)])
    assert (f"took {ratio} times" in said) if ratio else said == ""
