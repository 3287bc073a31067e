"""How many labels did it save? Read from the label-efficiency curves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from regraft.evidence.label_spread import FEWEST_BUDGETS, fitted, label_curves, saved
from regraft.evidence.questions.asked import Answered
from regraft.evidence.verdict import WITHOUT_TRANSFER
from regraft.evidence.words import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.evidence.arm import ArmEvidence
    from regraft.evidence.label_spread import FittedCurve, LabelCurve
    from regraft.evidence.questions.asked import Answer, Asked


KEY, QUESTION = "labels", "How many labels did it save?"

_SAVED_BY = (
    "isotonic curves read in log n, on the sealed part; interval over resamples of items and of "
    "the {draws} draws of labels"
)
_PREDICTED_BY = (
    "power law err(n) = a + b n^−c by least squares; interval over resamples of items and of the "
    "{draws} draws of labels"
)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_FAR = 10.0
"""A law is not believed further than so many times beyond what it was fitted to."""


def answered(asked: Asked) -> Answered:
    """Answer for the arm that stands for transfer."""
    evidence, metric = asked.evidence, asked.metric
    if not evidence.budget_points:
        return Answered([])
    curves = label_curves(evidence.budget_points, asked.test, metric)
    found = how_many_labels(curves, evidence.arms, asked.ours.key, metric)
    wanted = _target(evidence.task.target, metric)
    if found and wanted is not None:
        titles = {one.key: one.title for one in evidence.arms}
        found += [
            labels_predicted(curve, titles[key], wanted, metric) for key, curve in curves.items()
        ]
    return Answered(found)


def how_many_labels(
    curves: Mapping[str, LabelCurve], arms: Sequence[ArmEvidence], ours: str, metric: str
) -> list[Answer]:
    """Return how many times fewer labels transfer needs than each control without it."""
    without = [one for one in arms if one.role == WITHOUT_TRANSFER and one.key in curves]
    found = []
    for one in without if ours in curves else ():
        slow, fast = curves[one.key], curves[ours]
        saving, ends = saved(slow, fast, metric)
        low, high = (None, None) if saving.ratio is None or ends is None else ends
        found.append(
            {
                "name": f"labels for what {one.title} reaches ({number(saving.target)})",
                "value": saving.ratio,
                "bound": saving.bound,
                "low": low,
                "high": high if high is not None and np.isfinite(high) else None,
                "n": len(slow.n_labels),
                "n_is": "label budgets",
                "seeds": [int(fast.draws.min()), int(slow.draws.min())],
                **_unended(low, high),
                "estimator": _SAVED_BY.format(draws=_draws(slow, fast)),
                "text": saving.text() + _open(low, high),
            }
        )
    return found


def labels_predicted(curve: LabelCurve, title: str, target: float, metric: str) -> Answer:
    """Return how many labels the power law of an arm says a target needs, or why it does not."""
    answer: Answer = {
        "name": f"labels that {title} needs for {number(target)}",
        "value": None,
        "range": None,
        "no_interval": "the text tells it, in whole labels",
        "n": len(curve.n_labels),
        "n_is": "label budgets",
        "seeds": int(curve.draws.min()),
        "estimator": _PREDICTED_BY.format(draws=_draws(curve)),
    }
    law = fitted(curve, metric)
    if law is None:
        k = len(curve.n_labels)
        text = f"no prediction: a power law needs {FEWEST_BUDGETS} label budgets, there are {k}"
        return {**answer, "text": text}
    value, low, high = law.labels_for(target)
    if not np.isfinite(value):
        best = law.value_at(1e12)[0]
        return {**answer, "text": f"never: the law levels off at {number(best)}"}
    answer |= {"value": value, "range": [low, high if np.isfinite(high) else None]}
    return {**answer, "text": _predicted(law, value, low, high)}


def _predicted(law: FittedCurve, value: float, low: float, high: float) -> str:
    """Return the number in words, with its interval: these are whole labels."""
    most = _FAR * law.n_largest
    if value > most:
        return (
            f"more than {most:,.0f}: the law is not believed beyond {_FAR:g} times the "
            f"{law.n_largest:,.0f} labels that were tried"
        )
    top = f"{high:,.0f}" if high <= most else f"more than {most:,.0f}"
    text = f"about {max(value, 1):,.0f} [{low:,.0f}, {top}]"
    cares = [law.law.note] if law.law.note else []
    if value > law.n_largest:
        cares.append(f"beyond the {law.n_largest:,.0f} labels that were tried")
    return "; ".join([text, *cares])


def _target(text: str | None, metric: str) -> float | None:
    """Return what the criterion asks of the study's metric, if it does."""
    given = re.fullmatch(rf"\s*({_NUMBER})\s*", text or "", re.IGNORECASE)
    bound = rf"(?:^|\band)\s*{re.escape(metric)}\s*[<>]=?\s*({_NUMBER})"
    found = given or re.search(bound, text or "", re.IGNORECASE)
    return float(found[1]) if found else None


def _open(low: float | None, high: float | None) -> str:
    """Return an interval that has no upper end; the report writes the others."""
    if low is None or high is None or np.isfinite(high):
        return ""
    return f" [{number(low)}, ∞)"


def _unended(low: float | None, high: float | None) -> dict[str, str]:
    """Return why the report finds no interval with two ends."""
    if low is None or high is None:
        return {"no_interval": "the curves do not tell the ratio"}
    return {} if np.isfinite(high) else {"no_interval": f"above {number(low)} it has no end"}


def _draws(*curves: LabelCurve) -> str:
    counts = sorted({int(n) for one in curves for n in one.draws})
    return " to ".join(str(n) for n in sorted({counts[0], counts[-1]}))
