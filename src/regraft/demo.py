"""The demo: from rendered glyphs to real handwritten digits, without any download."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regraft.config.loading import validate_data
from regraft.config.study import StudySpec
from regraft.study import Study

if TYPE_CHECKING:
    from pathlib import Path

LABELS_PER_CLASS = 10
LABEL_BUDGETS = (1, 2, 5, 10, 20)


def demo_study(*, home: Path | None = None, budget: str = "170s") -> Study:
    """Return the demo's study: the ladder at 10 labels per class, the curve at 1 to 20."""
    data = {
        "task": {"data": "zoo:digits", "metric": "accuracy"},
        "backbones": ["zoo:glyphs"],
        "budget": budget,
        "label_budget": LABELS_PER_CLASS,
        "label_budgets": list(LABEL_BUDGETS),
        "name": "demo",
    }
    return Study.from_spec(validate_data(StudySpec, data, where="demo"), home=home)
