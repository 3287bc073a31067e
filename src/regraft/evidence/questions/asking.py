"""Ask a finished study every question, in the order of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft.evidence.questions import (
    can_it_be_trusted,
    did_it_help,
    does_it_hold_up,
    for_whom,
    how_many_labels,
    was_it_faster,
    what_moved,
    what_was_forgotten,
    where_does_it_fail,
)
from regraft.evidence.questions.asked import Asked, transferred
from regraft.measure.metrics import METRICS, softmax
from regraft.measure.resampling import mean_score

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.evidence.arm import ArmEvidence
    from regraft.evidence.gathered import Evidence

_ASKED = (
    did_it_help,
    was_it_faster,
    how_many_labels,
    what_moved,
    what_was_forgotten,
    can_it_be_trusted,
    does_it_hold_up,
    for_whom,
    where_does_it_fail,
)


def answers(
    evidence: Evidence, winner: ArmEvidence, label_curves: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Return the questions that a study can answer: key, question, answers, figure."""
    values = _on_validation(evidence)
    ours = transferred(evidence.arms, winner.key, values)
    if evidence.test is None or ours is None:
        return []
    asked = Asked(evidence, winner, ours, evidence.test, label_curves)
    found = [(one.KEY, one.QUESTION, one.answered(asked)) for one in _ASKED]
    return [
        {"key": key, "question": question, "answers": one.answers, "figure": one.figure}
        for key, question, one in found
        if one.answers
    ]


def _on_validation(evidence: Evidence) -> dict[str, float]:
    """Return the metric of each arm on validation, more is better."""
    metric, validation = evidence.task.metric, evidence.validation
    return {
        arm.key: METRICS[metric].sign
        * mean_score(metric, softmax(arm.logits), validation.labels, costs=validation.costs)
        for arm in evidence.arms
        if arm.logits is not None
    }
