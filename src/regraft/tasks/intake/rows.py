"""What every reader returns: rows, not yet looked into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from regraft.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.tasks.items import InputKind

Part = Literal["", "train", "validation", "test"]

PART_NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns the user named; None is guessed."""

    input: str | None = None
    label: str | None = None
    group: str | None = None
    time: str | None = None
    report_by: tuple[str, ...] = ()


@dataclass(slots=True)
class Rows:
    """Items as read.

    Attributes:
        kind: ``image``, ``text`` or ``array``.
        inputs: Paths, texts or arrays.
        labels: Class names; empty where inputs have none.
        ids: Where each comes from.
        parts: Which part each belongs to; empty where the data has no parts.
        groups: Group of each, or empty; times: time of each, or empty.
        notes: What was guessed.
        label_column: Where the labels were found; empty where folders say them.
        columns: The columns of a table, as named or guessed.
        subgroups: By column to report by, the value of each item.
        metadata: The values of its other columns, by name; None where a part has no such column.
    """

    kind: InputKind
    inputs: list[Any] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    times: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    label_column: str = ""
    columns: Columns = field(default_factory=Columns)
    subgroups: dict[str, list[str]] = field(default_factory=dict)
    metadata: dict[str, list[Any]] = field(default_factory=dict)

    def extend(self, other: Rows) -> None:
        """Add the rows of another part of the same data.

        Raises:
            DataError: They are of another kind, or have other columns to report by.
        """
        if other.kind != self.kind and self.inputs and other.inputs:
            raise DataError(
                f"these are {other.kind}s, those of other parts are {self.kind}s. Give one kind.",
                where=other.ids[0],
            )
        if self.subgroups.keys() != other.subgroups.keys():
            raise DataError(
                f"results are reported by {', '.join(sorted(other.subgroups)) or 'no column'} here "
                f"and by {', '.join(sorted(self.subgroups)) or 'no column'} in other parts. Give "
                "the same columns with every part.",
                where=other.ids[0],
            )
        for column, values in self.subgroups.items():
            values += other.subgroups[column]
        for name in {**self.metadata, **other.metadata}:
            mine = self.metadata.setdefault(name, [None] * len(self.ids))
            mine += other.metadata.get(name, [None] * len(other.ids))
        self.inputs += other.inputs
        self.labels += other.labels
        self.ids += other.ids
        self.parts += other.parts
        self.groups += other.groups
        self.times += other.times
        self.notes += [note for note in other.notes if note not in self.notes]

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only the rows named."""
        self.inputs = [self.inputs[i] for i in rows]
        self.ids = [self.ids[i] for i in rows]
        self.labels = [self.labels[i] for i in rows] if self.labels else []
        self.parts = [self.parts[i] for i in rows]
        self.groups = [self.groups[i] for i in rows] if self.groups else []
        self.times = [self.times[i] for i in rows] if self.times else []
        self.subgroups = {
            column: [values[i] for i in rows] for column, values in self.subgroups.items()
        }
        self.metadata = {name: [values[i] for i in rows] for name, values in self.metadata.items()}
