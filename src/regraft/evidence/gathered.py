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
class Predicted:
    """What an arm says of some items.

    Attributes:
        logits: Shape (seeds, n, C).
        features: Pooled features that its first run makes of them, shape (n, width); None where it
            reads no backbone.
    """

    logits: np.ndarray[Any, Any]
    features: np.ndarray[Any, Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class HeldUp:
    """What some arms say of sealed items as they are, of the same corrupted, and of outliers.

    Attributes:
        rows: Which sealed items, shape (n,); empty where the budget held none.
        reason: Why these.
        clean: Of the items as they are, by arm.
        corrupted: Logits by (corruption, severity), then by arm.
        outliers: Of outliers, by their name, then by arm.
        trained: Features of the training items, by arm; `trained_labels` are their classes.
    """

    rows: np.ndarray[Any, Any]
    reason: str
    clean: Mapping[str, Predicted]
    corrupted: Mapping[tuple[str, int], Mapping[str, Predicted]]
    outliers: Mapping[str, Mapping[str, Predicted]]
    trained: Mapping[str, Predicted]
    trained_labels: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class SourceFeatures:
    """Features of labelled source items, shape (n, width).

    Attributes:
        labels: Shape (n,).
        before: Those of pretrained backbones, by the backbone's index.
        after: Those of adapted ones, by arm.
    """

    labels: np.ndarray[Any, Any]
    before: Mapping[int, np.ndarray[Any, Any]]
    after: Mapping[str, np.ndarray[Any, Any]]


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
        held_up: Predictions beyond the sealed part, where they were asked for.
        source: Features of items of the source domain, where some were given.
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
    held_up: HeldUp | None = None
    source: SourceFeatures | None = None
    test_features: np.ndarray[Any, Any] | None = None
    latency: Mapping[str, Any] | None = None
    depths: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
