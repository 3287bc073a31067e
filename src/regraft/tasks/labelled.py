"""Labelled items beside a study: no parts, nothing sealed, nothing trains on them."""

from __future__ import annotations

import numpy as np

from regraft.errors import DataError
from regraft.measure.transferability.neighbours import stratified
from regraft.seeds import numpy_generator
from regraft.tasks.classes import class_names
from regraft.tasks.intake.inspection import inspect_rows
from regraft.tasks.intake.reading import read_rows
from regraft.tasks.intake.rows import Columns
from regraft.tasks.items import Items

MOST_ITEMS = 1000
"""Above it a stratified draw is taken."""


def some_labelled(data: str, *, kind: str, seed: int, allow_bad: bool) -> Items:
    """Return at most about 1,000 labelled items, a stratified draw; see `read_labelled`."""
    items, _ = read_labelled(data, kind=kind, allow_bad=allow_bad)
    generator = numpy_generator(seed, "source")
    return items.subset(stratified(items.labels, MOST_ITEMS, generator))


def read_labelled(
    data: str, *, kind: str, allow_bad: bool, test_only: bool = False
) -> tuple[Items, tuple[str, ...]]:
    """Return labelled items of data in any form that a task takes, and the names of the classes.

    Args:
        data: Folder, table, or ``zoo:digits``; whatever parts it has are taken together.
        kind: What the items must be.
        test_only: Take the test part alone, where the data say which it is.
        allow_bad: Go on when more than 1 % of the items are unreadable.

    Raises:
        DataError: The data cannot be used, or are of another kind.
    """
    rows, where = read_rows(data, Columns(), None)
    if rows.kind != kind:
        raise DataError(
            f"it holds {rows.kind}s, {kind}s are needed. Give labelled {kind}s.",
            where=where,
        )
    if test_only and "test" in rows.parts:
        rows.keep([i for i, part in enumerate(rows.parts) if part == "test"])
    inspection = inspect_rows(rows, allow_bad=allow_bad, where=where)
    classes = class_names(rows, where)
    index = {name: i for i, name in enumerate(classes)}
    labels = np.array([index[name] for name in rows.labels], np.int64)
    digests = tuple(one.digest for one in inspection.seen)
    return Items(rows.kind, rows.inputs, labels, tuple(rows.ids), digests), classes
