"""A task that has no sealed part: all items train and validate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regraft.config.study import IN_MEMORY
from regraft.measure.metrics import metric_named
from regraft.tasks.intake.record import Intake
from regraft.tasks.sealed import SealedPart
from regraft.tasks.splits import development_folds
from regraft.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.tasks.items import Items


def unsealed_task(
    items: Items, classes: Sequence[str], *, metric: str, validation: float, seed: int
) -> Task:
    """Return the task of labelled items; validation is carved from them as from any task.

    Raises:
        ConfigError: The metric is unknown.
        DataError: A class has too few items to hold some out.
    """
    metric_named(metric)
    own = np.arange(len(items))
    folds = development_folds(
        items.labels, own, n_classes=len(classes), share=validation, seed=seed, times=None
    )
    return Task(
        name="fit",
        kind=items.kind,
        classes=tuple(classes),
        metric=metric,
        target=None,
        development=items,
        units=own,
        repeats=own,
        folds=folds,
        sealed=SealedPart(items.subset([])),
        intake=_record(len(items)),
        validation_share=validation,
        asked={"data": IN_MEMORY, "metric": metric, "validation": validation, "seed": seed},
    )


def _record(n: int) -> Intake:
    return Intake(
        source=IN_MEMORY,
        n_development=n,
        n_test=0,
        skipped=(),
        n_skipped=0,
        converted={},
        duplicates_within=0,
        duplicates_across=0,
        duplicates_removed=0,
        leakage=(),
        split="all items train and validate",
        width=None,
        height=None,
        words=None,
        notes=(),
    )
