"""Ask a finished study every question, in the order of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft.evidence.questions import (
    can_it_be_trusted,
    did_it_help,
    does_it_hold_up,
    for_whom,
    how_far,
    how_many_labels,
    was_it_faster,
    what_moved,
    what_was_forgotten,
    where_does_it_fail,
)
from regraft.evidence.questions.asked import Asked, transferred, validation_values
from regraft.measure.metrics import softmax

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.evidence.arm import ArmEvidence
    from regraft.evidence.gathered import Evidence

_ASKED = (
    did_it_help,
    was_it_faster,
    how_many_labels,
    how_far,
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
    probabilities = {a.key: softmax(a.logits) for a in evidence.arms if a.logits is not None}
    values = validation_values(probabilities, evidence.validation, evidence.task.metric)
    ours = transferred(evidence.arms, winner.key, values)
    if evidence.test is None or ours is None:
        return []
    asked = Asked(evidence, winner, ours, evidence.test, label_curves, values)
    found = [(one.KEY, one.QUESTION, one.answered(asked)) for one in _ASKED]
    return [
        {"key": key, "question": question, "answers": one.answers, "figure": one.figure}
        for key, question, one in found
        if one.answers
    ]
