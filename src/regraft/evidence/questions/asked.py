"""What every question is asked of, and the form of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.verdict import WITHOUT_TRANSFER
from regraft.measure.metrics import METRICS
from regraft.measure.resampling import mean_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from regraft.evidence.arm import ArmEvidence, Part
    from regraft.evidence.gathered import Evidence

    Array = np.ndarray[Any, Any]

Answer = dict[str, Any]
"""A row: ``name``, ``text``, ``n`` and ``estimator``, and figures such as ``value, low, high``.

What stands behind its other numbers is under ``behind``, by their keys, in the form of `point`.
"""


def point(
    value: float, *, n: int, seeds: int | list[int], estimator: str, why: str, warning: str = ""
) -> dict[str, Any]:
    """Return a figure that has no interval, and why; null where it is not a number."""
    return {
        "value": float(value) if np.isfinite(value) else None,
        "low": None,
        "high": None,
        "n": n,
        "seeds": seeds,
        "estimator": estimator,
        "warning": warning or None,
        "no_interval": why,
    }


@dataclass(frozen=True, slots=True)
class Answered:
    """The rows of a question, and the plain data of its picture."""

    answers: list[Answer]
    figure: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A study whose sealed part is open.

    Attributes:
        evidence: All of it.
        winner: The arm that the verdict names.
        ours: The arm that stands for transfer: the winner, or the best that transfers.
        test: Labels of the sealed part.
        label_curves: The record's ``label_efficiency``.
        values: The metric of each arm on validation, more is better.
    """

    evidence: Evidence
    winner: ArmEvidence
    ours: ArmEvidence
    test: Part
    label_curves: Mapping[str, Any] | None
    values: Mapping[str, float]

    @property
    def metric(self) -> str:
        """The metric of the task."""
        return self.evidence.task.metric


def transferred(
    arms: Sequence[ArmEvidence], winner: str, values: Mapping[str, float]
) -> ArmEvidence | None:
    """Return the arm that stands for transfer, of those scored on the sealed part.

    Args:
        arms: All arms.
        winner: Key of the winner.
        values: Validation metric of each arm by key, more is better.
    """
    scored = {one.key: one for one in arms if one.test_logits is not None}
    key = stands_for_transfer({k: one.role for k, one in scored.items()}, winner, values)
    return None if key is None else scored[key]


def stands_for_transfer(
    roles: Mapping[str, str], winner: str, values: Mapping[str, float]
) -> str | None:
    """Return the arm that stands for transfer: the winner, or the best that transfers.

    Args:
        roles: Of the arms that are scored on the sealed part, by key, in the order they ran.
        winner: Key of the winner.
        values: `validation_values` of the arms.
    """
    own = [key for key, role in roles.items() if role != WITHOUT_TRANSFER]
    return winner if winner in own else best_of(own, values)


def best_of(keys: Iterable[str], values: Mapping[str, float]) -> str | None:
    """Return the key of the largest value, the first of equals; None of no keys."""
    return max(keys, key=lambda key: values.get(key, -np.inf), default=None)


def validation_values(
    probabilities: Mapping[str, Array], part: Part, metric: str
) -> dict[str, float]:
    """Return the metric of arms on validation, mean over seeds, more is better.

    Args:
        probabilities: By arm, shape (seeds, n, C).
        part: Labels of the n items.
        metric: Of the task.
    """
    sign = METRICS[metric].sign
    return {
        key: sign * mean_score(metric, one, part.labels, costs=part.costs)
        for key, one in probabilities.items()
    }
