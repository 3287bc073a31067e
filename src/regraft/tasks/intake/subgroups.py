"""Columns that results are reported by: which group each item belongs to. No model sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from regraft.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.tasks.intake.rows import Rows

MISSING = "(missing)"
"""The group of items that name none: they are people too."""
MOST_GROUPS = 50


def subgroup_names(values: Sequence[Any]) -> list[str]:
    """Return the group of each item as text; what is missing is a group of its own.

    Example:
        >>> subgroup_names(["a ", None, 3.0, ""])
        ['a', '(missing)', '3', '(missing)']
    """
    return [_name(value) for value in values]


def check_apart(report_by: Sequence[str], used: set[str | None], where: str) -> None:
    """Refuse to report by the column of the labels or of the inputs.

    Raises:
        DataError: One is.
    """
    for column in report_by:
        if column in used:
            raise DataError(
                f"column {column!r} holds the labels or the inputs, so results cannot be reported "
                "by it. Name a column that says who an item is about.",
                where=where,
            )


def settled_report_by(rows: Rows, asked: Sequence[str] | None, where: str) -> list[str] | None:
    """Return the columns that results are reported by, None where there are none; keep only these.

    Args:
        rows: All items.
        asked: Columns that the user named; None takes what came with arrays.
        where: Where the data are, for errors.

    Raises:
        DataError: A column is not there, is named twice, or has too many values or one only.
    """
    names = tuple(rows.subgroups if asked is None else asked)
    for place, column in enumerate(names):
        if column in names[:place]:
            raise DataError(f"column {column!r} is named twice. Name it once.", where="report_by")
        if column not in rows.subgroups:
            near = did_you_mean(column, rows.subgroups)
            raise DataError(
                f"there is no column {column!r} to report by.{near} Columns are those of a table; "
                "beside arrays give them as (inputs, labels, {column: groups}).",
                where=where,
            )
        count = len(set(rows.subgroups[column]))
        if not 2 <= count <= MOST_GROUPS:
            raise DataError(
                f"column {column!r} has {count} value{'s' * (count != 1)}; to report by it, it "
                f"needs 2 to {MOST_GROUPS}. Name another column, or put its values into classes.",
                where=where,
            )
    rows.subgroups = {column: rows.subgroups[column] for column in names}
    return list(names) or None


def _name(value: Any) -> str:
    is_float = isinstance(value, float | np.floating)
    if value is None or value is pd.NA or value is pd.NaT or (is_float and np.isnan(value)):
        return MISSING
    if is_float and float(value).is_integer():
        return str(int(value))
    return str(value).strip() or MISSING
