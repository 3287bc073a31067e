from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from regraft.config.study import TaskSpec
from regraft.errors import ConfigError, DataError
from regraft.tasks.task import Task, read_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

    from conftest import WritePhotos

LABELS = ["a", "b"] * 20


def images(n: int = 40, *, side: int = 8) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8)


def test_float_rows_are_arrays() -> None:
    values = np.random.default_rng(0).normal(size=(40, 5))
    task = Task.read((values, LABELS))
    assert task.kind == "array"
    assert task.development.read(0).dtype == np.float32
    assert task.development.read(0).shape == (5,)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_integer_images_are_images(dtype: type[np.generic]) -> None:
    task = Task.read((images().astype(dtype), LABELS))
    assert task.kind == "image"
    assert task.development.read(0).shape == (8, 8, 3)
    assert task.fingerprint == Task.read((images(), LABELS)).fingerprint


def test_grey_images_without_channels_are_images() -> None:
    task = Task.read((images()[..., 0], LABELS))
    assert task.development.read(0).shape == (8, 8, 3)


def test_float_images_are_scaled_alike_and_not_each_by_itself() -> None:
    shares = images() / 255.0
    shares[:20] /= 100
    task = Task.read((shares, ["dark"] * 20 + ["light"] * 20), kind="image")
    dark = task.classes.index("dark")
    peaks = {int(task.development.labels[i]): task.development.read(i).max() for i in range(32)}
    assert peaks[dark] <= 3
    assert peaks[1 - dark] > 200


def test_pandas_columns_with_gaps_in_their_index_are_read() -> None:
    frame = pd.DataFrame({"x": [f"text {i}" for i in range(80)], "y": ["a", "b", "c", "d"] * 20})
    frame = frame[frame["y"].isin(["a", "c"])]
    task = Task.read((frame["x"], frame["y"]))
    assert task.kind == "text"
    assert task.classes == ("a", "c")


def test_strings_that_end_as_image_files_are_paths(write_photos: WritePhotos) -> None:
    data = write_photos({"a": 20, "b": 20})
    paths = sorted(map(str, data.rglob("*.png")))
    task = Task.read((paths, [Path(path).parent.name for path in paths]))
    assert task.kind == "image"
    assert task.fingerprint == Task.read(data).fingerprint


def test_parts_by_name_are_kept() -> None:
    texts = [f"text {i}" for i in range(60)]
    task = Task.read(
        {
            "test": (texts[:10], LABELS[:10]),
            "train": (texts[10:50], LABELS),
            "val": (texts[50:], LABELS[:10]),
        }
    )
    assert len(task.sealed) == 10
    assert len(task.folds[0].validation) == 10
    assert task.name == "arrays"
    assert repr(task) == "Task('arrays': text, 2 classes, 50 to train and validate, 10 sealed)"


def test_a_label_budget_is_nested_and_folded_anew() -> None:
    task = Task.read((np.random.default_rng(0).normal(size=(400, 3)), LABELS * 10))
    small, large = (task.with_label_budget(n, seed=3) for n in (5, 40))
    assert set(small.development.ids) <= set(large.development.ids) <= set(task.development.ids)
    assert np.bincount(small.development.labels).tolist() == [5, 5]
    assert len(small.folds) == 5
    assert len(large.folds) == 1
    assert len(large.folds[0].validation) == 16
    assert small.sealed is task.sealed
    assert task.with_label_budget(1, seed=3).folds == ()
    assert large.without_validation().folds == ()


def test_a_label_budget_of_nothing_is_refused() -> None:
    task = Task.read((np.random.default_rng(0).normal(size=(40, 3)), LABELS))
    with pytest.raises(ConfigError, match=r"label_budget: 0 labels per class; give 1 or more"):
        task.with_label_budget(0, seed=0)


def test_weights_and_costs_follow_the_names_of_the_classes() -> None:
    texts = [f"text {i}" for i in range(60)]
    labels = ["a"] * 40 + ["b"] * 20
    task = Task.read((texts, labels), class_weights="balanced", costs={"b": {"a": 5.0}})
    assert task.class_weights is not None
    assert task.class_weights.tolist() == pytest.approx([48 / 64, 48 / 32])
    assert task.costs is not None
    assert task.costs.tolist() == [[0.0, 1.0], [5.0, 0.0]]
    named = Task.read((texts, labels), class_weights={"b": 3})
    assert named.class_weights is not None
    assert named.class_weights.tolist() == [1.0, 3.0]
    assert len({task.fingerprint, named.fingerprint, Task.read((texts, labels)).fingerprint}) == 3


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"class_weights": {"c": 2.0}}, r"class_weights: unknown class 'c'"),
        ({"class_weights": {"a": 0.0}}, r"class_weights: a has weight 0.0; give a positive number"),
        ({"class_weights": "equal"}, r"class_weights: unknown 'equal'. Give balanced"),
        ({"costs": {"a": {"bb": 1.0}}}, r"costs: unknown class 'bb'"),
        ({"costs": {"a": {"b": -1.0}}}, r"costs: a → b costs -1.0; give a number ≥ 0"),
        ({"metric": "macro_f2"}, r"Did you mean 'macro_f1'"),
        ({"splits": "groupd"}, r"splits: unknown 'groupd'. Did you mean 'grouped'"),
        ({"kind": "images"}, r"kind: unknown 'images'. Did you mean 'image'"),
        ({"test": 1.0}, r"test: 1.0 is no share"),
        ({"validation": 0}, r"validation: 0 is no share"),
    ],
)
def test_wrong_settings_are_refused(wish: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Task.read(([f"text {i}" for i in range(40)], LABELS), **wish)


def test_a_task_spec_reads_the_same_task(write_photos: WritePhotos) -> None:
    data = write_photos({"a": 20, "b": 20})
    spec = TaskSpec(data=str(data), class_weights="balanced", metric="accuracy", target=0.9)
    task = read_task(spec, seed=7)
    assert task.target == "0.9"
    direct = Task.read(data, metric="accuracy", class_weights="balanced", seed=7)
    assert task.fingerprint == direct.fingerprint


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((["x", "y"], ["a"]), r"item: 2 inputs and 1 labels. Give one label per input"),
        (([], []), r"item: there are no items"),
        ((["x", 3], ["a", "b"]), r"item 1: not a text but int"),
        ((["x", "y"], ["a", None]), r"item 1: its label is missing"),
        ((["x", "y"], ["a", float("nan")]), r"item 1: its label is missing"),
        ((["x", "y"], [["a"], ["b"]]), r"item 0: it has several labels"),
        ((np.array([[1.0, 2.0], [3.0, np.nan]]), ["a", "b"]), r"item 1: it holds NaN or infinity"),
        (([[1.0], [1.0, 2.0]], ["a", "b"]), r"item 1: shape \(2,\), others have \(1,\)"),
        (([{"x": 1}, {"x": 2}], ["a", "b"]), r"item 0: not an array of numbers but dict"),
        (("text", ["a"]), r"item inputs: a str is no list and no array"),
        ({"test": (["x"], ["a"])}, r"data: parts are named train, validation and test, not test"),
        ({"train": (["x"], ["a"]), "rest": (["y"], ["a"])}, r"not train, rest"),
        ({"train": ["x"]}, r"train: give a part as \(inputs, labels\)"),
        ([["x"], ["a"]], r"data: data of type list. Give a path"),
    ],
)
def test_what_is_no_labelled_data_is_refused(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Task.read(data)


def test_nan_in_float_images_is_refused() -> None:
    values = images() / 255.0
    values[11, 2, 2] = np.nan
    with pytest.raises(DataError, match=r"item 11: it holds NaN or infinity"):
        Task.read((values, LABELS), kind="image")


def test_parts_of_different_kinds_are_refused() -> None:
    data = {"train": (images(), LABELS), "test": (["x", "y"], ["a", "b"])}
    with pytest.raises(DataError, match=r"not an array|images|no such file"):
        Task.read(data)


def test_a_folder_that_datasets_saved_is_read(
    tmp_path: Path, photo_of: Callable[..., Image.Image]
) -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["ants", "bees"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    parts = {
        part: datasets.Dataset.from_dict(
            {"text": [f"{part} {i}" for i in range(n)], "label": [i % 2 for i in range(n)]},
            features=features,
        )
        for part, n in (("train", 40), ("validation", 8), ("test", 10))
    }
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "texts"))
    task = Task.read(tmp_path / "texts")
    assert task.classes == ("ants", "bees")
    assert (len(task.development), len(task.folds[0].validation), len(task.sealed)) == (48, 8, 10)

    pictures = [photo_of(i, side=16) for i in range(20)]
    saved = datasets.Dataset.from_dict(
        {"picture": pictures, "label": [i % 2 for i in range(20)]},
        features=datasets.Features({"picture": datasets.Image(), "label": names}),
    )
    saved.save_to_disk(str(tmp_path / "pictures"))
    task = Task.read(tmp_path / "pictures")
    assert task.kind == "image"
    assert task.classes == ("ants", "bees")
    assert task.development.inputs[0].ndim == 1
    row = int(task.development.ids[0].removeprefix("row "))
    assert np.array_equal(task.development.read(0), np.asarray(pictures[row]))
