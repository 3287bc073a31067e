"""What a run is given: the job and its data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from regraft.backbones.backbone import Backbone
    from regraft.backbones.precision import Precision
    from regraft.engine.stack import Stack
    from regraft.features.store import ItemArrays
    from regraft.features.views import View
    from regraft.tasks.splits import Fold

Head = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
"""Weight (C, width) and bias (C,)."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What pre-flight saw of a protocol.

    Attributes:
        lines: To print; problems: what forbids the run.
        trained: How many numbers train, of `total`.
        warnings: What does not forbid the run, but is hardly meant.
    """

    lines: tuple[str, ...]
    problems: tuple[str, ...]
    trained: int
    total: int
    warnings: tuple[str, ...] = ()


def _no_views(depth: int, view: View) -> ItemArrays | None:
    del depth, view
    return None


@dataclass(frozen=True, slots=True, eq=False)
class RunData:
    """The labelled items of a run, and what has been computed of them once for all runs.

    Attributes:
        kind: What the items are: ``image``, ``text`` or ``array``.
        labels: Class indices, shape (n,), int64.
        n_classes: Number of classes C.
        folds: Training and validation rows. One fold is a hold-out, several are cross-validation
            followed by a fit on all rows, none is a fit on all rows without validation.
        rows: For each of the n items its row in `prepared`, `features()` and `prefix(depth)`.
        prepared: The inputs after the backbone's own preprocessing, before normalisation.
        raw: The decoded inputs of chosen items, for controls that see no backbone.
        features: The pooled features of the pretrained backbone, shape (rows of the store, width).
        prefix: The stored hidden states that block `depth` receives, at depth n_blocks the pooled
            features; None where they are not kept. A LedgerError where they cannot be written: the
            run then computes them at each step.
        metric: The metric that early stopping watches.
        class_weights: Weights of the classes in the loss, given by the user, shape (C,); or None.
        costs: Cost of predicting column j for true class row i, shape (C, C); or None.
        view_prefix: The same of the n items, in their order, as an augmented view shows them.
        solved: Heads solved so far, by how and on which training and validation rows; every run on
            these rows starts from the same.
        checked: What pre-flight found, by what it looks at; runs that differ in their rates alone
            are checked once.
    """

    kind: str
    labels: np.ndarray[Any, Any]
    n_classes: int
    folds: Sequence[Fold]
    rows: np.ndarray[Any, Any]
    prepared: ItemArrays
    raw: Callable[[np.ndarray[Any, Any]], Sequence[Any]]
    features: Callable[[], np.ndarray[Any, Any]]
    prefix: Callable[[int], ItemArrays | None]
    metric: str
    class_weights: np.ndarray[Any, Any] | None = None
    costs: np.ndarray[Any, Any] | None = None
    view_prefix: Callable[[int, View], ItemArrays | None] = _no_views
    solved: dict[tuple[str, bytes, bytes], Head] = field(default_factory=dict)
    checked: dict[str, Checked] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One run, wholly specified.

    Attributes:
        run: The run's id.
        protocol: A resolved protocol (`regraft.config.protocol.resolve_protocol`).
        backbone: The pretrained backbone; it is copied, never changed.
        adjustments: Decisions recorded in an earlier sitting, by key; they are replayed.
        checkpoint_seconds: Least time of its own between two checkpoints, taken between steps; more
            where one takes long. A run that waits while others go on has nothing new to save.
        memory_bytes: What the process may hold; a step that took more is taken in smaller parts,
            and a solved head keeps no more rows of features than that leaves room for.
        stack: The runs that it takes its gradients with; None where it trains alone.
        compiled: Whether its training pass is compiled (`torch.compile`).
    """

    run: str
    protocol: Mapping[str, Any]
    backbone: Backbone
    data: RunData
    seed: int
    precision: Precision = "fp32"
    device: str = "cpu"
    adjustments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    checkpoint_seconds: float = 10.0
    memory_bytes: float = math.inf
    stack: Stack | None = None
    compiled: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One fit within a run: its name, training rows, validation rows (may be empty), epochs."""

    name: str
    train: np.ndarray[Any, Any]
    validation: np.ndarray[Any, Any]
    epochs: int


def fold_stages(data: RunData, epochs: int) -> list[Stage]:
    """Return one stage per fold; without folds, one stage over all rows."""
    nothing = np.empty(0, np.int64)
    if not data.folds:
        return [Stage("all", np.arange(len(data.labels)), nothing, epochs)]
    if len(data.folds) == 1:
        fold = data.folds[0]
        return [Stage("fit", fold.train, fold.validation, epochs)]
    return [
        Stage(f"fold-{i}", fold.train, fold.validation, epochs) for i, fold in enumerate(data.folds)
    ]


def refit_stage(data: RunData, epochs: int) -> Stage:
    """Return the fit on all rows that follows cross-validation."""
    return Stage("refit", np.arange(len(data.labels)), np.empty(0, np.int64), epochs)
