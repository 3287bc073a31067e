"""The questions of transfer learning, answered from what a study has measured. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.arm import comparison_json, interval_json
from regraft.evidence.verdict import WITHOUT_TRANSFER
from regraft.evidence.words import number, percent
from regraft.measure.calibration_errors import ace, classwise_ece, ece_debiased
from regraft.measure.comparison import paired_bootstrap
from regraft.measure.conformal import conformal_sets, set_quality
from regraft.measure.convergence import area_under_curve, speed_up
from regraft.measure.label_savings import data_saving_ratio
from regraft.measure.metrics import METRICS, softmax
from regraft.measure.resampling import mean_score
from regraft.measure.selective import risk_coverage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.evidence.arm import ArmEvidence, Part
    from regraft.measure.comparison import Comparison

ALPHA = 0.1
"""Share of sets of classes that may miss the right one."""

_SURE = 0.8
_SAVED_BY = "isotonic curves read in log n, on the sealed part"

Answer = dict[str, Any]


def transferred(
    arms: Sequence[ArmEvidence], winner: str, values: Mapping[str, float]
) -> ArmEvidence | None:
    """Return the arm that stands for transfer: the winner, or the best that transfers.

    Args:
        arms: All arms.
        winner: Key of the winner.
        values: Validation metric of each arm by key, more is better.
    """
    scored = [one for one in arms if one.test_logits is not None and one.role != WITHOUT_TRANSFER]
    named = next((one for one in scored if one.key == winner), None)
    return named or max(scored, key=lambda one: values.get(one.key, -np.inf), default=None)


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
                    "estimator": "first evaluation on validation at least as good",
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
                    "estimator": "trapezoids over steps; 1 is at its best from the start",
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


def can_it_be_trusted(
    logits: np.ndarray[Any, Any], validation: Part, tested: np.ndarray[Any, Any], test: Part
) -> list[Answer]:
    """Return calibration without the bias of bins, risk over coverage, and conformal sets.

    Args:
        logits: Of the winner on the validation items, out of sample, shape (n, C).
        validation: Labels of these.
        tested: Logits on the sealed part, shape (m, C).
        test: Labels of these.
    """
    p, held_out = softmax(tested), softmax(logits)
    n, confidence = len(test.labels), p.max(axis=1)
    risk = risk_coverage(confidence, p.argmax(axis=1) != test.labels)
    sets = conformal_sets(held_out, validation.labels, p, alpha=ALPHA)
    quality = set_quality(sets, test.labels)
    plain = (
        (
            "ECE without the bias of bins",
            ece_debiased(p, test.labels),
            "15 equal bins, l2, debiased",
        ),
        ("adaptive calibration error", ace(p, test.labels), "15 equal-count ranges, all classes"),
        ("class-wise ECE", classwise_ece(p, test.labels), "15 equal bins, mean over classes"),
        ("risk when all are decided", risk.risk_at(1.0), "share of errors"),
        (f"risk when the surest {percent(_SURE)} are decided", risk.risk_at(_SURE), "same"),
        ("risk that a perfect order would save", risk.excess, "excess area of risk over coverage"),
    )
    found: list[Answer] = [
        {
            "name": name,
            "value": float(value),
            "n": n,
            "estimator": how,
            "text": number(float(value)),
        }
        for name, value, how in plain
    ]
    coverage = interval_json(quality.coverage)
    found.append(
        {
            "name": f"sets that hold the right class (asked: {percent(1 - ALPHA)})",
            **coverage,
            "mean_size": quality.mean_size,
            "estimator": f"split conformal on {len(validation.labels)} validation items, which "
            "also chose the model; Wilson",
            "text": f"{number(coverage['value'])}, {quality.mean_size:.2f} classes a set",
        }
    )
    return found


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
                "estimator": _SAVED_BY,
                "text": saved.text(),
            }
        )
    return found


def _points(curve: Mapping[str, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    points = [one for one in curve["points"] if one["value"] is not None]
    return (
        np.array([one["n_labels"] for one in points], np.float64),
        np.array([one["value"] for one in points], np.float64),
    )
