from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from regraft.tasks.inputs import read_inputs
from regraft.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORDS = ("good", "bad", "fine", "dull", "bright", "slow", "long", "short", "film", "plot", "end")


def sentences(n: int, *, seed: int = 0) -> list[str]:
    draw = np.random.default_rng(seed)
    return [f"{' '.join(draw.choice(WORDS, 6))} {i}" for i in range(n)]


def table(n: int, *, seed: int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": np.arange(n),
            "label": np.where(np.arange(n) % 2, "dull", "bright"),
            "text": sentences(n, seed=seed),
            "author": [f"author {i % 13}" for i in range(n)],
            "day": pd.date_range("2024-01-01", periods=n).astype(str),
        }
    )


WRITERS: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    ".parquet": lambda frame, path: frame.to_parquet(path),
    ".jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_form_of_table_gives_the_same_task(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"reviews{suffix}"
    WRITERS[suffix](table(60), path)
    task = Task.read(path)
    assert task.kind == "text"
    assert task.classes == ("bright", "dull")
    assert len(task.development) == 48
    assert task.fingerprint == Task.read(table_as_pair(60)).fingerprint
    assert task.intake.notes == (
        "inputs guessed to be in column 'text'",
        "labels guessed to be in column 'label'",
    )
    assert task.intake.words == (7, 7, 7)


def table_as_pair(n: int) -> tuple[list[str], list[str]]:
    frame = table(n)
    return frame["text"].tolist(), frame["label"].tolist()


@pytest.mark.parametrize("middle", ["dev", "val", "valid", "validation"])
def test_a_folder_of_train_dev_and_test_files_is_kept_as_given(tmp_path: Path, middle: str) -> None:
    for name, n, seed in (("train", 40, 1), (middle, 10, 2), ("test", 20, 3)):
        table(n, seed=seed).to_csv(tmp_path / f"{name}.csv", index=False)
    task = Task.read(tmp_path)
    (fold,) = task.folds
    assert (len(fold.train), len(fold.validation), len(task.sealed)) == (40, 10, 20)
    assert task.development.ids[0] == "train.csv:2"


def test_columns_that_train_has_are_those_of_the_other_files(tmp_path: Path) -> None:
    table(40, seed=1).rename(columns={"label": "verdict"}).to_csv(tmp_path / "train.csv")
    other = table(20, seed=2).rename(columns={"label": "verdict"})
    other.assign(label="no class").to_csv(tmp_path / "test.csv")
    task = Task.read(tmp_path, label="verdict")
    assert set(task.sealed.open().labels.tolist()) == {0, 1}


def test_a_column_says_which_part_a_row_belongs_to(tmp_path: Path) -> None:
    frame = table(60)
    frame["split"] = ["train"] * 40 + ["dev"] * 8 + ["test"] * 12
    frame.to_csv(tmp_path / "all.csv", index=False)
    task = Task.read(tmp_path / "all.csv")
    assert (len(task.folds[0].validation), len(task.sealed)) == (8, 12)
    assert "parts taken from column 'split'" in task.intake.notes


def test_named_columns_are_taken(tmp_path: Path) -> None:
    frame = table(40).rename(columns={"text": "a", "label": "b"}).assign(c="longer than any " * 9)
    frame.to_csv(tmp_path / "odd.csv", index=False)
    task = Task.read(tmp_path / "odd.csv", input="a", label="b")
    assert set(task.development.inputs) <= set(table(40)["text"])
    assert task.intake.notes == ()


def test_unusual_names_are_guessed_by_length_and_repetition(tmp_path: Path) -> None:
    frame = table(40)[["id", "label", "text"]].rename(columns={"text": "was", "label": "wie"})
    frame.to_csv(tmp_path / "odd.csv", index=False)
    task = Task.read(tmp_path / "odd.csv")
    assert task.classes == ("bright", "dull")
    assert "inputs guessed to be in column 'was'" in task.intake.notes


def test_groups_never_straddle_parts(tmp_path: Path) -> None:
    table(200).to_csv(tmp_path / "reviews.csv", index=False)
    task = Task.read(tmp_path / "reviews.csv", group="author")
    (fold,) = task.folds
    groups, sealed = task.development.groups, task.sealed.inputs.groups
    assert groups is not None
    assert sealed is not None
    assert not set(groups) & set(sealed)
    assert not set(groups[fold.train]) & set(groups[fold.validation])
    assert task.intake.split == "20% are tested, by group; 20% of the rest validate, by group"


@pytest.mark.parametrize("column", ["day", "id"])
def test_by_time_the_newest_are_tested_and_the_next_validate(tmp_path: Path, column: str) -> None:
    table(100).sample(frac=1, random_state=0).to_csv(tmp_path / "reviews.csv", index=False)
    task = Task.read(tmp_path / "reviews.csv", time=column)
    (fold,) = task.folds
    times, sealed = task.development.times, task.sealed.inputs.times
    assert times is not None
    assert sealed is not None
    assert len(sealed) == 20
    assert times[fold.train].max() < times[fold.validation].min() <= times.max() < sealed.min()


def test_a_stratified_split_asked_for_leaves_time_out(tmp_path: Path) -> None:
    table(100).to_csv(tmp_path / "reviews.csv", index=False)
    task = Task.read(tmp_path / "reviews.csv", time="day", splits="stratified")
    assert np.bincount(task.sealed.open().labels).tolist() == [10, 10]
    assert task.intake.split.endswith("stratified")


def test_dates_of_parquet_are_times(tmp_path: Path) -> None:
    frame = table(50).assign(when=pd.date_range("2020-01-01", periods=50))
    frame.to_parquet(tmp_path / "reviews.parquet")
    task = Task.read(tmp_path / "reviews.parquet", time="when")
    sealed = task.sealed.inputs.times
    assert sealed is not None
    assert sealed.max() == pd.Timestamp("2020-02-19", tz="UTC").timestamp()


def test_groups_shared_by_given_parts_are_reported(tmp_path: Path) -> None:
    table(40, seed=1).to_csv(tmp_path / "train.csv", index=False)
    table(20, seed=2).to_csv(tmp_path / "test.csv", index=False)
    leakage = Task.read(tmp_path, group="author").intake.leakage
    assert leakage == (
        "13 groups are in several parts: author 0, author 1, author 10 and 10 more; 20 of 20 test "
        "items are of such groups. Divide anew (splits: grouped, in a study file), or mend the "
        "parts",
    )


def test_texts_that_repeat_a_test_text_do_not_train(tmp_path: Path) -> None:
    train, test = table(60, seed=1), table(20, seed=2)
    train.loc[4, "text"] = "  " + test.loc[9, "text"].upper() + "!"
    train.to_csv(tmp_path / "train.csv", index=False)
    test.to_csv(tmp_path / "test.csv", index=False)
    task = Task.read(tmp_path)
    assert "train.csv:6" not in task.development.ids
    assert task.intake.duplicates_removed == 1


def test_validation_goes_before_training_and_test_before_both(tmp_path: Path) -> None:
    parts = {"train": table(40, seed=1), "dev": table(20, seed=2), "test": table(20, seed=3)}
    parts["train"].loc[0, "text"] = parts["dev"].loc[0, "text"]
    parts["dev"].loc[1, "text"] = parts["test"].loc[1, "text"]
    for name, frame in parts.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    task = Task.read(tmp_path)
    assert not {"train.csv:2", "dev.csv:3"} & set(task.development.ids)
    assert len(task.development) == 58


def test_image_paths_are_relative_to_the_table(
    tmp_path: Path, photo_of: Callable[..., Image.Image]
) -> None:
    (tmp_path / "pictures").mkdir()
    for i in range(20):
        photo_of(i, side=16).save(tmp_path / "pictures" / f"{i}.png")
    frame = pd.DataFrame(
        {"file": [f"pictures/{i}.png" for i in range(20)], "label": ["a", "b"] * 10}
    )
    frame.to_csv(tmp_path / "index.csv", index=False)
    by_file, by_folder = Task.read(tmp_path / "index.csv"), Task.read(tmp_path)
    assert by_file.kind == "image"
    assert by_file.fingerprint == by_folder.fingerprint
    assert by_file.development.read(0).shape == (16, 16, 3)


def test_semicolons_quotes_line_breaks_and_marks_are_read(tmp_path: Path) -> None:
    rows = [f'"a; ""quoted"" text{chr(10)}of two lines {i}";{i % 2}' for i in range(20)]
    path = tmp_path / "excel.csv"
    path.write_text("\ufefftext;label\n\n" + "\n".join(rows) + "\n", encoding="utf-8")
    task = Task.read(path)
    assert task.classes == ("0", "1")
    assert task.development.inputs[0].startswith('a; "quoted" text\nof two lines')
    assert {int(name.partition(":")[2]) % 2 for name in task.development.ids} == {1}


def test_a_tsv_with_marks_that_quote_nothing_is_read(tmp_path: Path) -> None:
    rows = [f'"good, he said {i}\t{i % 2}' for i in range(20)]
    (tmp_path / "sst.tsv").write_text("sentence\tlabel\n" + "\n".join(rows), encoding="utf-8")
    task = Task.read(tmp_path / "sst.tsv")
    assert len(task.development) + len(task.sealed) == 20
    assert task.development.inputs[0].startswith('"good, he said')


def test_whole_floats_name_the_same_class_as_integers(tmp_path: Path) -> None:
    frame = table(40).assign(label=np.arange(40) % 2)
    frame.astype({"label": float}).to_parquet(tmp_path / "train.parquet")
    table(10, seed=5).assign(label=np.arange(10) % 2).to_csv(tmp_path / "test.csv", index=False)
    assert Task.read(tmp_path).classes == ("0", "1")


def test_leading_zeros_of_labels_stay(tmp_path: Path) -> None:
    table(40).assign(label=["007", "7"] * 20).to_csv(tmp_path / "codes.csv", index=False)
    assert set(Task.read(tmp_path / "codes.csv").classes) == {"007", "7"}


def test_half_a_surrogate_pair_is_skipped(tmp_path: Path) -> None:
    records = [{"text": text, "label": i % 2} for i, text in enumerate(sentences(200))]
    records[3]["text"] = "\ud83d"
    lines = "\n".join(json.dumps(record) for record in records)
    (tmp_path / "chats.jsonl").write_text(lines, encoding="utf-8")
    (skipped,) = Task.read(tmp_path / "chats.jsonl").intake.skipped
    assert skipped.startswith("chats.jsonl:4: the text holds half a surrogate pair")


def test_texts_to_predict_need_no_labels(tmp_path: Path) -> None:
    table(5).drop(columns="label").to_csv(tmp_path / "new.csv", index=False)
    items = read_inputs(tmp_path / "new.csv", kind="text", column=None, allow_bad=False)
    assert items.inputs == table(5)["text"].tolist()
    named = read_inputs(tmp_path / "new.csv", kind="text", column="author", allow_bad=False)
    assert named.inputs[0] == "author 0"
