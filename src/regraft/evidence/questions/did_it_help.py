"""Did it help? The gain over every control, without transfer or without fine-tuning."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from regraft.evidence.arm import comparison_json, interval_json
from regraft.evidence.questions.asked import Answered, best_of, point
from regraft.evidence.verdict import CANDIDATE, WITHOUT_FINE_TUNING, WITHOUT_TRANSFER
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

_PROBE = "linear-probe"
_LEAST_BASE = 0.05
"""A control below this has next to nothing, of which no gain is a sensible share."""
_NEARLY_NOTHING = 0.005
_A_SHARE = "the control's own value is uncertain too; the difference has an interval"


def answered(asked: Asked) -> Answered:
    """Answer for the arm that stands for transfer."""
    arms = asked.evidence.arms
    without = [a.key for a in arms if a.role == WITHOUT_TRANSFER and a.test_logits is not None]
    best = best_of(without, asked.values)
    return Answered(did_it_help(asked.ours, arms, asked.test, asked.metric, best=best))


def did_it_help(
    ours: ArmEvidence,
    arms: Sequence[ArmEvidence],
    test: Part,
    metric: str,
    *,
    best: str | None = None,
) -> list[Answer]:
    """Return the gain over every other control on the sealed part.

    First the controls without transfer: p, Holm-corrected over all controls, says whether transfer
    helped or hurt (negative transfer). Then those without fine-tuning, the linear probe before the
    others: whether fine-tuning is better or worse than frozen features. Each has the
    relative performance gain 100 · s · (m − m_ref) / |m_ref| in percent, s the sign of the metric,
    where the control has something to be a share of (at least 0.05, and an interval that stays off
    0).

    Args:
        ours: The arm that stands for transfer; it is not compared with itself.
        arms: All arms.
        test: Labels of the sealed part.
        metric: Of the task.
        best: Key of the best control without transfer on validation; its row says so.
    """
    if ours.test_logits is None:
        return []
    p_ours = softmax(ours.test_logits)
    found: list[tuple[ArmEvidence, Comparison, Interval]] = []
    for one in _controls(ours, arms):
        if one.test_logits is None:
            continue
        p_one = softmax(one.test_logits)
        compared = paired_bootstrap(
            metric, p_ours, p_one, test.labels, costs=test.costs, seed=test.seed
        )
        theirs = interval(metric, p_one, test.labels, costs=test.costs, seed=test.seed)
        found.append((one, compared, theirs))
    adjusted = holm([compared.p for _, compared, _ in found])
    answers = [
        _gain(ours, one, replace(compared, p_adjusted=p), theirs)
        for (one, compared, theirs), p in zip(found, adjusted, strict=True)
    ]
    for (one, _, _), answer in zip(found, answers, strict=True):
        if one.key == best:
            answer["beside"] = "the best control without transfer on validation"
    return answers


def _controls(ours: ArmEvidence, arms: Sequence[ArmEvidence]) -> list[ArmEvidence]:
    """Return the controls but our own arm, in the order in which they are told of."""
    order = {WITHOUT_TRANSFER: 0, WITHOUT_FINE_TUNING: 2}
    found = [one for one in arms if one.role in order and one.key != ours.key]
    return sorted(found, key=lambda one: order[one.role] - (one.protocol == _PROBE))


def _gain(ours: ArmEvidence, control: ArmEvidence, compared: Comparison, of: Interval) -> Answer:
    if ours.test_logits is None or control.test_logits is None:
        raise AssertionError("what is compared is scored on the sealed part")
    gained = compared.difference  # more is better, whatever the metric
    unfit = _no_base(of)
    relative = None if unfit else 100 * gained / abs(of.value)
    better, worse, undecided = _words(ours, control)
    decided = better if gained > 0 else worse
    seeds = (len(ours.test_logits), len(control.test_logits))
    share = "" if relative is None else f", {signed_percent(relative)} of {number(of.value)}"
    return {
        "name": f"{ours.title} over {control.title}",
        **comparison_json(compared, tie=compared.tie, seeds=seeds),
        "control": control.key,
        "role": control.role,
        "relative_gain_percent": relative,
        "behind": _behind(compared, of, seeds, relative),
        "remark": unfit and f"no gain in percent: {unfit}",
        "verdict": "undecided" if compared.tie else decided,
        "text": (undecided if compared.tie else decided) + share,
    }


def _behind(
    compared: Comparison, of: Interval, seeds: tuple[int, int], relative: float | None
) -> dict[str, Answer]:
    """Return what stands behind the gain in percent and the value that it is a share of."""
    theirs = {"value_of_control": interval_json(of, seeds=seeds[1])}
    if relative is None:
        return theirs
    how = "100 times the difference over the value of the control"
    share = point(relative, n=compared.n, seeds=[*seeds], estimator=how, why=_A_SHARE)
    return {"relative_gain_percent": share, **theirs}


def _words(ours: ArmEvidence, control: ArmEvidence) -> tuple[str, str, str]:
    """Return what is said of a gain, of a loss, and where neither is shown."""
    if control.role == WITHOUT_TRANSFER:
        return "helped", "negative transfer", "undecided"
    if ours.role != CANDIDATE:  # neither of the two is fine-tuned
        return "better", "worse", "undecided"
    return (
        "fine-tuning helped",
        "fine-tuning is worse",
        "undecided, fine-tuning is not shown to be better",
    )


def _no_base(of: Interval) -> str | None:
    """Return why a gain is no share of the control's value: it is, or may be, nearly nothing."""
    if abs(of.value) < _LEAST_BASE:
        return f"{number(of.value)} of the control is too near 0 for a share of it to mean anything"
    if of.low <= _NEARLY_NOTHING:
        return f"the control's interval [{number(of.low)}, {number(of.high)}] reaches 0"
    return None
