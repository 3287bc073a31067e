"""Can its confidence be trusted? Calibration, risk over coverage, sets of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import log_softmax

from regraft.evidence.arm import interval_json
from regraft.evidence.questions.asked import Answered
from regraft.evidence.words import number, percent
from regraft.measure.calibration import fit_temperature
from regraft.measure.calibration_errors import ace, classwise_ece, ece_debiased
from regraft.measure.conformal import conformal_sets, set_quality
from regraft.measure.intervals import interval, wilson
from regraft.measure.metrics import softmax
from regraft.measure.scaling import fit_vector_scaling
from regraft.measure.selective import risk_coverage

if TYPE_CHECKING:
    from regraft.evidence.arm import Part
    from regraft.evidence.questions.asked import Answer, Asked

    Array = np.ndarray[Any, Any]


KEY, QUESTION = "trust", "Can its confidence be trusted?"

ALPHA = 0.1
"""Share of sets of classes that may miss the right one."""

_SURE = 0.8
_POINTS = 50
_ITEMS_A_PARAMETER = 10
_NO_INTERVAL = "no interval of this estimate has been measured to hold"


def answered(asked: Asked) -> Answered:
    """Answer for the winner's first repetition."""
    winner = asked.winner
    if winner.logits is None or winner.test_logits is None:
        return Answered([])
    logits, tested = winner.logits[0], winner.test_logits[0]
    validation, test = asked.evidence.validation, asked.test
    return Answered(
        [
            *can_it_be_trusted(logits, validation, tested, test),
            *mended(logits, validation.labels, tested, test.labels),
        ],
        {"risk_coverage": risk_curve(tested, test.labels)},
    )


def can_it_be_trusted(logits: Array, validation: Part, tested: Array, test: Part) -> list[Answer]:
    """Return calibration without the bias of bins, risk over coverage, and conformal sets.

    Args:
        logits: Of the winner on the validation items, out of sample, shape (n, C).
        validation: Labels of these.
        tested: Logits on the sealed part, shape (m, C).
        test: Labels of these.
    """
    p, n = softmax(tested), len(test.labels)
    wrong = p.argmax(axis=1) != test.labels
    risk = risk_coverage(p.max(axis=1), wrong)
    plain = (
        (
            "ECE without the bias of bins",
            ece_debiased(p, test.labels),
            "15 equal bins, l2, debiased",
        ),
        ("adaptive calibration error", ace(p, test.labels), "15 equal-count ranges, all classes"),
        ("class-wise ECE", classwise_ece(p, test.labels), "15 equal bins, mean over classes"),
        ("risk that a perfect order would save", risk.excess, "excess area of risk over coverage"),
    )
    estimates = [_point_estimate(name, value, n, how) for name, value, how in plain]
    surest = int(np.ceil(_SURE * n - 1e-9))
    risks = [
        _risk("risk when all are decided", risk.risk_at(1.0), n),
        _risk(f"risk when the surest {percent(_SURE)} are decided", risk.risk_at(_SURE), surest),
    ]
    return [*estimates[:3], *risks, *estimates[3:], _sets(logits, validation, p, test)]


def mended(logits: Array, labels: Array, tested: Array, truth: Array) -> list[Answer]:
    """Return the ECE on the sealed part before and after what is fitted on validation.

    Args:
        logits: On the validation items, out of sample, shape (n, C).
        labels: Labels of these.
        tested: Logits on the sealed part, shape (m, C).
        truth: Labels of these.
    """
    n, n_classes = logits.shape
    vector = fit_vector_scaling(logits, labels)
    temperature = fit_temperature(logits, labels)
    many = 2 * n_classes
    scaled = (
        ("as trained", tested, "nothing fitted", 0),
        ("after one temperature", tested / temperature, f"T = {temperature:.2f}", 1),
        (
            "after a factor and an offset per class",
            vector.apply(tested),
            f"vector scaling, {many} parameters",
            many,
        ),
    )
    found: list[Answer] = []
    for name, one, how, fitted in scaled:
        score = interval_json(interval("ece", softmax(one), truth), seeds=1)
        if n < _ITEMS_A_PARAMETER * fitted:
            few = f"{fitted} parameters fitted on {n} items follow their noise"
            score["warning"] = "; ".join(why for why in (few, score["warning"]) if why)
        loss = -float(log_softmax(one, axis=1)[np.arange(len(truth)), truth].mean())
        changed = int((one.argmax(axis=1) != tested.argmax(axis=1)).sum())
        found.append(
            {
                "name": f"ECE {name}",
                **score,
                "log_loss": loss,
                "decisions_changed": changed,
                "estimator": f"{how} on {n} validation items, which also chose the model; shown on "
                f"the sealed part; {score['estimator']}",
                "text": number(score["value"]),
                "beside": f"log loss {number(loss)}"
                + (f", {changed} decisions changed" if changed else ""),
            }
        )
    return found


def risk_curve(tested: Array, truth: Array) -> dict[str, Any]:
    """Return the data of the picture: risk at 50 coverages or fewer, and the best order's.

    Args:
        tested: Logits on the sealed part, shape (m, C).
        truth: Labels of these.
    """
    p = softmax(tested)
    wrong = p.argmax(axis=1) != truth
    ours = risk_coverage(p.max(axis=1), wrong)
    best = risk_coverage((~wrong).astype(np.float64), wrong)
    n = len(truth)
    shown = np.unique(np.ceil(np.linspace(0, 1, min(n, _POINTS) + 1)[1:] * n - 1e-9).astype(int))
    ranked = np.sort(p.max(axis=1))[::-1]
    return {
        "n": n,
        "seeds": 1,
        "aurc": ours.aurc,
        "excess": ours.excess,
        "points": [
            {
                "coverage": float(k / n),
                "n": int(k),
                "threshold": float(ranked[k - 1]),
                "best": float(best.risk[k - 1]),
                **interval_json(wilson(float(ours.risk[k - 1]) * k, int(k)), seeds=1),
            }
            for k in shown
        ],
    }


def _point_estimate(name: str, value: float, n: int, how: str) -> Answer:
    return {
        "name": name,
        "value": float(value),
        "low": None,
        "high": None,
        "n": n,
        "seeds": 1,
        "estimator": how,
        "no_interval": _NO_INTERVAL,
        "text": number(float(value)),
    }


def _risk(name: str, risk: float, n: int) -> Answer:
    spread = interval_json(wilson(risk * n, n), seeds=1)
    return {
        "name": name,
        **spread,
        "estimator": f"share of errors; {spread['estimator']}",
        "text": number(risk),
    }


def _sets(logits: Array, validation: Part, p: Array, test: Part) -> Answer:
    sets = conformal_sets(softmax(logits), validation.labels, p, alpha=ALPHA)
    quality = set_quality(sets, test.labels)
    coverage = interval_json(quality.coverage, seeds=1)
    return {
        "name": f"sets that hold the right class (asked: {percent(1 - ALPHA)})",
        **coverage,
        "mean_size": quality.mean_size,
        "estimator": f"split conformal on {len(validation.labels)} validation items, which "
        "also chose the model; Wilson",
        "text": number(coverage["value"]),
        "beside": f"{quality.mean_size:.2f} classes a set",
    }
