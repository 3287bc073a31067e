"""Labelled items of a source domain: no parts, nothing sealed, nothing trains on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import DataError
from regraft.measure.transferability.neighbours import stratified
from regraft.seeds import numpy_generator
from regraft.tasks.classes import class_names
from regraft.tasks.intake.inspection import inspect_rows
from regraft.tasks.intake.reading import read_rows
from regraft.tasks.intake.rows import Columns
from regraft.tasks.items import Items

if TYPE_CHECKING:
    from regraft.tasks.items import InputKind

MOST_ITEMS = 1000
"""Above it a stratified draw is taken."""


def read_labelled(data: str, *, kind: InputKind, seed: int, allow_bad: bool) -> Items:
    """Return at most about 1,000 labelled items of data in any form that a task takes.

    Args:
        data: Folder, table, or ``zoo:digits``; whatever parts it has are taken together.
        kind: What the items must be.
        seed: Of the draw.
        allow_bad: Go on when more than 1 % of the items are unreadable.

    Raises:
        DataError: The data cannot be used, or are of another kind.
    """
    rows, where = read_rows(data, Columns(), None)
    if rows.kind != kind:
        raise DataError(
            f"it holds {rows.kind}s, the data of the study are {kind}s. Give labelled {kind}s of "
            "the source domain.",
            where=where,
        )
    inspection = inspect_rows(rows, allow_bad=allow_bad, where=where)
    index = {name: i for i, name in enumerate(class_names(rows, where))}
    labels = np.array([index[name] for name in rows.labels], np.int64)
    digests = tuple(one.digest for one in inspection.seen)
    items = Items(rows.kind, rows.inputs, labels, tuple(rows.ids), digests)
    return items.subset(stratified(labels, MOST_ITEMS, numpy_generator(seed, "source")))
