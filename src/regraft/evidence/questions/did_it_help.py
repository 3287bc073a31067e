"""Did it help? The gain over every control without transfer, on the sealed part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regraft.evidence.arm import comparison_json
from regraft.evidence.questions.asked import Answered
from regraft.evidence.verdict import WITHOUT_TRANSFER
from regraft.evidence.words import number
from regraft.measure.comparison import paired_bootstrap
from regraft.measure.metrics import softmax
from regraft.measure.resampling import mean_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.evidence.arm import ArmEvidence, Part
    from regraft.evidence.questions.asked import Answer, Asked
    from regraft.measure.comparison import Comparison


KEY, QUESTION = "help", "Did transfer help?"


def answered(asked: Asked) -> Answered:
    """Answer for the arm that stands for transfer."""
    return Answered(did_it_help(asked.ours, asked.evidence.arms, asked.test, asked.metric))


def did_it_help(
    ours: ArmEvidence, arms: Sequence[ArmEvidence], test: Part, metric: str
) -> list[Answer]:
    """Return the gain over every control without transfer on the sealed part.

    Each has the relative performance gain 100 · s · (m − m_ref) / |m_ref| in percent, s the sign
    of the metric, and whether the interval of the difference says that transfer helped or hurt.
    """
    found = []
    for one in arms:
        if one.role != WITHOUT_TRANSFER or one.test_logits is None or ours.test_logits is None:
            continue
        compared = paired_bootstrap(
            metric,
            softmax(ours.test_logits),
            softmax(one.test_logits),
            test.labels,
            costs=test.costs,
            seed=test.seed,
        )
        theirs = mean_score(metric, softmax(one.test_logits), test.labels, costs=test.costs)
        found.append(_gain(ours, one, compared, theirs))
    return found


def _gain(ours: ArmEvidence, control: ArmEvidence, compared: Comparison, theirs: float) -> Answer:
    gained = compared.difference  # more is better, whatever the metric
    relative = 100 * gained / abs(theirs) if theirs else None
    decided = "helped" if gained > 0 else "negative transfer"
    verdict = "undecided" if compared.tie else decided
    return {
        "name": f"{ours.title} over {control.title}",
        **comparison_json(compared, tie=verdict == "undecided"),
        "relative_gain_percent": relative,
        "verdict": verdict,
        "text": verdict + ("" if relative is None else f", {relative:+.0f} % of {number(theirs)}"),
    }
