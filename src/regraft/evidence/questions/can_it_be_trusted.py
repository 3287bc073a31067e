"""Can its confidence be trusted? Calibration, risk over coverage, sets of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft.evidence.arm import interval_json
from regraft.evidence.questions.asked import Answered
from regraft.evidence.words import number, percent
from regraft.measure.calibration_errors import ace, classwise_ece, ece_debiased
from regraft.measure.conformal import conformal_sets, set_quality
from regraft.measure.metrics import softmax
from regraft.measure.selective import risk_coverage

if TYPE_CHECKING:
    import numpy as np

    from regraft.evidence.arm import Part
    from regraft.evidence.questions.asked import Answer, Asked


KEY, QUESTION = "trust", "Can its confidence be trusted?"

ALPHA = 0.1
"""Share of sets of classes that may miss the right one."""

_SURE = 0.8


def answered(asked: Asked) -> Answered:
    """Answer for the winner."""
    winner = asked.winner
    if winner.logits is None or winner.test_logits is None:
        return Answered([])
    validation = asked.evidence.validation
    return Answered(
        can_it_be_trusted(winner.logits[0], validation, winner.test_logits[0], asked.test)
    )


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
