"""All that a study's record is made of, gathered before anything is said about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from regraft.evidence.arm import ArmEvidence, Part
    from regraft.evidence.verdict import Confirmation, Verdict
    from regraft.tasks.task import Task


@dataclass(frozen=True, slots=True, eq=False)
class BudgetPoint:
    """Test logits of one arm at one label budget, shape (seeds, m, C)."""

    arm: str
    per_class: int
    n_labels: int
    logits: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """All that a record is made of.

    Attributes:
        study: The record's ``study`` part, complete.
        task: The task; `task_card` is the record's ``task`` part.
        arms: Every arm, in the order in which they ran.
        validation: Labels on which the verdict was reached.
        test: Labels of the sealed part, once opened; `test_items` are its items.
        budget_points: Runs at other label budgets.
        decisions: Recorded decisions, as {seq, key, text}.
        configuration: The resolved study.
        parameters_total: Parameters by backbone index; None stands for no backbone.
        test_features: Features of the sealed items by the winner's pretrained backbone (m, width).
        latency: Milliseconds of one item with its interval, where the target asks for it.
        depths: What moved at each depth, by arm, of the finalists that adapted a backbone.
    """

    study: Mapping[str, Any]
    task: Task
    task_card: Mapping[str, Any]
    arms: Sequence[ArmEvidence]
    validation: Part
    verdict: Verdict
    confirmation: Confirmation | None
    test: Part | None
    test_items: Any
    temperature: float
    budget_points: Sequence[BudgetPoint]
    histories: Mapping[str, Sequence[Mapping[str, Any]]]
    decisions: Sequence[Mapping[str, Any]]
    configuration: Mapping[str, Any]
    reproduce: Sequence[str]
    openings: int
    parameters_total: Mapping[str, int]
    test_features: np.ndarray[Any, Any] | None = None
    latency: Mapping[str, Any] | None = None
    depths: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
