"""Does it hold up, on made-up predictions with known answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from made_evidence import logits_of, made_arm, made_evidence
from regraft.evidence.gathered import HeldUp, Predicted
from regraft.evidence.questions import asking
from regraft.evidence.verdict import CANDIDATE, WITHOUT_FINE_TUNING, WITHOUT_TRANSFER

if TYPE_CHECKING:
    from collections.abc import Mapping

N = 200
LABELS = np.arange(N) % 2
CELLS = [(name, severity) for name in ("fog", "jpeg") for severity in (1, 5)]
ROLES = {"lora": CANDIDATE, "probe": WITHOUT_FINE_TUNING, "scratch": WITHOUT_TRANSFER}


def wrong_on(n: int, offset: int = 0) -> np.ndarray[Any, Any]:
    """Return logits that are wrong on n items, those from an offset on."""
    said = LABELS.copy()
    said[offset : offset + n] = 1 - said[offset : offset + n]
    return logits_of(said)


def held(wrong: Mapping[str, Mapping[tuple[str, int] | str, int]]) -> HeldUp:
    """Return predictions with so many wrong answers, by arm and cell; "" is clean."""
    random = np.random.default_rng(0)
    features = random.normal(size=(N, 3)) + np.array([[0, 9, 0], [4, 9, 0]])[LABELS]

    def arms(cell: tuple[str, int] | str) -> dict[str, Predicted]:
        return {key: Predicted(wrong_on(of[cell]), features) for key, of in wrong.items()}

    # Far away, and of a middling logit: every score tells them apart.
    outside = Predicted(np.zeros((1, 60, 2)), features[:60] - [40, 0, 0])
    return HeldUp(
        rows=np.arange(N),
        reason="",
        clean=arms(""),
        corrupted={cell: arms(cell) for cell in CELLS},
        outliers={"noise": dict.fromkeys(wrong, outside)},
        trained={key: Predicted(np.zeros((1, N, 2)), features) for key in wrong},
        trained_labels=LABELS,
    )


def wrongs(clean: int, *cells: int) -> dict[tuple[str, int] | str, int]:
    return {"": clean, **dict(zip(CELLS, cells, strict=True))}


def question(found: HeldUp, keys: tuple[str, ...] = tuple(ROLES)) -> dict[str, Any] | None:
    arms = [made_arm(key, ROLES[key], wrong_on(10)) for key in keys]
    evidence = replace(made_evidence(arms, LABELS, {}), held_up=found)
    questions = asking.answers(evidence, arms[0], None)
    return next((one for one in questions if one["key"] == "hold_up"), None)


LORA = wrongs(10, 20, 60, 10, 30)
PROBE = wrongs(20, 40, 120, 20, 60)
SCRATCH = wrongs(10, 60, 120, 60, 120)


@pytest.fixture(scope="module")
def asked() -> dict[str, Any]:
    found = question(held({"lora": LORA, "probe": PROBE, "scratch": SCRATCH}))
    assert found is not None
    return found


def rows_of(asked: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in asked["answers"]}


def test_what_corruption_takes_is_the_mean_over_cells(asked: dict[str, Any]) -> None:
    rows = rows_of(asked)
    lost = rows["accuracy of Lora, mean of 2 corruptions × 2 severities"]
    assert (lost["clean"], lost["corrupted"]) == pytest.approx((0.95, 1 - 30 / N))
    assert lost["difference"] == pytest.approx(-20 / N)
    assert lost["low"] < lost["difference"] < lost["high"] < 0
    assert lost["text"] == "from .950 to .850"
    clean, corrupted = (lost["behind"][key] for key in ("clean", "corrupted"))
    assert clean["low"] < clean["value"] == lost["clean"] < clean["high"]
    assert (corrupted["value"], corrupted["n"], corrupted["seeds"]) == (lost["corrupted"], N, 1)
    assert corrupted["no_interval"]


def test_whether_it_holds_up_better_is_the_difference_of_what_was_lost(
    asked: dict[str, Any],
) -> None:
    rows = rows_of(asked)
    probe, scratch = (
        rows["lost less by Lora than by Probe"],
        rows["lost less by Lora than by Scratch"],
    )
    assert probe["difference"] == pytest.approx((60 - 20) / N - (30 - 10) / N)
    assert scratch["difference"] == pytest.approx((90 - 10) / N - (30 - 10) / N)
    assert scratch["text"] == "holds up better"
    assert all(one["p_adjusted"] >= one["p"] for one in (probe, scratch))
    same = question(held({"lora": LORA, "scratch": LORA}), ("lora", "scratch"))
    worse = question(held({"lora": SCRATCH, "scratch": LORA}), ("lora", "scratch"))
    assert same is not None
    assert worse is not None
    assert rows_of(same)["lost less by Lora than by Scratch"]["text"] == "undecided"
    assert rows_of(worse)["lost less by Lora than by Scratch"]["text"] == "holds up worse"


def test_errors_are_measured_against_the_best_control_without_fine_tuning(
    asked: dict[str, Any],
) -> None:
    rows = rows_of(asked)
    mce = rows["mean corruption error against Probe (1: as many errors)"]
    assert mce["value"] == pytest.approx(0.5)
    assert mce["low"] <= 0.5 <= mce["high"]
    relative = rows["relative mean corruption error: errors added by corruption alone"]
    assert relative["value"] == pytest.approx(0.5)


def test_a_reference_without_errors_is_said_to_be_none() -> None:
    perfect = wrongs(0, 0, 0, 0, 0)
    found = question(held({"lora": LORA, "probe": perfect}), ("lora", "probe"))
    assert found is not None
    name = "mean corruption error against Probe (1: as many errors)"
    assert "makes no error under 'fog'" in rows_of(found)[name]["text"]


def test_the_worst_corruption_and_every_cell_are_in_the_record(asked: dict[str, Any]) -> None:
    assert rows_of(asked)["the worst corruption of Lora"]["text"] == "fog, .800"
    figure = asked["figure"]
    assert figure["clean"]["value"] == pytest.approx(0.95)
    fog, jpeg = figure["corruptions"]
    assert [(one["severity"], one["value"]) for one in fog["severities"]] == [(1, 0.9), (5, 0.7)]
    assert [one["value"] for one in jpeg["severities"]] == pytest.approx([0.95, 0.85])
    for one in (figure["clean"], *fog["severities"], *jpeg["severities"]):
        assert (one["n"], one["seeds"]) == (N, 1)
        assert one["low"] < one["value"] < one["high"]


def test_outliers_far_away_are_told_apart_by_every_score(asked: dict[str, Any]) -> None:
    found = {name: one for name, one in rows_of(asked).items() if name.startswith("noise: ")}
    assert len(found) == 5
    for one in found.values():
        assert (one["value"], one["fpr_at_95"]["value"]) == (1.0, 0.0)
        assert (one["n_inside"], one["n_outside"]) == (N, 60)
        assert one["low"] < 1.0
        assert one["fpr_at_95"]["high"] > 0.0


def test_scores_that_an_arm_cannot_have_are_named() -> None:
    found = held({"lora": LORA, "probe": PROBE})
    blind = {key: replace(one, features=None) for key, one in found.trained.items()}
    # Log-probabilities sum to one: their energy is 0 for every item.
    sure = {
        key: replace(one, logits=one.logits - np.logaddexp.reduce(one.logits, -1, keepdims=True))
        for key, one in found.clean.items()
    }
    asked = question(replace(found, trained=blind, clean=sure), ("lora", "probe"))
    assert asked is not None
    names = [one["name"] for one in asked["answers"]]
    assert [one for one in names if one.startswith("noise: ")] == ["noise: softmax (MSP) of Lora"]
    texts = [one["text"] for one in asked["answers"] if one["name"] == "other scores of Lora"]
    assert any("log-probabilities" in one for one in texts)
    assert any("has no features" in one for one in texts)


def test_what_the_budget_did_not_hold_is_said() -> None:
    none = np.empty(0, np.int64)
    asked = question(HeldUp(none, "about 90 s, of which 2 are left", {}, {}, {}, {}, none))
    assert asked is not None
    (row,) = asked["answers"]
    assert row["text"] == "about 90 s, of which 2 are left"
    assert row["n"] == 0


def test_no_other_arm_is_told_of_in_the_place_of_one_that_was_not_predicted() -> None:
    asked = question(held({"probe": PROBE, "scratch": SCRATCH}))
    assert asked is not None
    (row,) = asked["answers"]
    assert row["text"] == "Lora was not shown what is corrupted"
    assert asked["figure"] is None


def test_without_the_key_nothing_is_asked() -> None:
    arms = [made_arm("lora", CANDIDATE, wrong_on(10))]
    keys = [one["key"] for one in asking.answers(made_evidence(arms, LABELS, {}), arms[0], None)]
    assert not {"hold_up", "forgotten"} & set(keys)
