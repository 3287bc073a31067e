"""Does it hold up? The metric under corruption, beside the controls; and outliers told apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.errors import ShapeError
from regraft.evidence.arm import Part, comparison_json, interval_json
from regraft.evidence.outliers import outlier_answers
from regraft.evidence.questions.asked import Answered, point
from regraft.evidence.verdict import WITHOUT_FINE_TUNING, WITHOUT_TRANSFER
from regraft.evidence.words import number
from regraft.measure.comparison import comparison_of, holm
from regraft.measure.intervals import interval, wilson
from regraft.measure.metrics import METRICS, decide, softmax
from regraft.measure.resampling import mean_score, resampled_scores
from regraft.measure.robustness import corruption_error_intervals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.evidence.arm import ArmEvidence
    from regraft.evidence.gathered import HeldUp
    from regraft.evidence.questions.asked import Answer, Asked
    from regraft.measure.comparison import Comparison

    Draws = np.ndarray[Any, Any]


KEY, QUESTION = "hold_up", "Does it hold up?"

_RESAMPLES = 2000
_MEAN_OF_CELLS = (
    "none of a mean over corruptions has been measured to hold; the difference has one, and the "
    "picture that of each cell"
)


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """An arm's metric without and under corruption, with draws of the same resamples of items.

    Attributes:
        clean: On the items as they are; corrupted: mean over all corruptions and severities.
        clean_draws: Shape (resamples,); corrupted_draws likewise.
    """

    arm: ArmEvidence
    clean: float
    corrupted: float
    clean_draws: Draws
    corrupted_draws: Draws

    def against(self, other: _Scored | None, metric: str, n: int) -> Comparison:
        """Return what corruption takes, or how much less it takes than of another arm."""
        values = (self.corrupted - self.clean, 0.0)
        draws = (self.corrupted_draws - self.clean_draws, np.zeros_like(self.clean_draws))
        if other is not None:
            values = (values[0], other.corrupted - other.clean)
            draws = (draws[0], other.corrupted_draws - other.clean_draws)
        return comparison_of(metric, values, draws, n=n)


def answered(asked: Asked) -> Answered:
    """Answer for the arm that stands for transfer, beside the best control of each role."""
    held = asked.evidence.held_up
    if held is None:
        return Answered([])
    if not len(held.rows):
        return Answered([_none(held.reason)])
    part = Part(asked.test.labels[held.rows], asked.test.costs, asked.test.seed)
    arms = [one for one in asked.evidence.arms if one.key in held.clean]
    missing = [one for one in (asked.ours, asked.winner) if one.key not in held.clean]
    if missing:  # of no other arm is it told in its place
        return Answered([_none(f"{missing[0].title} was not shown what is corrupted")])
    found, figure = [], None
    if held.corrupted:
        found += corruption_answers(held, arms, asked.ours, part, asked.metric)
        figure = corruption_figure(held, asked.ours, part)
    found += outlier_answers(held, asked.winner, seed=part.seed)
    return Answered(found, figure)


def corruption_answers(
    held: HeldUp, arms: Sequence[ArmEvidence], ours: ArmEvidence, part: Part, metric: str
) -> list[Answer]:
    """Return what corruption takes from each arm, whether it takes less from ours, mCE, the worst.

    Args:
        held: The predictions.
        arms: Those that were predicted: ours, and the best control of each role.
        ours: The arm that stands for transfer.
        part: Labels of the items that were corrupted.
        metric: Of the task.
    """
    n = len(part.labels)
    scored = {one.key: _scored(held, one, part, metric) for one in arms}
    names = list(dict.fromkeys(name for name, _ in held.corrupted))
    cells = f"mean of {len(names)} corruptions × {len(held.corrupted) // len(names)} severities"
    found: list[Answer] = []
    for one in scored.values():
        lost = one.against(None, metric, n)
        found.append(
            {
                "name": f"{METRICS[metric].title} of {one.arm.title}, {cells}",
                **comparison_json(lost, tie=lost.tie, seeds=(_seeds(held, one.arm),) * 2),
                "clean": one.clean,
                "corrupted": one.corrupted,
                "behind": _behind(held, one, part, metric, cells),
                "text": f"from {number(one.clean)} to {number(one.corrupted)}",
            }
        )
    others = [one for one in scored.values() if one.arm.key != ours.key]
    found += _against(held, scored[ours.key], others, metric, n)
    roles = {WITHOUT_FINE_TUNING: 0, WITHOUT_TRANSFER: 1}
    controls = [one.arm for one in others if one.arm.role in roles]
    reference = min(controls, key=lambda one: roles[one.role], default=None)
    if reference is not None:
        found += _corruption_errors(held, ours, reference, part)
    return [*found, _worst(held, ours, part, metric)]


def _behind(
    held: HeldUp, one: _Scored, part: Part, metric: str, cells: str
) -> dict[str, dict[str, Any]]:
    """Return what stands behind an arm's metric without and under corruption."""
    said, seeds = softmax(held.clean[one.arm.key].logits), _seeds(held, one.arm)
    clean = interval(metric, said, part.labels, costs=part.costs, seed=part.seed)
    corrupted = point(
        one.corrupted, n=len(part.labels), seeds=seeds, estimator=cells, why=_MEAN_OF_CELLS
    )
    return {"clean": interval_json(clean, seeds=seeds), "corrupted": corrupted}


def _against(
    held: HeldUp, ours: _Scored, others: Sequence[_Scored], metric: str, n: int
) -> list[Answer]:
    """Return how much less our arm lost than each of the others, Holm-corrected."""
    found: list[Answer] = []
    compared = [ours.against(one, metric, n) for one in others]
    for one, versus, p in zip(others, compared, holm([c.p for c in compared]), strict=True):
        difference = replace(versus, p_adjusted=p)
        better = "holds up better" if difference.difference > 0 else "holds up worse"
        found.append(
            {
                "name": f"lost less by {ours.arm.title} than by {one.arm.title}",
                **comparison_json(
                    difference,
                    tie=difference.tie,
                    seeds=(_seeds(held, ours.arm), _seeds(held, one.arm)),
                ),
                "text": "undecided" if difference.tie else better,
            }
        )
    return found


def _worst(held: HeldUp, ours: ArmEvidence, part: Part, metric: str) -> Answer:
    """Return the corruption under which the metric is worst, mean over severities."""
    names = list(dict.fromkeys(name for name, _ in held.corrupted))
    by_name = {
        name: np.mean(
            [_value(held, cell, ours, part, metric) for cell in held.corrupted if cell[0] == name]
        )
        for name in names
    }
    worst = min(names, key=lambda name: METRICS[metric].sign * by_name[name])
    return {
        "name": f"the worst corruption of {ours.title}",
        "value": float(by_name[worst]),
        "n": len(part.labels),
        "seeds": _seeds(held, ours),
        "estimator": f"worst of {len(names)} means over severities",
        "no_interval": "it was chosen by looking; the picture has that of each cell",
        "text": f"{worst.replace('_', ' ')}, {number(float(by_name[worst]))}",
    }


def corruption_figure(held: HeldUp, ours: ArmEvidence, part: Part) -> dict[str, Any]:
    """Return accuracy with Wilson's interval by corruption and severity; severity 0 is none."""
    names = list(dict.fromkeys(name for name, _ in held.corrupted))
    clean = _accuracy(held.clean[ours.key].logits, part)
    return {
        "arm": ours.title,
        "metric": "accuracy",
        "clean": clean,
        "corruptions": [
            {
                "name": name,
                "severities": [
                    {"severity": severity, **_accuracy(arms[ours.key].logits, part)}
                    for (one, severity), arms in held.corrupted.items()
                    if one == name
                ],
            }
            for name in names
        ],
    }


def _scored(held: HeldUp, arm: ArmEvidence, part: Part, metric: str) -> _Scored:
    shown = [held.clean[arm.key], *(arms[arm.key] for arms in held.corrupted.values())]
    probabilities = [softmax(one.logits) for one in shown]
    draws = resampled_scores(
        metric,
        probabilities,
        part.labels,
        costs=part.costs,
        resamples=_RESAMPLES,
        seed=part.seed,
    )
    values = [mean_score(metric, p, part.labels, costs=part.costs) for p in probabilities]
    return _Scored(arm, values[0], float(np.mean(values[1:])), draws[0], draws[1:].mean(axis=0))


def _corruption_errors(
    held: HeldUp, ours: ArmEvidence, reference: ArmEvidence, part: Part
) -> list[Answer]:
    """Return mCE and relative mCE against a control, or why there is none."""
    name = f"mean corruption error against {reference.title} (1: as many errors)"
    try:
        both = corruption_error_intervals(
            _wrong_by_corruption(held, ours, part),
            _wrong_by_corruption(held, reference, part),
            clean=_wrong(held.clean[ours.key].logits, part),
            clean_reference=_wrong(held.clean[reference.key].logits, part),
            seed=part.seed,
        )
    except ShapeError as error:
        return [{"name": name, "n": len(part.labels), "estimator": "mCE", "text": str(error)}]
    names = (name, "relative mean corruption error: errors added by corruption alone")
    return [
        {
            "name": title,
            **interval_json(one),
            "seeds": [_seeds(held, ours), _seeds(held, reference)],
            "text": number(one.value),
        }
        for title, one in zip(names, both, strict=True)
        if one is not None
    ]


def _wrong_by_corruption(
    held: HeldUp, arm: ArmEvidence, part: Part
) -> dict[str, np.ndarray[Any, Any]]:
    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    for (name, _), arms in held.corrupted.items():
        found.setdefault(name, []).append(_wrong(arms[arm.key].logits, part))
    return {name: np.stack(each) for name, each in found.items()}


def _wrong(logits: np.ndarray[Any, Any], part: Part) -> np.ndarray[Any, Any]:
    """Return how often each item is wrong, mean over seeds, shape (n,)."""
    wrong: np.ndarray[Any, Any] = (decide(softmax(logits)) != part.labels).mean(axis=0)
    return wrong


def _value(held: HeldUp, cell: tuple[str, int], arm: ArmEvidence, part: Part, metric: str) -> float:
    logits = held.corrupted[cell][arm.key].logits
    return mean_score(metric, softmax(logits), part.labels, costs=part.costs)


def _accuracy(logits: np.ndarray[Any, Any], part: Part) -> dict[str, Any]:
    n, wrong = len(part.labels), float(_wrong(logits, part).sum())
    return interval_json(wilson(n - wrong, n), seeds=len(logits))


def _seeds(held: HeldUp, arm: ArmEvidence) -> int:
    return len(held.clean[arm.key].logits)


def _none(reason: str) -> Answer:
    return {"name": "corrupted inputs", "n": 0, "estimator": "not measured", "text": reason}
