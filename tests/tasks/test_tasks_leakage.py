from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from regraft.tasks.task import Task

if TYPE_CHECKING:
    from pathlib import Path


def reviews(n: int = 120, *, seed: int = 0) -> pd.DataFrame:
    """Return texts, labels, and columns that say nothing of the labels."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "text": [f"film {random.integers(1 << 40)} of seed {seed}" for _ in range(n)],
            "label": np.where(random.random(n) < 0.5, "good", "bad"),
            "length": random.integers(10, 500, n),
            "country": random.choice(["de", "fr", "it"], n),
        }
    )


def said_of(frame: pd.DataFrame, folder: Path, **options: Any) -> tuple[str, ...]:
    frame.to_csv(folder / "reviews.csv", index=False)
    task = Task.read(folder / "reviews.csv", input="text", label="label", **options)
    return task.intake.leakage


def test_a_clean_table_raises_no_alarm(tmp_path: Path) -> None:
    assert said_of(reviews(), tmp_path) == ()


def test_a_column_that_tells_the_label_is_named_with_what_to_do(tmp_path: Path) -> None:
    frame = reviews()
    frame["stars"] = np.where(frame["label"] == "good", 5, 1)
    (said,) = said_of(frame, tmp_path)
    assert said.startswith(
        "column 'stars' alone tells the class: right on 100.0% of held-out items"
    )
    assert "make sure that the inputs do not hold what it says" in said


def test_the_order_of_the_rows_changes_nothing(tmp_path: Path) -> None:
    frame = reviews(300)
    noisy = np.random.default_rng(1).random(300) < 0.1
    frame["stars"] = np.where((frame["label"] == "good") != noisy, 5, 1)
    frame["split"] = np.repeat(["train", "test"], 150)
    said = said_of(frame, tmp_path)
    assert len(said) == 1
    for seed in range(3):
        assert said_of(frame.sample(frac=1, random_state=seed), tmp_path) == said
    assert said_of(frame.sort_values("label"), tmp_path) == said


def test_labels_of_test_items_do_not_reach_the_search_for_columns(tmp_path: Path) -> None:
    """A column that tells test labels alone stays unnamed, and one wrong there alone is named."""
    frame = reviews(240)
    is_test = np.arange(240) >= 120
    frame["split"] = np.where(is_test, "test", "train")
    told = (frame["label"] == "good").astype(int)
    random = np.random.default_rng(0).integers(0, 2, 240)
    assert said_of(frame.assign(told=np.where(is_test, told, random)), tmp_path) == ()
    (said,) = said_of(frame.assign(told=np.where(is_test, random, told)), tmp_path)
    assert "right on 100.0% of held-out items" in said


@pytest.mark.parametrize("name", ["patient_id", "speaker", "AuthorName", "SITE"])
def test_a_column_named_as_a_group_that_straddles_parts_is_named(tmp_path: Path, name: str) -> None:
    frame = reviews(100)
    frame[name] = [f"p{i % 50}" for i in range(100)]
    frame["split"] = np.repeat(["train", "test"], [80, 20])
    (said,) = said_of(frame, tmp_path)
    assert said == (
        f"column {name!r} looks like a group: 20 values (p30, p31, p32 and 17 more) in training "
        "and in test, on 20 of 20 test items. Name it with --group to keep its values together"
    )
    frame[name] = [f"p{i}" for i in range(100)]
    assert said_of(frame, tmp_path) == ()


def test_one_shared_group_is_reported_with_its_items(tmp_path: Path) -> None:
    frame = reviews(100)
    frame["code"] = [f"p{i}" for i in range(100)]
    frame.loc[0, "code"] = "p99"
    frame["split"] = np.repeat(["train", "test"], [80, 20])
    (said,) = said_of(frame, tmp_path, group="code")
    assert said.startswith(
        "1 group is in several parts: p99; 1 of 20 test items are of such groups"
    )
    assert said_of(frame, tmp_path, group="code", splits="grouped") == ()


def test_parts_with_other_columns_are_read(tmp_path: Path) -> None:
    train, test = reviews(80, seed=1), reviews(40, seed=2)
    train["stars"] = np.where(train["label"] == "good", "5", "")
    train.to_csv(tmp_path / "train.csv", index=False)
    test.assign(place="x").to_csv(tmp_path / "test.csv", index=False)
    (said,) = Task.read(tmp_path, input="text", label="label").intake.leakage
    assert "'stars'" in said


def test_a_row_left_out_takes_its_values_along(tmp_path: Path) -> None:
    frame = reviews(200)
    frame["stars"] = np.where(frame["label"] == "good", 5, 1)
    frame.loc[:1, "text"] = ""
    (said,) = said_of(frame, tmp_path)
    assert "right on 100.0%" in said


def test_a_feature_that_is_the_label_is_named_and_a_strong_one_is_not() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 300)
    rows = random.normal(size=(300, 6)).astype(np.float32)
    rows[:, 2] = labels + 0.5 * random.normal(size=300)
    names = [str(one) for one in labels]
    assert Task.read((list(rows), names), kind="array").intake.leakage == ()
    rows[:, 4] = labels
    (said,) = Task.read((list(rows), names), kind="array").intake.leakage
    assert said.startswith("feature 4 alone tells the class")
    assert said.endswith("Leave it out unless it is known when a class has to be predicted")


def test_contradicting_copies_are_named(tmp_path: Path) -> None:
    frame = reviews(80)
    frame.loc[3, ["text", "label"]] = "A film.", "good"
    frame.loc[7, ["text", "label"]] = "a FILM", "bad"
    frame["split"] = ["train"] * 60 + ["test"] * 20
    assert said_of(frame, tmp_path) == (
        "1 duplicated item has different labels: reviews.csv:5 is good, reviews.csv:9 is bad. "
        "Correct or remove it",
    )
