from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regraft.evidence.task_card import detectable, effective_rank, label_noise, task_card
from regraft.evidence.words import number
from regraft.measure.intervals import wilson
from regraft.measure.power import minimum_detectable_difference
from regraft.report.facts import detectable_fact
from regraft.tasks.task import Task

NAMES = np.array(["ant", "bee", "cat"])


def points(n: int, *, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features (n, 5) of three classes far apart, and labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return (random.normal(size=(n, 5)) + 8 * np.eye(5)[labels]).astype(np.float32), labels


def task_of(x: NDArray[np.float32], labels: NDArray[np.int64]) -> Task:
    return Task.read((list(x), NAMES[labels].tolist()), metric="accuracy", seed=0)


def features_of(task: Task) -> NDArray[np.float32]:
    return np.stack([task.development.read(i) for i in range(len(task.development))])


def test_the_card_counts_the_parts() -> None:
    task = task_of(*points(150))
    card = task_card(task)
    assert card["n_train"] + card["n_validation"] + card["n_test"] == 150
    assert card["n_test"] == len(task.sealed)
    assert [one["label"] for one in card["classes"]] == ["ant", "bee", "cat"]
    assert sum(one["train"] for one in card["classes"]) == card["n_train"]
    assert sum(one["validation"] for one in card["classes"]) == card["n_validation"]
    assert card["imbalance"] == pytest.approx(1.0)
    assert card["folds"] == 1
    assert card["label_noise"] is None
    assert card["diversity"] is None
    json.dumps(card, allow_nan=False)


def test_the_card_says_what_the_sealed_part_can_show() -> None:
    found = task_card(task_of(*points(600)), n_seeds=2)["detectable"]
    assert (found["n_test"], found["n_seeds"]) == (len(task_of(*points(600)).sealed), 2)
    known = {
        rate: minimum_detectable_difference(found["n_test"], rate, 2) for rate in (0.6, 0.75, 0.9)
    }
    assert {one["accuracy"]: one["difference"] for one in found["differences"]} == known
    fact = detectable_fact(found)
    assert fact is not None
    assert fact.value.startswith(f"{number(known[0.6])} at .600")
    assert fact.note.endswith("2 seeds")
    assert detectable(0, n_seeds=1) is None
    assert detectable_fact(None) is None


def test_under_cross_validation_every_item_trains_and_validates() -> None:
    task = task_of(*points(150)).with_label_budget(5, seed=0)
    card = task_card(task)
    assert card["folds"] == len(task.folds) > 1
    assert card["n_train"] == card["n_validation"] == 15


def test_an_imbalance_is_the_ratio_of_the_largest_to_the_smallest_class() -> None:
    x, labels = points(180)
    keep = np.flatnonzero((labels != 2) | (np.arange(180) < 60))
    card = task_card(task_of(x[keep], labels[keep]))
    counts = [one["train"] + one["validation"] for one in card["classes"]]
    assert card["imbalance"] == pytest.approx(max(counts) / min(counts))
    assert card["imbalance"] > 2


def test_clean_labels_show_no_noise() -> None:
    task = task_of(*points(150))
    noise = label_noise(task, features_of(task))
    assert noise is not None
    assert noise["value"] == 0.0
    assert noise["items"] == []
    n = len(task.development)
    assert (noise["low"], noise["high"]) == (0.0, wilson(0, n).high)
    assert noise["warning"] == "few labels are suspect, or few are not: the interval is rough"


def test_wrong_labels_are_found_and_named() -> None:
    x, labels = points(300)
    wrong = np.arange(0, 300, 14)
    given_labels = labels.copy()
    given_labels[wrong] = (labels[wrong] + 1) % 3
    task = task_of(x, given_labels)
    card = task_card(task, features=features_of(task))
    noise = card["label_noise"]
    assert noise["warning"] is None
    assert noise["low"] < len(wrong) / 300 < noise["high"]
    assert noise["n"] == len(task.development)
    assert len(noise["items"]) == 10
    planted = {f"item {i}" for i in wrong}
    for one in noise["items"]:
        assert one["item"] in planted
        row = int(one["item"].removeprefix("item "))
        assert one["suggested"] == NAMES[labels[row]]
        assert one["label"] == NAMES[given_labels[row]]
        assert 0.5 < one["confidence"] <= 1.0
    json.dumps(card, allow_nan=False)


def test_noise_needs_two_items_of_each_class() -> None:
    task = task_of(*points(150)).with_label_budget(1, seed=0)
    assert label_noise(task, features_of(task)) is None


def test_the_effective_rank_of_equal_directions_is_their_number() -> None:
    basis = np.concatenate([np.eye(6), -np.eye(6)])
    assert effective_rank(basis) == pytest.approx(6.0)
    assert effective_rank(np.concatenate([basis, np.zeros((12, 9))], axis=1)) == pytest.approx(6.0)


def test_the_effective_rank_equals_its_formula() -> None:
    x = np.random.default_rng(0).normal(size=(40, 7)) * np.arange(1, 8)
    shares = np.linalg.eigvalsh(np.cov(x.T))
    shares = shares / shares.sum()
    assert effective_rank(x) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_features_without_variance_have_rank_one() -> None:
    assert effective_rank(np.ones((5, 3))) == 1.0
    assert effective_rank(np.array([[0.0, 0.0], [1.0, 2.0]])) == pytest.approx(1.0)


@given(st.integers(0, 300), st.integers(2, 12), st.integers(2, 12))
def test_the_effective_rank_lies_between_one_and_the_width_and_ignores_rotation(
    seed: int, n: int, width: int
) -> None:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, width))
    rotation, _ = np.linalg.qr(random.normal(size=(width, width)))
    rank = effective_rank(x)
    assert 1.0 <= rank <= min(n, width) + 1e-9
    assert effective_rank(4 * x @ rotation + 1) == pytest.approx(rank, rel=1e-6)
