"""The success criterion, clause by clause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft.report.words import Cell, Table, score_cell, score_text, score_title

if TYPE_CHECKING:
    from collections.abc import Mapping


def target_table(record: Mapping[str, Any]) -> Table | None:
    """Return each clause of the target, what was measured, and whether it is met; or None."""
    target = record.get("target")
    if not target:
        return None
    rows = tuple(
        (Cell(one["text"]), score_cell(one), Cell(_says(one), score_title(one)))
        for one in target["clauses"]
    )
    return Table(("Target", "Sealed test", "It is"), rows, frozenset({1}))


def target_lines(record: Mapping[str, Any]) -> list[str]:
    """Return the clauses of the target as lines for a terminal."""
    clauses = (record.get("target") or {}).get("clauses", ())
    return [f"target: {one['text']}: {score_text(one)}, {_says(one)}" for one in clauses]


def _says(clause: Mapping[str, Any]) -> str:
    """Return the words of a clause; older records hold its status alone."""
    return str(clause.get("says") or clause["status"].replace("_", " "))
