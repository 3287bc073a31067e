"""How much sooner did it learn? Steps and seconds to the best from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.questions.asked import Answered
from regraft.evidence.verdict import WITHOUT_TRANSFER
from regraft.evidence.words import number
from regraft.measure.convergence import area_under_curve, speed_up
from regraft.measure.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.evidence.arm import ArmEvidence
    from regraft.evidence.questions.asked import Answer, Asked


KEY, QUESTION = "speed", "How much sooner did it learn?"

_ONE_RUN = "read from the chosen run of each, n is its evaluations"


def answered(asked: Asked) -> Answered:
    """Answer for the arm that stands for transfer."""
    evidence = asked.evidence
    return Answered(was_it_faster(asked.ours, evidence.arms, evidence.histories, asked.metric))


def was_it_faster(
    ours: ArmEvidence,
    arms: Sequence[ArmEvidence],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    metric: str,
) -> list[Answer]:
    """Return how many times sooner the best from scratch was reached, in steps and in seconds."""
    fast = _curve(ours, histories, metric)
    found: list[Answer] = []
    for one in arms:
        slow = _curve(one, histories, metric)
        if one.role != WITHOUT_TRANSFER or not slow or not fast:
            continue
        upward = METRICS[metric].higher_is_better
        for unit, place in (("steps", 0), ("seconds", 1)):
            compared = speed_up(
                [point[place] for point in slow],
                [point[2] for point in slow],
                [point[place] for point in fast],
                [point[2] for point in fast],
                higher_is_better=upward,
            )
            ratio = compared.ratio if np.isfinite(compared.ratio) else None
            found.append(
                {
                    "name": f"{unit} to the best of {one.title} ({number(compared.target)})",
                    "value": ratio,
                    "scratch": compared.scratch,
                    "transfer": compared.transfer if np.isfinite(compared.transfer) else None,
                    "n": len(fast),
                    "seeds": 1,
                    "estimator": "first evaluation on validation at least as good",
                    "no_interval": _ONE_RUN,
                    "text": compared.text(),
                }
            )
    if len(fast) > 1:
        area = area_under_curve([point[0] for point in fast], [point[2] for point in fast])
        if np.isfinite(area):
            found.append(
                {
                    "name": "area under the normalised curve",
                    "value": area,
                    "n": len(fast),
                    "seeds": 1,
                    "estimator": "trapezoids over steps; 1 is at its best from the start",
                    "no_interval": _ONE_RUN,
                    "text": number(area),
                }
            )
    return found


def _curve(
    arm: ArmEvidence, histories: Mapping[str, Sequence[Mapping[str, Any]]], metric: str
) -> list[tuple[float, float, float]]:
    """Return (step, seconds, metric) of the evaluations of an arm's chosen run."""
    points = histories.get(arm.runs[0], ()) if arm.runs else ()
    return [
        (float(one["step"]), float(one["seconds"]), float(one["metrics"][metric]))
        for one in points
        if one["metrics"].get(metric) is not None
    ]
