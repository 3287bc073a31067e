"""The demo: from rendered glyphs to real handwritten digits, without any download."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_digits

from regraft.study import Study, StudyOptions
from regraft.tasks.task import Task

if TYPE_CHECKING:
    from pathlib import Path

_TEST_ITEMS = 797
_SEED = 20
LABELS_PER_CLASS = 10
LABEL_BUDGETS = (1, 2, 5, 10, 20)


def demo_task() -> Task:
    """Return scikit-learn's 1,797 handwritten digits: 1,000 to label from, 797 sealed."""
    digits = load_digits()
    images = np.round(digits.images * (255.0 / 16.0)).astype(np.uint8)
    order = np.random.default_rng(_SEED).permutation(len(images))
    test, pool = order[:_TEST_ITEMS], order[_TEST_ITEMS:]

    def part(rows: np.ndarray[Any, Any]) -> tuple[list[Any], list[str]]:
        return [images[i] for i in rows], [str(digits.target[i]) for i in rows]

    return Task.read({"train": part(pool), "test": part(test)}, metric="accuracy")


def demo_study(*, home: Path | None = None, budget: str = "4m") -> Study:
    """Return the demo's study: the ladder at 10 labels per class, the curve at 1 to 20."""
    options = StudyOptions(
        label_budget=LABELS_PER_CLASS, label_budgets=LABEL_BUDGETS, name="demo"
    )
    return Study(demo_task(), backbones=["zoo:glyphs"], budget=budget, options=options, home=home)
