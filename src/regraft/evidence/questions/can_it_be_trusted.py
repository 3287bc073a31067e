"""Can its confidence be trusted? Calibration, risk over coverage, sets of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.arm import interval_json
from regraft.evidence.questions.asked import Answered, point
from regraft.evidence.words import number, percent
from regraft.measure.calibration import fit_temperature
from regraft.measure.calibration_errors import ace, classwise_ece, ece_debiased, ece_equal_mass
from regraft.measure.conformal import conformal_sets, set_quality
from regraft.measure.intervals import FEW_ITEMS, SKEWED, interval, wilson
from regraft.measure.metrics import softmax
from regraft.measure.scaling import fit_vector_scaling
from regraft.measure.selective import risk_coverage
from regraft.measure.spreads import mean_ends

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
_EXCESS_BY = "excess area of risk over coverage"


_ERRORS: tuple[tuple[str, Callable[[Array, Array], float], str, str], ...] = (
    ("ece_equal_mass", ece_equal_mass, "ECE of equal count", "15 bins of equal count"),
    (
        "ece_debiased",
        ece_debiased,
        "ECE without the bias of bins",
        "15 bins of equal count, l2, debiased",
    ),
    ("ace", ace, "adaptive calibration error", "15 ranges of equal count, all classes"),
    ("classwise_ece", classwise_ece, "class-wise ECE", "15 bins of equal width, mean over classes"),
)
"""Estimates of calibration of which no interval is known: what computes it, its name, and how."""


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """Logits on the sealed part, as trained or after what was fitted on validation.

    Attributes:
        key: ``plain``, ``temperature`` or ``vector_scaling``; `name` is for people.
        logits: Shape (m, C).
        how: What was fitted, in words, on `n` validation items.
        few: Why the fit is not to be trusted, or nothing.
    """

    key: str
    name: str
    logits: Array
    how: str
    n: int
    few: str = ""


def answered(asked: Asked) -> Answered:
    """Answer for the winner's first repetition."""
    winner = asked.winner
    if winner.logits is None or winner.test_logits is None:
        return Answered([])
    logits, tested = winner.logits[0], winner.test_logits[0]
    validation, test = asked.evidence.validation, asked.test
    scaled = scalings(logits, validation.labels, tested)
    return Answered(
        [
            *mended(scaled, test.labels),
            *calibration_errors(scaled, test.labels),
            *can_it_be_trusted(logits, validation, tested, test),
        ],
        {"risk_coverage": risk_curve(tested, test.labels)},
    )


def can_it_be_trusted(logits: Array, validation: Part, tested: Array, test: Part) -> list[Answer]:
    """Return risk over coverage, and conformal sets.

    Args:
        logits: Of the winner on the validation items, out of sample, shape (n, C).
        validation: Labels of these.
        tested: Logits on the sealed part, shape (m, C).
        test: Labels of these.
    """
    p, n = softmax(tested), len(test.labels)
    wrong = p.argmax(axis=1) != test.labels
    risk = risk_coverage(p.max(axis=1), wrong)
    surest = int(np.ceil(_SURE * n - 1e-9))
    saved = _point(risk.excess, n, _EXCESS_BY)
    return [
        _risk("risk when all are decided", risk.risk_at(1.0), n),
        _risk(f"risk when the surest {percent(_SURE)} are decided", risk.risk_at(_SURE), surest),
        {"name": "risk that a perfect order would save", **saved, "text": number(risk.excess)},
        _sets(logits, validation, p, test),
    ]


def scalings(logits: Array, labels: Array, tested: Array) -> list[Scaled]:
    """Return the logits on the sealed part as trained and after what is fitted on validation.

    Args:
        logits: On the validation items, out of sample, shape (n, C).
        labels: Labels of these.
        tested: Logits on the sealed part, shape (m, C).
    """
    n, n_classes = logits.shape
    vector = fit_vector_scaling(logits, labels)
    temperature = fit_temperature(logits, labels)
    many = 2 * n_classes

    def few(fitted: int) -> str:
        noisy = n < _ITEMS_A_PARAMETER * fitted
        return f"{fitted} parameters fitted on {n} items follow their noise" if noisy else ""

    per_class, how = "after a factor and an offset per class", f"vector scaling, {many} parameters"
    return [
        Scaled("plain", "as trained", tested, "nothing fitted", n),
        Scaled(
            "temperature",
            "after one temperature",
            tested / temperature,
            f"T = {temperature:.2f}",
            n,
            few(1),
        ),
        Scaled("vector_scaling", per_class, vector.apply(tested), how, n, few(many)),
    ]


def mended(scaled: Sequence[Scaled], truth: Array) -> list[Answer]:
    """Return the ECE of equal width on the sealed part, as trained and after each scaling.

    Args:
        scaled: Logits as trained, then after each scaling.
        truth: Labels of the sealed part, shape (m,).
    """
    decided = scaled[0].logits.argmax(axis=1)
    found: list[Answer] = []
    for one in scaled:
        score = interval_json(interval("ece", softmax(one.logits), truth), seeds=1)
        score["warning"] = "; ".join(why for why in (one.few, score["warning"]) if why) or None
        loss = interval_json(interval("log_loss", softmax(one.logits), truth), seeds=1)
        changed = int((one.logits.argmax(axis=1) != decided).sum())
        found.append(
            {
                "name": f"ECE of equal width {one.name}",
                **score,
                "log_loss": loss["value"],
                "behind": {"log_loss": loss},
                "decisions_changed": changed,
                "estimator": f"{_fitted(one)}; {score['estimator']}",
                "text": number(score["value"]),
                "beside": f"log loss {number(loss['value'])}"
                + (f", {changed} decisions changed" if changed else ""),
            }
        )
    return found


def calibration_errors(scaled: Sequence[Scaled], truth: Array) -> list[Answer]:
    """Return other estimates of calibration, a row each: as trained, and after each scaling.

    Args:
        scaled: Logits as trained, then after each scaling.
        truth: Labels of the sealed part, shape (m,).
    """
    found: list[Answer] = []
    for measure, error, name, how in _ERRORS:
        (_, plain), *after = [
            (
                one,
                _point(
                    error(softmax(one.logits), truth), len(truth), f"{_fitted(one)}; {how}", one.few
                ),
            )
            for one in scaled
        ]
        few = [f"{one.name}: {one.few}" for one, _ in after if one.few]
        found.append(
            {
                "name": name,
                "measure": measure,
                **plain,
                "after": {one.key: point for one, point in after},
                "text": _told(plain),
                "beside": ", ".join(f"{_told(point)} {one.name}" for one, point in after),
                "remark": "; ".join(few) or None,
            }
        )
    return found


def _fitted(one: Scaled) -> str:
    return (
        f"{one.how} on {one.n} validation items, which also chose the model; shown on "
        "the sealed part"
    )


def _told(point: Answer) -> str:
    return "not defined" if point["value"] is None else number(point["value"])


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
        "behind": {
            "aurc": _point(ours.aurc, n, "mean risk over all coverages"),
            "excess": _point(ours.excess, n, _EXCESS_BY),
        },
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


def _point(value: float, n: int, how: str, warning: str = "") -> Answer:
    """Return a figure without an interval; null where so few items define none."""
    why = _NO_INTERVAL if np.isfinite(value) else "it does not exist on so few items"
    return point(value, n=n, seeds=1, estimator=how, why=why, warning=warning)


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
        "behind": {"mean_size": _mean_size(sets.sum(axis=1))},
        "estimator": f"split conformal on {len(validation.labels)} validation items, which "
        "also chose the model; Wilson",
        "text": number(coverage["value"]),
        "beside": f"{quality.mean_size:.2f} classes a set",
    }


def _mean_size(sizes: Array) -> Answer:
    """Return the mean number of classes a set with its interval over items."""
    n, how = len(sizes), "mean over sets; t interval corrected for skewness"
    low, high, skew = mean_ends(sizes)
    if low == high:
        return point(
            sizes.mean(), n=n, seeds=1, estimator=how, why="all sets are alike: no spread is known"
        )
    rough = "few items" if n < FEW_ITEMS else "a few large sets" if abs(skew) > SKEWED else ""
    return {
        "value": float(sizes.mean()),
        "low": max(low, 0.0),
        "high": high,
        "n": n,
        "seeds": 1,
        "estimator": how,
        "warning": f"it rests on {rough}: the interval is rough" if rough else None,
        "no_interval": None,
    }
