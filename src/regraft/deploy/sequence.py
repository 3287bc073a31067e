"""Grafts kept after one task and the next, held against the items of all tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regraft.deploy.predictor import GraftPredictor
from regraft.errors import DataError
from regraft.evidence.task_sequence import TaskSequence, task_sequence
from regraft.tasks.labelled import read_labelled

if TYPE_CHECKING:
    from collections.abc import Sequence


def learnt_in_sequence(
    tasks: Sequence[tuple[str, str]],
    *,
    backbone: str | None,
    seed: int,
    allow_bad: bool,
    trust_remote_code: bool = False,
) -> TaskSequence:
    """Return what the grafts kept after one task and the next make of the items of all tasks.

    Args:
        tasks: Folder of the graft and labelled items of each task, in the order learnt; of data
            that say which part is for testing that part is taken.
        backbone: As for `GraftPredictor.load`, the same for all.
        seed: Of the resampling.
        allow_bad: Go on when more than 1 % of the items are unreadable.
        trust_remote_code: Whether code that comes with a hub model may run.

    Raises:
        DataError: Data cannot be used, or its graft knows none of its classes.
        GraftError: A graft cannot be used.
    """
    models = [
        GraftPredictor.load(graft, backbone=backbone, trust_remote_code=trust_remote_code)
        for graft, _ in tasks
    ]
    kind = models[0].graft.kind
    read = [
        read_labelled(data, kind=kind, allow_bad=allow_bad, test_only=True) for _, data in tasks
    ]
    for model, (graft, data), (_, classes) in zip(models, tasks, read, strict=True):
        if model.graft.kind != kind:
            raise DataError(
                f"{graft} takes {model.graft.kind}s, {tasks[0][0]} takes {kind}s. Give grafts that "
                "take the same.",
                where=data,
            )
        if not set(classes) & set(model.classes):
            raise DataError(
                f"its classes ({', '.join(classes)}) are none of those of {graft} "
                f"({', '.join(model.classes)}). Give the items of the task that the graft learnt.",
                where=data,
            )
    rights = [
        [
            np.array(model.predict(items)) == np.array(classes)[items.labels]
            for items, classes in read
        ]
        for model in models
    ]
    names = [Path(data).name or data for _, data in tasks]
    return task_sequence(rights, [items.labels for items, _ in read], names=names, seed=seed)
