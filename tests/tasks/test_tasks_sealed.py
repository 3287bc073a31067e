from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.tasks.task import Task

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import WritePhotos

NAMES = ["a", "b", "c"]


def visible(task: Task) -> dict[str, Any]:
    """Return all that a study can see of a task before the sealed part is opened."""
    return {
        "fingerprint": task.fingerprint,
        "sealed": task.sealed.digest,
        "sealed inputs": list(task.sealed.inputs.digests),
        "sealed labels": task.sealed.inputs.labels.tolist(),
        "classes": task.classes,
        "units": task.units.tolist(),
        "repeats": task.repeats.tolist(),
        "development": (task.development.ids, task.development.labels.tolist()),
        "folds": [(f.train.tolist(), f.validation.tolist()) for f in task.folds],
        "intake": task.intake.to_json(),
        "weights": None if task.class_weights is None else task.class_weights.tolist(),
        "budget": task.with_label_budget(4, seed=0).fingerprint,
    }


def data_with(test_labels: list[str]) -> dict[str, tuple[list[str], list[str]]]:
    train = [f"text {i}" for i in range(36)]
    test = [f"other {i}" for i in range(len(test_labels) - 2)]
    repeated = [train[4], train[4].upper()]
    return {"train": (train, NAMES * 12), "test": (test + repeated, test_labels)}


def test_the_sealed_inputs_carry_no_labels() -> None:
    task = Task.read(data_with(NAMES * 4))
    assert set(task.sealed.inputs.labels.tolist()) == {-1}
    assert not [f for f in dataclasses.fields(task.intake) if "label" in f.name]


def test_opening_gives_each_input_its_own_label() -> None:
    data = data_with(NAMES * 4)
    task = Task.read(data)
    opened = task.sealed.open()
    expected = dict(zip(*data["test"], strict=True))
    found = {
        text: task.classes[label] for text, label in zip(opened.inputs, opened.labels, strict=True)
    }
    assert found == expected


@given(st.permutations(NAMES * 4))
def test_permuting_the_test_labels_changes_nothing_before_the_opening(labels: list[str]) -> None:
    one = Task.read(data_with(NAMES * 4), class_weights="balanced")
    other = Task.read(data_with(labels), class_weights="balanced")
    assert visible(one) == visible(other)


@given(st.lists(st.sampled_from(NAMES), min_size=9, max_size=9))
def test_any_test_labels_of_the_same_names_change_nothing(labels: list[str]) -> None:
    one = Task.read(data_with(NAMES * 4))
    other = Task.read(data_with([*NAMES, *labels]))
    assert visible(one) == visible(other)


def test_moving_test_images_between_class_folders_changes_nothing(
    write_photos: WritePhotos, tmp_path: Path
) -> None:
    data = write_photos({"train/a": 12, "train/b": 12, "test/a": 6, "test/b": 6})
    before = Task.read(data)
    (data / "test" / "a").rename(tmp_path / "aside")
    (data / "test" / "b").rename(data / "test" / "a")
    (tmp_path / "aside").rename(data / "test" / "b")
    (data / "test" / "a" / "2.png").rename(data / "test" / "b" / "moved.png")
    after = Task.read(data)
    assert visible(before) == visible(after)
    truth, moved = before.sealed.open().labels, after.sealed.open().labels
    assert (truth != moved).sum() == 11
    assert np.bincount(moved).tolist() == [5, 7]


@pytest.mark.parametrize("n", [1, 5])
def test_the_digest_of_the_sealed_part_follows_its_inputs(n: int) -> None:
    data = data_with(NAMES * 4)
    texts, labels = data["test"]
    changed = {**data, "test": ([*texts[:n], "new", *texts[n + 1 :]], labels)}
    assert Task.read(data).sealed.digest != Task.read(changed).sealed.digest
    assert Task.read(data).fingerprint == Task.read(changed).fingerprint
