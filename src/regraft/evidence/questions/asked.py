"""What every question is asked of, and the form of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.verdict import WITHOUT_TRANSFER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.evidence.arm import ArmEvidence, Part
    from regraft.evidence.gathered import Evidence

Answer = dict[str, Any]
"""A row: ``name``, ``text``, ``n`` and ``estimator``, and figures such as ``value, low, high``."""


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
    """

    evidence: Evidence
    winner: ArmEvidence
    ours: ArmEvidence
    test: Part
    label_curves: Mapping[str, Any] | None

    @property
    def metric(self) -> str:
        """The metric of the task."""
        return self.evidence.task.metric


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
