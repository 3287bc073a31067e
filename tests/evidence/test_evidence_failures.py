"""Where it fails: planted slices, confusions and wrong labels are found, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from regraft.evidence.arm import ArmEvidence, Part
from regraft.evidence.questions.can_it_be_trusted import (
    calibration_errors,
    mended,
    risk_curve,
    scalings,
)
from regraft.evidence.questions.did_it_help import did_it_help
from regraft.evidence.questions.where_does_it_fail import (
    confused_pairs,
    failing_slices,
    hardest,
    suspect_items,
)
from regraft.evidence.slicing import (
    candidate_slices,
    class_mix,
    nearest_rows,
    quarters,
    slice_title,
    telling_words,
)
from regraft.evidence.verdict import CANDIDATE, WITHOUT_TRANSFER
from regraft.evidence.words import number
from regraft.measure.calibration import ece
from regraft.measure.calibration_errors import ace, classwise_ece, ece_debiased, ece_equal_mass
from regraft.measure.metrics import softmax
from regraft.tasks.items import Items, items_from

CLASSES = ("ant", "bee", "cat")
N, BLOBS = 400, 8


def made_items(inputs: list[Any], kind: str, labels: np.ndarray[Any, Any]) -> Items:
    return replace(items_from(inputs, kind), labels=labels)


def blobs(seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], Items]:
    """Return features in 8 far blobs, the blob of each, and items of three classes."""
    random = np.random.default_rng(seed)
    blob = np.arange(N) % BLOBS
    features = 20 * np.eye(BLOBS)[blob] + random.normal(size=(N, BLOBS))
    labels = random.integers(0, 3, N)
    return features, blob, made_items(list(features.astype(np.float32)), "array", labels)


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_slice_is_found_and_named_by_what_is_in_it(seed: int) -> None:
    features, blob, items = blobs(seed)
    random = np.random.default_rng(100 + seed)
    wrong = random.random(N) < np.where(blob == 3, 0.5, 0.05)
    (row,), drawn = failing_slices(wrong, items, features, labels=items.labels, classes=CLASSES)
    worst = drawn["slices"][0]
    assert worst["is_worse"]
    assert worst["n"] == (blob == 3).sum()
    assert worst["errors"] == wrong[blob == 3].sum()
    assert worst["rest"] == pytest.approx(wrong[blob != 3].mean())
    assert {int(one["item"].split()[1]) % BLOBS for one in worst["nearest"]} == {3}
    assert row["name"].startswith("errors in cluster")
    assert row["low"] <= row["value"] <= row["high"]
    assert drawn["n_tested"] == len(drawn["slices"]) == BLOBS
    assert not any(one["is_worse"] for one in drawn["slices"][1:])


def test_errors_at_chance_give_no_slice_nineteen_times_in_twenty() -> None:
    features, _, items = blobs(0)
    random = np.random.default_rng(1)
    alarms = 0
    for _ in range(60):
        wrong = random.random(N) < 0.1
        (row,), drawn = failing_slices(wrong, items, features, labels=items.labels, classes=CLASSES)
        alarms += any(one["is_worse"] for one in drawn["slices"])
        if not drawn["slices"][0]["is_worse"]:
            assert row["text"].startswith("none of 8 found")
    assert alarms <= 7  # 3 are expected, 8 or more have a chance of 2 %


def test_groups_and_lengths_are_slices_too() -> None:
    texts = [" ".join(["word"] * (1 + i % 40)) for i in range(N)]
    items = replace(made_items(texts, "text", np.zeros(N, np.int64)), groups=np.arange(N) % 5 == 0)
    masks = candidate_slices(items, None)
    assert sorted(masks) == [
        "group = False",
        "group = True",
        "words = 1 to 10",
        "words = 11 to 20",
        "words = 21 to 30",
        "words = 31 to 40",
    ]
    assert np.array_equal(masks["group = True"], np.arange(N) % 5 == 0)
    wrong = (np.arange(N) % 40 >= 30) & (np.arange(N) % 2 == 0)
    rows, _ = failing_slices(wrong, items, None, labels=items.labels, classes=CLASSES)
    assert [one["name"] for one in rows] == ["errors in words = 31 to 40"]


def test_dark_images_are_a_slice() -> None:
    random = np.random.default_rng(0)
    images = [
        random.integers(0, 40 if i % 4 == 0 else 255, (8, 8, 3)).astype(np.uint8) for i in range(80)
    ]
    masks = candidate_slices(made_items(images, "image", np.zeros(80, np.int64)), None)
    darkest = min(
        (one for one in masks if "brightness" in one), key=lambda one: int(one.split()[2])
    )
    assert np.array_equal(masks[darkest], np.arange(80) % 4 == 0)


def test_quarters_share_equal_values() -> None:
    assert quarters([5, 5, 5, 5]) == ["5 to 5"] * 4
    assert quarters([]) == []
    assert quarters([1, 1, 1, 1000]) == ["1 to 1"] * 3 + ["1,000 to 1,000"]


def test_telling_words_are_those_of_the_texts_inside() -> None:
    texts = ["the goal and the match"] * 20 + ["the stock and the market"] * 60
    inside = np.arange(80) < 20
    assert set(telling_words(texts, inside)) == {"goal", "match"}
    mix = class_mix(np.array([1, 1, 1, 0]), CLASSES)
    assert [(one["label"], one["share"]) for one in mix] == [("bee", 0.75), ("ant", 0.25)]
    assert slice_title("cluster 1", mix, ["goal"]) == "cluster 1: “goal”; bee (75 %), ant (25 %)"
    assert slice_title("words = 1 to 2", mix, []) == "words = 1 to 2"


def test_the_nearest_items_are_those_at_the_mean() -> None:
    features = np.array([[0.0], [1.0], [5.0], [9.0], [10.0]])
    assert nearest_rows(features, np.ones(5, bool), 1) == [2]
    assert nearest_rows(None, np.array([0, 1, 1, 0, 1], bool), 2) == [1, 2]


def test_the_most_frequent_confusion_comes_first_with_its_share() -> None:
    labels = np.repeat([0, 1, 2], 40)
    predicted = labels.copy()
    predicted[:12], predicted[40:43] = 2, 0
    first, second = confused_pairs(predicted, labels, CLASSES)
    assert (first["name"], first["count"], first["n"]) == ("ant taken for cat", 12, 40)
    assert (second["name"], second["count"]) == ("bee taken for ant", 3)
    assert first["low"] < 0.3 < first["high"]


def test_planted_label_errors_and_the_hardest_items_are_named() -> None:
    random = np.random.default_rng(3)
    truth = random.integers(0, 3, N)
    given = truth.copy()
    given[:20] = (given[:20] + 1) % 3
    p = softmax(5 * np.eye(3)[truth] + random.normal(size=(N, 3)))
    items = made_items([np.zeros(2, np.float32)] * N, "array", given)
    found = suspect_items(p, items, CLASSES)
    rows = {int(one["item"].split()[1]) for one in found}
    assert len(rows & set(range(20))) >= 18
    assert len(rows - set(range(20))) <= 2
    named = {int(one.split()[1]) for one in hardest(p, items)["items"]}
    assert named <= set(range(20))


def test_scaling_mends_what_is_too_sure_and_shows_it_on_other_items() -> None:
    random = np.random.default_rng(5)
    honest = random.normal(size=(2000, 3)) * 2
    p = softmax(honest)
    labels = (random.random((2000, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(max=2)
    logits = 4 * honest + np.array([2.0, 0.0, 0.0])  # four times too sure, and in favour of ants
    fit, shown = slice(0, 1000), slice(1000, 2000)
    scaled = scalings(logits[fit], labels[fit], logits[shown])
    plain, one, vector = mended(scaled, labels[shown])
    assert plain["value"] == pytest.approx(ece(softmax(logits[shown]), labels[shown]))
    assert plain["value"] > 3 * one["value"]
    assert vector["log_loss"] < one["log_loss"] < plain["log_loss"]
    for each in (plain, one, vector):
        told = each["behind"]["log_loss"]
        assert told["low"] < told["value"] == each["log_loss"] < told["high"]
    assert (plain["decisions_changed"], one["decisions_changed"]) == (0, 0)
    assert vector["decisions_changed"] > 0
    assert "parameters" not in (vector["warning"] or "")
    *_, few = mended(scalings(logits[:50], labels[:50], logits[shown]), labels[shown])
    assert few["warning"].startswith("6 parameters fitted on 50 items")
    assert "T = 4." in one["estimator"] or "T = 3." in one["estimator"]


def test_every_calibration_error_is_told_before_and_after_scaling() -> None:
    random = np.random.default_rng(6)
    honest = random.normal(size=(1200, 3)) * 2
    labels = (random.random((1200, 1)) > softmax(honest).cumsum(axis=1)).sum(axis=1).clip(max=2)
    logits, fit, shown = 3 * honest, slice(0, 400), slice(400, 1200)
    scaled = scalings(logits[fit], labels[fit], logits[shown])
    rows = {one["measure"]: one for one in calibration_errors(scaled, labels[shown])}
    known = {
        "ece_equal_mass": ece_equal_mass,
        "ece_debiased": ece_debiased,
        "ace": ace,
        "classwise_ece": classwise_ece,
    }
    assert list(rows) == list(known)
    for measure, row in rows.items():
        points = [row, *row["after"].values()]
        assert list(row["after"]) == ["temperature", "vector_scaling"]
        for one, point in zip(scaled, points, strict=True):
            value = known[measure](softmax(one.logits), labels[shown])
            assert point["value"] == pytest.approx(value)
            assert (point["n"], point["seeds"], point["low"]) == (800, 1, None)
            assert point["no_interval"].startswith("no interval of this estimate")
        assert points[0]["value"] > 2 * points[1]["value"]
        assert "15 " in points[1]["estimator"]
        assert "T = " in points[1]["estimator"]
        assert row["beside"].startswith(f"{number(points[1]['value'])} after one temperature, ")


def test_a_calibration_error_that_so_few_items_do_not_define_is_null() -> None:
    logits = np.random.default_rng(0).normal(size=(12, 2))
    scaled = scalings(logits, np.arange(12) % 2, logits)
    rows = {one["measure"]: one for one in calibration_errors(scaled, np.arange(12) % 2)}
    one = rows["ece_debiased"]  # every item has its bin
    assert (one["value"], one["text"]) == (None, "not defined")
    assert one["no_interval"] == "it does not exist on so few items"
    assert "4 parameters fitted on 12 items" in one["remark"]
    assert rows["ace"]["value"] is not None


def test_the_risk_curve_ends_at_the_error_and_never_beats_the_best_order() -> None:
    random = np.random.default_rng(7)
    logits = random.normal(size=(333, 3))
    labels = np.where(random.random(333) < 0.7, logits.argmax(1), random.integers(0, 3, 333))
    curve = risk_curve(logits, labels)
    points = curve["points"]
    assert points[-1]["value"] == pytest.approx((logits.argmax(1) != labels).mean())
    assert (points[-1]["coverage"], points[-1]["n"]) == (1.0, 333)
    assert len(points) == 50
    for one in points:
        assert one["best"] <= one["value"] + 1e-12
        assert one["low"] <= one["value"] <= one["high"]
        surest = np.argsort(-softmax(logits).max(1), kind="stable")[: one["n"]]
        assert one["value"] == pytest.approx((logits.argmax(1) != labels)[surest].mean())


@pytest.mark.parametrize(("right", "shown"), [(0.01, False), (0.6, True)])
def test_a_gain_over_next_to_nothing_is_not_told_in_percent(right: float, *, shown: bool) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, N)

    def arm(key: str, role: str, share: float) -> ArmEvidence:
        said = np.where(random.random(N) < share, labels, (labels + 1) % 3)
        logits = 4.0 * np.eye(3)[said][None]
        return ArmEvidence(
            key=key, protocol=key, title=key, role=role, status="done", reason="", settings={},
            estimated_seconds=1.0, test_logits=logits,
        )  # fmt: skip

    ours, control = arm("lora", CANDIDATE, 0.5), arm("scratch", WITHOUT_TRANSFER, right)
    (answer,) = did_it_help(ours, [control], Part(labels, None, 0), "accuracy")
    assert (answer["relative_gain_percent"] is not None) is shown
    assert ("%" in answer["text"]) is shown
    assert bool(answer["remark"]) is not shown
    assert "-" not in answer["text"]
    if shown:
        assert ", −" in answer["text"]
