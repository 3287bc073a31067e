"""Columns that results are reported by: carried to the items, seen by no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from regraft.config.loading import validate_data
from regraft.config.study import StudySpec
from regraft.errors import DataError
from regraft.tasks.task import Task, read_task

if TYPE_CHECKING:
    from pathlib import Path

N = 60


def rows(**more: Any) -> dict[str, list[Any]]:
    return {
        "text": [f"some words, number {i}" for i in range(N)],
        "stars": ["good" if i % 2 else "bad" for i in range(N)],
        "sex": ["f" if i % 3 else "m" for i in range(N)],
        "site": [None if i % 10 == 0 else float(i % 4) for i in range(N)],
        **more,
    }


def written(folder: Path, form: str = "csv", **more: Any) -> Path:
    frame = pd.DataFrame(rows(**more))
    path = folder / f"reviews.{form}"
    if form == "csv":
        frame.to_csv(path, index=False)
    elif form == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    return path


def of_items(items: Any, column: str) -> dict[str, str]:
    return dict(zip(items.inputs, items.subgroups[column].tolist(), strict=True))


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_columns_of_a_table_stay_with_their_items(tmp_path: Path, form: str) -> None:
    path = written(tmp_path, form)
    task = Task.read(path, label="stars", report_by=["sex", "site"])
    assert task.asked["report_by"] == ["sex", "site"]
    found = of_items(task.development, "sex") | of_items(task.sealed.inputs, "sex")
    assert found == dict(zip(rows()["text"], rows()["sex"], strict=True))
    site = of_items(task.development, "site") | of_items(task.sealed.inputs, "site")
    assert site["some words, number 0"] == "(missing)"
    assert site["some words, number 3"] in ("3", "3.0")
    opened = task.sealed.open()
    assert of_items(opened, "sex") == of_items(task.sealed.inputs, "sex")
    half = task.development.subset(np.arange(5))
    assert half.subgroups["sex"].tolist() == task.development.subgroups["sex"][:5].tolist()
    assert task.with_label_budget(5, seed=0).development.subgroups["site"].shape == (10,)


def test_no_model_sees_them_and_no_run_changes_with_them(tmp_path: Path) -> None:
    path = written(tmp_path)
    plain = Task.read(path, label="stars")
    one = Task.read(path, label="stars", report_by=["sex"])
    assert plain.development.subgroups == {}
    assert one.development.inputs == plain.development.inputs
    assert one.fingerprint == plain.fingerprint == plain.identity
    assert one.sealed.digest == plain.sealed.digest
    assert one.identity != plain.identity
    other = written(tmp_path, sex=["f" if i % 2 else "m" for i in range(N)])
    assert Task.read(other, label="stars", report_by=["sex"]).identity != one.identity


def test_labels_and_inputs_are_guessed_among_the_other_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame(rows())[["sex", "text", "stars"]]
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match="no column of labels"):
        Task.read(tmp_path / "a.csv")
    assert Task.read(tmp_path / "a.csv", report_by=["sex"]).classes == ("bad", "good")


def test_they_come_beside_arrays_and_parts() -> None:
    given = rows()
    pair = (given["text"], given["stars"], {"sex": np.array(given["sex"])})
    task = Task.read(pair)
    assert task.asked["report_by"] == ["sex"]
    found = of_items(task.development, "sex") | of_items(task.sealed.inputs, "sex")
    assert found == dict(zip(given["text"], given["sex"], strict=True))
    arrays = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
    parts = {"train": (arrays[:40], given["stars"][:40], {"sex": given["sex"][:40]})}
    parts["test"] = (arrays[40:], given["stars"][40:], {"sex": given["sex"][40:]})
    task = Task.read(parts, report_by=["sex"])
    assert sorted(task.sealed.inputs.subgroups["sex"]) == sorted(given["sex"][40:])
    del parts["test"]
    parts["test"] = (arrays[40:], given["stars"][40:])  # type: ignore[assignment]
    with pytest.raises(DataError, match=r"by no column here and by sex in other parts"):
        Task.read(parts)


def test_items_left_out_take_their_groups_with_them(tmp_path: Path) -> None:
    texts = rows()["text"]
    texts[7] = " "
    path = written(tmp_path, text=texts)
    task = Task.read(path, label="stars", report_by=["sex"], allow_bad=True)
    assert len(task.development) + len(task.sealed) == N - 1
    assert (
        of_items(task.development, "sex").items()
        <= dict(zip(texts, rows()["sex"], strict=True)).items()
    )


def test_a_study_file_names_them(tmp_path: Path) -> None:
    task = {"data": str(written(tmp_path)), "label": "stars", "report_by": ["sex"]}
    spec = validate_data(StudySpec, {"task": task, "backbones": ["zoo:glyphs"]}, where="x")
    assert read_task(spec.task, seed=0).asked["report_by"] == ["sex"]


@pytest.mark.parametrize(
    ("asked", "more", "message"),
    [
        (["sax"], {}, r"no column 'sax' for the groups to report by\. Did you mean 'sex'\?"),
        (["stars"], {}, r"column 'stars' holds the labels or the inputs"),
        (["text"], {}, r"no column of texts|column 'text' holds the labels or the inputs"),
        (["sex", "sex"], {}, r"report_by: column 'sex' is named twice"),
        (["sex"], {"sex": ["f"] * N}, r"column 'sex' has 1 value; to report by it, it needs 2 to"),
        (["sex"], {"sex": [*map(str, range(N))]}, r"has 60 values; .* put its values into classes"),
    ],
)
def test_what_cannot_be_reported_by_is_refused(
    tmp_path: Path, asked: list[str], more: dict[str, Any], message: str
) -> None:
    path = written(tmp_path, **more)
    with pytest.raises(DataError, match=message):
        Task.read(path, input="text", label="stars", report_by=asked)


def test_what_does_not_fit_beside_arrays_is_refused() -> None:
    given = rows()
    with pytest.raises(DataError, match=r"item sex: 59 values for 60 items"):
        Task.read((given["text"], given["stars"], {"sex": given["sex"][1:]}))
    with pytest.raises(DataError, match=r"no column 'age' to report by\..*\(inputs, labels, "):
        Task.read((given["text"], given["stars"], {"sex": given["sex"]}), report_by=["age"])
