"""Warnings: each fault is named, and its clean twin raises none."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regraft.evidence.arm import ArmEvidence, Part
from regraft.evidence.task_card import task_card
from regraft.evidence.warnings import (
    _agreements_by_chance,
    feature_warnings,
    label_warnings,
    preflight_warnings,
    sealed_warnings,
    training_warnings,
    undone_warnings,
)
from regraft.tasks.task import Task

ARM = ArmEvidence(
    key="lora",
    protocol="lora",
    title="LoRA",
    role="candidate",
    status="done",
    reason="",
    settings={},
    estimated_seconds=1.0,
)


def task_of(labels: list[str], metric: str = "accuracy") -> Task:
    rows = np.random.default_rng(0).normal(size=(len(labels), 3)).astype(np.float32)
    return Task.read((list(rows), labels), metric=metric, seed=0)


@pytest.mark.parametrize(
    ("share", "metric", "warned"),
    [
        (0.99, "accuracy", True),
        (0.9, "weighted_f1", True),
        (0.99, "macro_f1", False),
        (0.7, "accuracy", False),
    ],
)
def test_accuracy_on_one_dominant_class_is_warned_of(
    share: float, metric: str, warned: bool
) -> None:
    n = round(share * 1000)
    card = task_card(task_of(["common"] * n + ["rare"] * (1000 - n), metric))
    assert len(card["warnings"]) == warned
    if warned:
        assert card["warnings"][0].startswith(f"{share * 100:.0f} % of the items are 'common', so ")
        assert card["warnings"][0].endswith("Judge by --metric balanced_accuracy or macro_f1")


def sound_features(n: int = 60, width: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)


def test_dead_features_are_warned_of() -> None:
    assert feature_warnings(sound_features()) == []
    for value in (0.0, 3.0):
        (said,) = feature_warnings(np.full((60, 5), value, np.float32))
        assert said.startswith("every item has the same features: the backbone is dead")
    one_alive = np.zeros((60, 5), np.float32)
    one_alive[0, 2] = 1e-3
    assert feature_warnings(one_alive) == []


def test_features_that_are_probabilities_are_warned_of() -> None:
    exp = np.exp(sound_features())
    (said,) = feature_warnings(exp / exp.sum(axis=1, keepdims=True))
    assert said.startswith("the 5 features of every item sum to 1: they are probabilities")
    unit = exp / np.linalg.norm(exp, axis=1, keepdims=True)  # of length 1 is something else
    assert feature_warnings(unit) == []
    assert feature_warnings(np.full((60, 5), np.nan, np.float32)) == []


def clustered(n: int, shift: int) -> tuple[Task, NDArray[np.float32]]:
    """Return a task of three clear classes, labels moved on by so many rows, and its features."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, n)
    rows = (random.normal(size=(n, 5)) + 4 * np.eye(5)[labels]).astype(np.float32)
    names = [f"class {label}" for label in np.roll(labels, shift)]
    task = Task.read((list(rows), names), metric="accuracy", seed=0)
    return task, np.stack([task.development.read(i) for i in range(len(task.development))])


def test_labels_a_row_off_are_warned_of() -> None:
    task, features = clustered(300, 1)
    (said,) = task_card(task, features=features)["warnings"]
    assert said.startswith("a linear probe on the features finds the labels no better than by ")
    assert "shifted by a row" in said
    assert task_card(task)["warnings"] == []  # without features nothing is known
    task, features = clustered(300, 0)
    assert task_card(task, features=features)["warnings"] == []


def test_labels_in_another_order_of_classes_are_no_worse_labels() -> None:
    task, features = clustered(300, 0)
    moved = replace(task.development, labels=(task.development.labels + 1) % 3)
    assert task_card(replace(task, development=moved), features=features)["warnings"] == []


def test_few_items_or_one_prediction_say_nothing_of_labels() -> None:
    labels = np.arange(40) % 2
    assert label_warnings(np.roll(labels, 1), labels, 2) == []
    assert label_warnings(np.zeros(400, np.int64), np.arange(400) % 2, 2) == []


@given(st.integers(0, 10_000))
def test_agreements_by_chance_have_the_moments_of_all_orders(seed: int) -> None:
    random = np.random.default_rng(seed)
    predicted, labels = random.integers(0, 3, 30), random.integers(0, 3, 30)
    mean, deviation = _agreements_by_chance(predicted, labels, 3)
    orders = random.permuted(np.tile(labels, (1500, 1)), axis=1)
    drawn = (predicted == orders).sum(axis=1)
    assert abs(np.mean(drawn) - mean) < 5 * deviation / math.sqrt(1500) + 1e-9
    assert abs(np.std(drawn) - deviation) < 0.15 * deviation + 1e-9


def history(*losses: float | None) -> dict[str, Any]:
    return {"stages": [{"history": [{"train_loss": one} for one in losses]}]}


def test_a_training_loss_above_that_of_knowing_nothing_is_warned_of() -> None:
    bad = replace(ARM, summaries=(history(2.0, 40.0),))
    (said,) = training_warnings([bad], 10)
    assert said == (
        "LoRA ends with a training loss of 40.000, above 2.303 of equal probabilities: it did not "
        "learn. Lower its learning rate"
    )
    for losses in ((40.0, 2.0), (2.5, 2.4), (40.0,), (None,), ()):
        assert training_warnings([replace(ARM, summaries=(history(*losses),))], 10) == []
    assert training_warnings([ARM, replace(ARM, summaries=({"stages": []},))], 10) == []


def scored(share: float, n: int) -> tuple[NDArray[np.float64], Part]:
    """Return logits (1, n, 2) right on a share of the items, and their labels."""
    labels = np.arange(n) % 2
    said = np.where(np.arange(n) < round(share * n), labels, 1 - labels)
    return np.eye(2)[said][None], Part(labels, None, 0)


@pytest.mark.parametrize(
    ("start", "after", "warned"),
    [("probe", 0.3, True), ("probe", 0.88, False), ("probe", 0.99, False), ("random", 0.3, False)],
)
def test_training_that_undoes_the_probe_it_started_from_is_warned_of(
    start: str, after: float, warned: bool
) -> None:
    before, validation = scored(0.9, 100)
    probe = replace(ARM, key="linear-probe@a/b", protocol="linear-probe", logits=before)
    logits, settings = scored(after, 100)[0], {"head_start": start}
    tuned = replace(ARM, key="lora@a/b", logits=logits, settings=settings)
    said = undone_warnings([probe, tuned], validation)
    assert len(said) == warned
    assert all(
        one.startswith("LoRA starts from the linear probe, right on 90 % of 100 validation items")
        for one in said
    )
    assert undone_warnings([probe, replace(tuned, key="lora@c/d")], validation) == []
    assert undone_warnings([replace(tuned, logits=None), probe], validation) == []


@pytest.mark.parametrize(
    ("here", "there", "warned"),
    [(0.95, 0.1, True), (0.95, 0.75, True), (0.95, 0.92, False), (0.9, 0.99, False)],
)
def test_a_sealed_part_unlike_validation_is_warned_of(
    here: float, there: float, warned: bool
) -> None:
    (logits, validation), (test_logits, test) = scored(here, 100), scored(there, 300)
    winner = replace(ARM, logits=logits, test_logits=test_logits)
    said = sealed_warnings(winner, validation=validation, test=test)
    assert len(said) == warned
    assert all(one.startswith("LoRA is right on 95 % of 100 validation items, but") for one in said)
    assert sealed_warnings(winner, validation=validation, test=None) == []


def test_what_pre_flight_says_of_several_arms_is_said_once() -> None:
    arms = [
        replace(ARM, preflight_warnings=("x", "y")),
        replace(ARM, title="LP-FT", preflight_warnings=("x",)),
    ]
    assert preflight_warnings(arms) == ["LoRA, LP-FT: x", "LoRA: y"]
    assert preflight_warnings([ARM]) == []
