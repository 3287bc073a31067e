"""How many labels did it save? Read from the label-efficiency curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.questions.asked import Answered
from regraft.evidence.verdict import WITHOUT_TRANSFER
from regraft.evidence.words import number
from regraft.measure.label_savings import data_saving_ratio
from regraft.measure.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.evidence.arm import ArmEvidence
    from regraft.evidence.questions.asked import Answer, Asked


KEY, QUESTION = "labels", "How many labels did it save?"

_SAVED_BY = "isotonic curves read in log n, on the sealed part"


def answered(asked: Asked) -> Answered:
    """Answer for the arm that stands for transfer."""
    arms, ours = asked.evidence.arms, asked.ours.key
    return Answered(how_many_labels(asked.label_curves, arms, ours, asked.metric))


def how_many_labels(
    curves: Mapping[str, Any] | None, arms: Sequence[ArmEvidence], ours: str, metric: str
) -> list[Answer]:
    """Return how many times fewer labels transfer needs, from the label-efficiency curves."""
    by_key = {one["protocol"]: one for one in (curves or {}).get("arms", ())}
    without = [one for one in arms if one.role == WITHOUT_TRANSFER and one.key in by_key]
    found = []
    for one in without if ours in by_key else ():
        slow, fast = (_points(by_key[key]) for key in (one.key, ours))
        saved = data_saving_ratio(*slow, *fast, higher_is_better=METRICS[metric].higher_is_better)
        found.append(
            {
                "name": f"labels for what {one.title} reaches ({number(saved.target)})",
                "value": saved.ratio,
                "bound": saved.bound,
                "n": len(slow[0]),
                "seeds": [_fewest_seeds(by_key[key]) for key in (ours, one.key)],
                "estimator": _SAVED_BY,
                "no_interval": "read between few budgets, n of them",
                "text": saved.text(),
            }
        )
    return found


def _fewest_seeds(curve: Mapping[str, Any]) -> int:
    return min(int(one.get("seeds", 0)) for one in curve["points"])


def _points(curve: Mapping[str, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    points = [one for one in curve["points"] if one["value"] is not None]
    return (
        np.array([one["n_labels"] for one in points], np.float64),
        np.array([one["value"] for one in points], np.float64),
    )
