from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regraft.evidence.verdict import (
    CANDIDATE,
    WITHOUT_FINE_TUNING,
    WITHOUT_TRANSFER,
    ArmResult,
    Confirmation,
    Verdict,
    confirm,
    decide_verdict,
    sentence,
)
from regraft.evidence.words import number, seconds_text, signed

N = 400
LABELS = np.arange(N) % 2


def arm(
    name: str,
    role: str,
    right: int,
    *,
    cost: float = 10.0,
    confidence: float = 0.8,
    first: int = 0,
    n: int = N,
) -> ArmResult:
    """Return an arm that gets `right` consecutive items right, from item `first` on."""
    labels = np.arange(n) % 2
    is_right = (np.arange(n) - first) % n < right
    guess = np.where(is_right, labels, 1 - labels)
    probabilities = np.where(np.eye(2)[guess] > 0, confidence, 1 - confidence)
    return ArmResult(name, name.upper(), role, probabilities[None], cost)


def raw(right: int = 200, **more: Any) -> ArmResult:
    return arm("raw", WITHOUT_TRANSFER, right, **more)


def probe(right: int = 300, **more: Any) -> ArmResult:
    return arm("probe", WITHOUT_FINE_TUNING, right, **more)


def tuned(right: int = 380, **more: Any) -> ArmResult:
    return arm("tuned", CANDIDATE, right, **more)


def decided(*arms: ArmResult, labels: NDArray[Any] = LABELS, metric: str = "accuracy") -> Verdict:
    return decide_verdict(arms, labels, metric=metric, costs=None, seed=0)


def confirmed(verdict: Verdict, *arms: ArmResult, labels: NDArray[Any] = LABELS) -> Confirmation:
    return confirm(verdict, arms, labels, metric="accuracy", costs=None, seed=1)


# the verdict


def test_a_candidate_that_beats_every_control_is_recommended() -> None:
    found = decided(raw(), probe(), tuned())
    assert (found.kind, found.winner, found.leader, found.tied) == (
        "recommend",
        "tuned",
        "tuned",
        (),
    )
    assert set(found.comparisons) == {"raw", "probe"}
    assert found.comparisons["raw"].difference == pytest.approx(0.45)
    assert found.reasons == ("TUNED has the best accuracy on 400 validation items",)


def test_comparisons_are_corrected_for_their_number() -> None:
    found = decided(raw(), probe(), tuned(), arm("other", CANDIDATE, 379))
    ps = [one.p for one in found.comparisons.values()]
    adjusted = [one.p_adjusted for one in found.comparisons.values()]
    assert min(p for p in adjusted if p is not None) == pytest.approx(3 * min(ps))


def test_a_control_without_transfer_that_leads_means_do_not_transfer() -> None:
    found = decided(raw(380), probe(300), tuned(350))
    assert (found.kind, found.winner) == ("do_not_transfer", "raw")


def test_a_control_without_transfer_with_the_very_value_of_the_leader_means_do_not_transfer() -> (
    None
):
    found = decided(tuned(380, cost=1.0), raw(380, cost=50.0))
    assert (found.kind, found.winner) == ("do_not_transfer", "raw")


def test_a_control_without_transfer_that_ties_below_the_leader_is_noted_only() -> None:
    found = decided(raw(376, first=4), probe(250), tuned(380))
    assert (found.kind, found.winner) == ("recommend", "tuned")
    assert "raw" in found.tied
    assert any("RAW, which transfers nothing, cannot be told apart" in r for r in found.reasons)
    assert any("400 validation items" in r and "would not show" in r for r in found.reasons)


def test_a_probe_that_ties_means_do_not_fine_tune() -> None:
    found = decided(raw(), probe(378, first=2), tuned(380))
    assert (found.kind, found.winner, found.leader) == ("do_not_fine_tune", "probe", "tuned")
    assert found.tied == ("probe",)
    assert found.reasons[0].startswith(
        "TUNED has the best accuracy on 400 validation items, but PROBE"
    )


def test_of_tied_candidates_the_cheapest_wins() -> None:
    dear = arm("dear", CANDIDATE, 382, cost=100.0)
    found = decided(raw(), probe(), tuned(380, cost=20.0), dear)
    assert (found.kind, found.winner, found.leader) == ("recommend", "tuned", "dear")
    assert found.comparisons["dear"].difference == pytest.approx(-0.005)
    assert found.comparisons["dear"].tie


def test_a_cheap_candidate_that_is_significantly_worse_does_not_win() -> None:
    dear = arm("dear", CANDIDATE, 396, cost=100.0)
    found = decided(raw(), probe(), tuned(350, cost=1.0), dear)
    assert found.winner == "dear"


@pytest.mark.parametrize(
    ("cost", "winner"),
    [(100.0, "sure"), (124.0, "sure"), (126.0, "tuned"), (81.0, "sure")],
)
def test_costs_within_a_quarter_are_equal_and_the_lower_log_loss_wins(
    cost: float, winner: str
) -> None:
    sure = arm("sure", CANDIDATE, 380, cost=cost, confidence=0.95)
    assert decided(raw(), probe(), tuned(380, cost=100.0), sure).winner == winner


def test_costs_within_five_seconds_are_equal() -> None:
    sure = arm("sure", CANDIDATE, 380, cost=5.5, confidence=0.95)
    assert decided(raw(), probe(), tuned(380, cost=1.0), sure).winner == "sure"
    late = arm("sure", CANDIDATE, 380, cost=6.5, confidence=0.95)
    assert decided(raw(), probe(), tuned(380, cost=1.0), late).winner == "tuned"


def test_metrics_where_less_is_better_are_turned() -> None:
    found = decided(raw(), probe(), tuned(), metric="log_loss")
    assert found.winner == "tuned"
    assert all(one.difference > 0 for one in found.comparisons.values())


def test_one_arm_alone_wins() -> None:
    found = decided(raw())
    assert (found.kind, found.winner, dict(found.comparisons)) == ("do_not_transfer", "raw", {})


@given(st.permutations([0, 1, 2, 3]))
def test_the_order_of_the_arms_does_not_matter(order: list[int]) -> None:
    labels = LABELS[:60]
    arms = [raw(40, n=60), probe(50, n=60), tuned(57, n=60), arm("other", CANDIDATE, 56, n=60)]
    known = decided(*arms, labels=labels)
    found = decided(*(arms[i] for i in order), labels=labels)
    assert (found.kind, found.winner, found.leader) == (known.kind, known.winner, known.leader)
    assert set(found.tied) == set(known.tied)


def test_the_verdict_is_repeatable() -> None:
    arms = (raw(), probe(), tuned(320))
    assert decided(*arms) == decided(*arms)


def test_repetitions_are_averaged() -> None:
    one, two = tuned(390), tuned(370)
    both = np.concatenate([one.probabilities, two.probabilities])
    mean = ArmResult("tuned", "TUNED", CANDIDATE, both, 10.0)
    found = decided(raw(), probe(), mean)
    assert found.comparisons["probe"].difference == pytest.approx((380 - 300) / N)


# the sealed part


def test_what_holds_on_the_sealed_part_is_confirmed() -> None:
    arms = (raw(), probe(), tuned())
    found = confirmed(decided(*arms), *arms)
    assert found.confirmed is True
    assert set(found.comparisons) == {"raw", "probe"}
    assert found.reason == "the sealed part agrees"


def test_a_control_that_is_significantly_better_on_the_sealed_part_refutes() -> None:
    verdict = decided(raw(), probe(), tuned())
    found = confirmed(verdict, raw(), probe(390), tuned(300))
    assert found.confirmed is False
    assert found.reason == "on the sealed part PROBE is significantly better"


def test_the_best_control_ahead_on_the_sealed_part_refutes_a_recommendation() -> None:
    verdict = decided(raw(), probe(), tuned())
    found = confirmed(verdict, raw(), probe(352), tuned(350, first=2))
    assert found.confirmed is False
    assert found.reason == "on the sealed part PROBE is ahead"


def test_the_best_control_is_the_one_of_validation_not_of_the_sealed_part() -> None:
    other = arm("other", WITHOUT_FINE_TUNING, 250)
    verdict = decided(raw(), probe(), other, tuned())
    lucky = arm("other", WITHOUT_FINE_TUNING, 352)
    found = confirmed(verdict, raw(), probe(), lucky, tuned(350, first=2))
    assert found.confirmed is None
    assert found.reason == "on the sealed part OTHER cannot be told apart from the winner"


def test_an_advantage_too_small_on_the_sealed_part_leaves_it_undecided() -> None:
    verdict = decided(raw(), probe(), tuned())
    found = confirmed(verdict, raw(), probe(349, first=1), tuned(350))
    assert found.confirmed is None


def test_do_not_fine_tune_is_confirmed_by_beating_no_transfer_alone() -> None:
    verdict = decided(raw(), probe(380), tuned(378))
    assert verdict.kind == "do_not_fine_tune"
    assert confirmed(verdict, raw(), probe(380), tuned(381)).confirmed is True
    assert confirmed(verdict, raw(), probe(300), tuned(380)).confirmed is False
    assert confirmed(verdict, raw(299, first=1), probe(300), tuned(299)).confirmed is None


def test_do_not_transfer_is_confirmed_where_no_transfer_is_better() -> None:
    verdict = decided(raw(380), probe(300), tuned(350))
    assert confirmed(verdict, raw(350), probe(352), tuned(351)).confirmed is True
    assert confirmed(verdict, raw(300), probe(300), tuned(380)).confirmed is False


def test_arms_that_were_not_scored_on_the_sealed_part_are_left_out() -> None:
    verdict = decided(raw(), probe(), tuned(), arm("other", CANDIDATE, 200))
    assert set(confirmed(verdict, raw(), probe(), tuned()).comparisons) == {"raw", "probe"}


# the sentence


def row(title: str, role: str, value: float, seconds: float, **more: Any) -> dict[str, Any]:
    scored = {"macro_f1": {"value": value, "low": value - 0.018, "high": value + 0.017}}
    return {
        "title": title,
        "role": role,
        "validation": scored,
        "test": scored,
        "seconds": seconds,
        "winner": False,
        "versus_best": None,
        **more,
    }


def said(kind: str, winner: dict[str, Any], *others: dict[str, Any], confirmed: bool | None) -> str:
    winner["winner"] = True
    record = {
        "study": {"metric": "macro_f1", "backbone": "facebook/dinov2-small"},
        "verdict": {"kind": kind, "confirmed": confirmed},
        "arms": [winner, *others],
    }
    return sentence(record, winner)


def test_a_recommendation_reads_as_promised() -> None:
    full = row("full fine-tuning", CANDIDATE, 0.913, 2160.0, versus_best={"tie": True})
    assert said(
        "recommend",
        row("LP-FT", CANDIDATE, 0.912, 240.0),
        row("linear probe", WITHOUT_FINE_TUNING, 0.881, 5.0),
        row("pixels", WITHOUT_TRANSFER, 0.5, 1.0),
        full,
        confirmed=True,
    ) == (
        "LP-FT on dinov2-small: macro-F1 .912 [.894, .929], +.031 over the best control, 4 min; "
        "full fine-tuning ties at 9× the cost."
    )


def test_do_not_fine_tune_compares_with_no_transfer() -> None:
    text = said(
        "do_not_fine_tune",
        row("linear probe", WITHOUT_FINE_TUNING, 0.912, 5.0),
        row("k-NN", WITHOUT_FINE_TUNING, 0.9, 4.0),
        row("pixels", WITHOUT_TRANSFER, 0.7, 1.0),
        confirmed=None,
    )
    assert text == (
        "Do not fine-tune: linear probe on dinov2-small: macro-F1 .912 [.894, .929], +.212 over "
        "the best control without transfer, 5.0 s. The sealed test part leaves it undecided."
    )


def test_do_not_transfer_names_no_backbone_and_a_refuted_verdict_says_so() -> None:
    text = said(
        "do_not_transfer", row("from scratch", WITHOUT_TRANSFER, 0.912, 75.0), confirmed=False
    )
    assert text == (
        "Do not transfer: from scratch: macro-F1 .912 [.894, .929], 1 min. NOT CONFIRMED on the "
        "sealed test part."
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9124, ".912"), (1.0, "1.000"), (-0.03, "−.030"), (12.5, "12.500"), (None, "–")],
)
def test_numbers_have_three_decimals_and_no_leading_zero(value: float | None, text: str) -> None:
    assert number(value) == text


def test_differences_have_a_sign_and_times_a_unit() -> None:
    assert (signed(0.031), signed(-0.004)) == ("+.031", "−.004")
    assert [seconds_text(s) for s in (0.4, 42.0, 75.0, 5400.0, None)] == [
        "0.4 s",
        "42 s",
        "1 min",
        "1.5 h",
        "–",
    ]
