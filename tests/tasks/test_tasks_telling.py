from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.tasks.telling import coded_values, out_of_fold_guesses, telling_columns


def planted(purity: float, n_classes: int, *, n: int = 400, seed: int = 0) -> Any:
    """Return labels, folds, and a column that names the class on a share of the rows."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, n_classes, n)
    other = (labels + random.integers(1, n_classes, n)) % n_classes
    column = [f"v{one}" for one in np.where(random.random(n) < purity, labels, other)]
    return labels, random.integers(0, 5, n), column


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("purity", [0.8, 0.9, 0.95, 1.0])
def test_a_column_that_names_the_class_is_found(purity: float, n_classes: int) -> None:
    labels, folds, column = planted(purity, n_classes)
    (one,) = telling_columns([("source", column)], labels, folds, least=0.5)
    assert one.name == "source"
    assert one.accuracy >= 0.75 or one.label is not None
    assert one.strength == pytest.approx(1 - (1 - one.accuracy) / (1 - one.commonest))


@pytest.mark.parametrize("seed", range(10))
def test_honest_columns_and_names_of_rows_are_passed_over(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.sort(random.integers(0, 3, 300))
    columns: list[tuple[str, list[object]]] = [
        ("row", list(range(300))),
        ("id", [f"{one:x}" for one in random.integers(1 << 60, size=300)]),
        ("path", [f"class {label}/{i}.jpg" for i, label in enumerate(labels)]),
        ("noise", random.normal(size=300).tolist()),
        ("place", random.integers(0, 20, 300).tolist()),
        ("hint", np.where(random.random(300) < 0.3, labels, random.integers(0, 3, 300)).tolist()),
        ("empty", [None] * 300),
        ("constant", ["x"] * 300),
    ]
    assert telling_columns(columns, labels, random.integers(0, 5, 300), least=0.5) == []


def test_a_number_and_a_gap_can_tell_the_class() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 300)
    score = (labels + random.uniform(0, 0.9, 300)).tolist()
    gap = [None if label else str(random.integers(5)) for label in labels]
    found = telling_columns(
        [("score", score), ("gap", gap)], labels, random.integers(0, 5, 300), least=0.5
    )
    assert [one.name for one in found] == ["score", "gap"]


def test_a_column_that_tells_one_class_of_many_names_it() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 6, 600)
    column = np.where(labels == 4, "yes", "no").tolist()
    (one,) = telling_columns([("flag", column)], labels, random.integers(0, 5, 600), least=0.5)
    assert (one.label, one.strength, one.accuracy) == (4, 1.0, 1.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.6, 0.8, 0.95]))
def test_neither_order_nor_names_of_values_matter(seed: int, purity: float) -> None:
    labels, folds, column = planted(purity, 3, n=120, seed=seed)
    order = np.random.default_rng(seed).permutation(120)
    renamed = [f"{ord(column[i][1]) * 7 % 11} renamed" for i in order]
    plain = telling_columns([("x", column)], labels, folds, least=0.0)
    moved = telling_columns([("x", renamed)], labels[order], folds[order], least=0.0)
    assert [one.label for one in plain] == [one.label for one in moved]
    # Equal counts of two classes go to the first, whatever the value is called.
    assert [one.strength for one in plain] == pytest.approx([one.strength for one in moved])


def test_guesses_count_the_rows_of_other_folds_alone() -> None:
    codes, classes = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 0, 0, 1])
    folds = np.array([0, 0, 1, 1, 2, 2])
    same, every = out_of_fold_guesses(codes, classes, folds)
    for row in range(6):
        rest = folds != folds[row]
        assert (
            same[row].tolist()
            == np.bincount(classes[rest & (codes == codes[row])], minlength=2).tolist()
        )
        assert every[row].tolist() == np.bincount(classes[rest], minlength=2).tolist()


@pytest.mark.parametrize(
    ("values", "distinct"),
    [
        (["a", "b"] * 50, 2),
        ([1, 2.0, "1", None] * 25, 3),
        (list(range(100)), None),
        ([f"row {i}" for i in range(100)], None),
        ([i / 7 for i in range(100)], 32),
    ],
)
def test_values_are_coded_unless_they_name_rows(values: list[object], distinct: int | None) -> None:
    codes = coded_values(values)
    assert (None if codes is None else len(np.unique(codes))) == distinct
