"""Questions: what the record answers of them, on made-up arms with known answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from made_evidence import made_evidence
from regraft.evidence.arm import ArmEvidence, Part
from regraft.evidence.label_spread import LabelCurve
from regraft.evidence.questions import asking
from regraft.evidence.questions.asked import transferred
from regraft.evidence.questions.can_it_be_trusted import can_it_be_trusted
from regraft.evidence.questions.did_it_help import did_it_help
from regraft.evidence.questions.how_many_labels import how_many_labels
from regraft.evidence.questions.was_it_faster import was_it_faster
from regraft.evidence.verdict import CANDIDATE, WITHOUT_FINE_TUNING, WITHOUT_TRANSFER
from regraft.measure.metrics import METRICS

N = 400
LABELS = np.random.default_rng(0).integers(0, 2, N)
TEST = Part(LABELS, None, 0)


def arm(key: str, role: str, *, right: float, seed: int = 0) -> ArmEvidence:
    """Return an arm that gets a share of the items right, the same items for the same share."""
    order = np.random.default_rng(seed).random(N)
    said = np.where(order < right, LABELS, 1 - LABELS)
    logits = 4.0 * np.eye(2)[said][None] - 2.0
    return ArmEvidence(
        key=key,
        protocol=key,
        title=key.title(),
        role=role,
        status="done",
        reason="",
        settings={},
        estimated_seconds=1.0,
        runs=(f"run-{key}",),
        logits=logits,
        test_logits=logits,
    )


def history(pairs: list[tuple[int, float]]) -> list[dict[str, Any]]:
    return [
        {"step": step, "seconds": 2.0 * step, "metrics": {"accuracy": value, "log_loss": 1 - value}}
        for step, value in pairs
    ]


def test_the_winner_stands_for_transfer_else_the_best_that_transfers() -> None:
    scratch = arm("scratch", WITHOUT_TRANSFER, right=0.9)
    probe = arm("probe", WITHOUT_FINE_TUNING, right=0.7)
    lora = arm("lora", CANDIDATE, right=0.8)
    values = {"scratch": 0.9, "probe": 0.7, "lora": 0.8}
    assert transferred([scratch, probe, lora], "probe", values) is probe
    assert transferred([scratch, probe, lora], "scratch", values) is lora
    assert transferred([scratch], "scratch", values) is None


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_transfer_that_helps_hurts_or_leaves_it_open_is_named_so(metric: str) -> None:
    scratch = arm("scratch", WITHOUT_TRANSFER, right=0.7)
    words = {}
    for right in (0.9, 0.5, 0.71):
        (answer,) = did_it_help(arm("lora", CANDIDATE, right=right), [scratch], TEST, metric)
        words[right] = answer["verdict"]
        assert answer["n"] == N
        assert answer["low"] <= answer["difference"] <= answer["high"]
    assert words == {0.9: "helped", 0.5: "negative transfer", 0.71: "undecided"}


def test_the_relative_gain_is_a_share_of_what_it_is_compared_with() -> None:
    scratch, lora = (
        arm("scratch", WITHOUT_TRANSFER, right=0.6),
        arm("lora", CANDIDATE, right=0.9),
    )
    (answer,) = did_it_help(lora, [scratch, lora], TEST, "accuracy")
    reached = [(one.logits[0].argmax(1) == LABELS).mean() for one in (lora, scratch)]
    known = 100 * (reached[0] - reached[1]) / reached[1]
    assert answer["relative_gain_percent"] == pytest.approx(known)
    assert answer["text"] == f"helped, {known:+.0f} % of .{round(1000 * reached[1])}"


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_fine_tuning_is_held_against_frozen_features(metric: str) -> None:
    knn, probe = (arm(key, WITHOUT_FINE_TUNING, right=0.7) for key in ("knn", "linear-probe"))
    scratch = arm("scratch", WITHOUT_TRANSFER, right=0.6)
    words = {}
    for right in (0.9, 0.5, 0.71):
        lora = arm("lora", CANDIDATE, right=right)
        found = did_it_help(lora, [knn, probe, lora, scratch], TEST, metric)
        assert [one["control"] for one in found] == ["scratch", "linear-probe", "knn"]
        words[right] = found[1]["text"].partition(", ")[0]
        assert found[1]["relative_gain_percent"] * (right - 0.7) > 0
    assert words == {0.9: "fine-tuning helped", 0.5: "fine-tuning is worse", 0.71: "undecided"}
    assert "fine-tuning is not shown to be better" in found[1]["text"]
    assert found[1]["verdict"] == "undecided"


def test_only_controls_without_transfer_can_say_that_it_is_negative() -> None:
    scratch, probe = (
        arm("scratch", WITHOUT_TRANSFER, right=0.6),
        arm("linear-probe", WITHOUT_FINE_TUNING, right=0.9),
    )
    lora = arm("lora", CANDIDATE, right=0.75)
    verdicts = [one["verdict"] for one in did_it_help(lora, [probe, scratch, lora], TEST, "brier")]
    assert verdicts == ["helped", "fine-tuning is worse"]


def test_a_winner_that_is_a_control_is_not_held_against_itself() -> None:
    probe, knn = (
        arm("linear-probe", WITHOUT_FINE_TUNING, right=0.9),
        arm("knn", WITHOUT_FINE_TUNING, right=0.7),
    )
    (answer,) = did_it_help(probe, [probe, knn], TEST, "accuracy")
    assert (answer["control"], answer["verdict"]) == ("knn", "better")


def test_the_best_control_without_transfer_is_that_of_validation() -> None:
    raw, scratch = (arm(key, WITHOUT_TRANSFER, right=0.7) for key in ("raw", "scratch"))
    better = replace(raw, logits=arm("raw", WITHOUT_TRANSFER, right=0.8).logits)
    lora = arm("lora", CANDIDATE, right=0.9)
    evidence = made_evidence([scratch, better, lora], LABELS, {})
    questions = asking.answers(evidence, lora, None)
    rows = next(one["answers"] for one in questions if one["key"] == "help")
    told = {one["control"]: one.get("beside") for one in rows}
    assert told == {"scratch": None, "raw": "the best control without transfer on validation"}


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_speed_is_the_ratio_of_the_times_to_the_best_from_scratch(metric: str) -> None:
    scratch, lora = arm("scratch", WITHOUT_TRANSFER, right=0.8), arm("l", CANDIDATE, right=0.9)
    slow = history([(100, 0.6), (200, 0.7), (300, 0.8)])
    fast = history([(10, 0.7), (50, 0.85), (60, 0.9)])
    histories = {"run-scratch": slow, "run-l": fast}
    steps, seconds, area = was_it_faster(lora, [scratch, lora], histories, metric)
    assert (steps["value"], seconds["value"]) == (6.0, 6.0)
    assert steps["text"] == "6.0 ×"
    assert 0 < area["value"] < 1
    never = {**histories, "run-l": history([(10, 0.5), (50, 0.6)])}
    steps, *_ = was_it_faster(lora, [scratch, lora], never, metric)
    assert (steps["value"], steps["transfer"], steps["text"]) == (0.0, None, "never reached")
    assert was_it_faster(lora, [scratch, lora], {"run-scratch": slow}, metric) == []


def test_trust_is_measured_on_the_sealed_part() -> None:
    lora = arm("lora", CANDIDATE, right=0.9)
    assert lora.logits is not None
    answers = {
        one["name"]: one for one in can_it_be_trusted(lora.logits[0], TEST, lora.logits[0], TEST)
    }
    wrong = float((lora.logits[0].argmax(1) != LABELS).mean())
    assert answers["risk when all are decided"]["value"] == pytest.approx(wrong)
    coverage = answers["sets that hold the right class (asked: 90 %)"]
    assert coverage["low"] <= coverage["value"] <= coverage["high"]
    assert coverage["value"] >= 0.88
    surest = answers["risk when the surest 80 % are decided"]
    assert surest["n"] == 0.8 * N
    assert all(one["n"] == N for one in answers.values() if one is not surest)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_labels_saved_are_read_from_the_curves(metric: str) -> None:
    sign = METRICS[metric].sign
    scratch, lora = arm("scratch", WITHOUT_TRANSFER, right=0.8), arm("lora", CANDIDATE, right=0.9)
    budgets = (10, 100, 1000)

    def curve(values: tuple[float, ...]) -> LabelCurve:
        found = np.array(values) if sign > 0 else 1 - np.array(values)
        resampled = np.repeat(found[:, None], 5, axis=1)
        return LabelCurve(np.array(budgets, float), found, resampled, np.ones(3, int))

    curves = {"scratch": curve((0.5, 0.6, 0.7)), "lora": curve((0.6, 0.7, 0.8))}
    (answer,) = how_many_labels(curves, [scratch, lora], "lora", metric)
    assert (answer["value"], answer["bound"]) == (pytest.approx(10.0), "exact")
    assert (answer["low"], answer["high"]) == (pytest.approx(10.0), pytest.approx(10.0))
    assert how_many_labels({}, [scratch, lora], "lora", metric) == []


def test_gains_over_several_controls_are_corrected_together() -> None:
    controls = [arm(f"control{i}", WITHOUT_TRANSFER, right=0.8, seed=i) for i in range(8)]
    lora = arm("lora", CANDIDATE, right=0.84, seed=99)
    answers = did_it_help(lora, [*controls, lora], TEST, "accuracy")
    assert all(one["p_adjusted"] >= one["p"] for one in answers)
    assert all((one["verdict"] == "undecided") == (one["p_adjusted"] >= 0.05) for one in answers)
    with_probe = [*controls, arm("linear-probe", WITHOUT_FINE_TUNING, right=0.8, seed=9)]
    family = did_it_help(lora, with_probe, TEST, "accuracy")
    assert min(one["p_adjusted"] / one["p"] for one in family) >= 1
    smallest = min(family, key=lambda one: one["p"])
    assert smallest["p_adjusted"] == pytest.approx(min(1.0, 9 * smallest["p"]))
