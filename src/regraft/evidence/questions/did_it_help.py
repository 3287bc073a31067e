"""Did it help? The gain over every control without transfer, on the sealed part."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from regraft.evidence.arm import comparison_json
from regraft.evidence.questions.asked import Answered
from regraft.evidence.verdict import WITHOUT_TRANSFER
from regraft.evidence.words import number, signed_percent
from regraft.measure.comparison import holm, paired_bootstrap
from regraft.measure.intervals import interval
from regraft.measure.metrics import softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.evidence.arm import ArmEvidence, Part
    from regraft.evidence.questions.asked import Answer, Asked
    from regraft.measure.comparison import Comparison
    from regraft.measure.intervals import Interval


KEY, QUESTION = "help", "Did transfer help?"

_LEAST_BASE = 0.05
"""A control below this has next to nothing, of which no gain is a sensible share."""
_NEARLY_NOTHING = 0.005


def answered(asked: Asked) -> Answered:
    """Answer for the arm that stands for transfer."""
    return Answered(did_it_help(asked.ours, asked.evidence.arms, asked.test, asked.metric))


def did_it_help(
    ours: ArmEvidence, arms: Sequence[ArmEvidence], test: Part, metric: str
) -> list[Answer]:
    """Return the gain over every control without transfer on the sealed part.

    Each has the relative performance gain 100 · s · (m − m_ref) / |m_ref| in percent, s the sign
    of the metric, where the control has something to be a share of (at least 0.05, and an interval
    that stays off 0), and whether p, Holm-corrected over the controls, says that transfer helped or
    hurt.
    """
    found: list[tuple[ArmEvidence, Comparison, Interval]] = []
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
        theirs = interval(
            metric, softmax(one.test_logits), test.labels, costs=test.costs, seed=test.seed
        )
        found.append((one, compared, theirs))
    adjusted = holm([compared.p for _, compared, _ in found])
    return [
        _gain(ours, one, replace(compared, p_adjusted=p), theirs)
        for (one, compared, theirs), p in zip(found, adjusted, strict=True)
    ]


def _gain(ours: ArmEvidence, control: ArmEvidence, compared: Comparison, of: Interval) -> Answer:
    if ours.test_logits is None or control.test_logits is None:
        raise AssertionError("what is compared is scored on the sealed part")
    gained = compared.difference  # more is better, whatever the metric
    unfit = _no_base(of)
    relative = None if unfit else 100 * gained / abs(of.value)
    decided = "helped" if gained > 0 else "negative transfer"
    verdict = "undecided" if compared.tie else decided
    seeds = (len(ours.test_logits), len(control.test_logits))
    share = "" if relative is None else f", {signed_percent(relative)} of {number(of.value)}"
    return {
        "name": f"{ours.title} over {control.title}",
        **comparison_json(compared, tie=verdict == "undecided", seeds=seeds),
        "relative_gain_percent": relative,
        "remark": unfit and f"no gain in percent: {unfit}",
        "verdict": verdict,
        "text": verdict + share,
    }


def _no_base(of: Interval) -> str | None:
    """Return why a gain is no share of the control's value: it is, or may be, nearly nothing."""
    if abs(of.value) < _LEAST_BASE:
        return f"{number(of.value)} of the control is too near 0 for a share of it to mean anything"
    if of.low <= _NEARLY_NOTHING:
        return f"the control's interval [{number(of.low)}, {number(of.high)}] reaches 0"
    return None
