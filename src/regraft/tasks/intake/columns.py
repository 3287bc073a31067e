"""Which column holds the inputs, the labels, the parts: named by the user, or guessed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from regraft.errors import DataError, did_you_mean
from regraft.tasks.images import SUFFIXES
from regraft.tasks.intake.rows import PART_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from regraft.tasks.items import InputKind

_LABEL_NAMES = (
    *("label", "labels", "class", "target", "category", "sentiment", "class_name", "label_name"),
    *("label_text", "species", "emotion", "intent", "topic", "y"),
)
_INPUT_NAMES = (
    *("text", "sentence", "review", "content", "image", "image_path", "path", "filepath"),
    *("file", "filename", "file_name", "img"),
)
_PART_NAMES = ("split", "part", "subset", "fold")
_SAMPLE = 200


def named_column(frame: pd.DataFrame, given: str | None, where: str, what: str) -> str | None:
    """Return the column that the user named for `what`, or None.

    Raises:
        DataError: There is no such column.
    """
    if given is not None and given not in frame.columns:
        raise DataError(
            f"there is no column {given!r} for the {what}.{did_you_mean(given, frame.columns)}",
            where=where,
        )
    return given


def label_column(frame: pd.DataFrame, source: str, taken: set[str | None], where: str) -> str:
    """Return the column that most likely holds the labels.

    One with a usual name, else the only one whose values repeat.

    Raises:
        DataError: There is none.
    """
    names = [name for name in frame.columns if name not in taken and name != source]
    usual = _usual(names, _LABEL_NAMES)
    if usual is not None:
        return usual
    repeating = [name for name in names if frame[name].astype(str).nunique() <= len(frame) // 2]
    if len(repeating) == 1:
        return repeating[0]
    raise DataError(
        f"no column of labels among {', '.join(frame.columns)}. Name it with --label.", where=where
    )


def input_column(
    frame: pd.DataFrame, taken: set[str | None], kind: InputKind | None, where: str
) -> str:
    """Return the column that most likely holds texts or image paths.

    One with a usual name, else the one with the longest texts.

    Raises:
        DataError: There is none.
    """
    names = [
        name
        for name in frame.columns
        if name not in taken and all(isinstance(v, str) for v in frame[name].head(_SAMPLE).dropna())
    ]
    if kind == "image":
        names = [name for name in names if are_image_paths(frame[name].tolist())]
    usual = _usual(names, _INPUT_NAMES)
    if usual is not None:
        return usual
    names = [name for name in names if name.lower() not in _LABEL_NAMES] or names
    if not names:
        what = "image paths" if kind == "image" else "texts or image paths"
        raise DataError(
            f"no column of {what} among {', '.join(frame.columns)}. Name it with --input.",
            where=where,
        )
    lengths = {
        name: float(frame[name].head(_SAMPLE).astype(str).str.len().mean()) for name in names
    }
    return max(lengths, key=lambda name: lengths[name])


def part_column(frame: pd.DataFrame, taken: set[str | None]) -> str | None:
    """Return the column that says which part each row belongs to, or None."""
    column = _usual([name for name in frame.columns if name not in taken], _PART_NAMES)
    if column is None:
        return None
    values = set(frame[column].astype(str).str.lower())
    return column if values <= set(PART_NAMES) else None


def are_image_paths(values: Sequence[object]) -> bool:
    """Whether most of the first values end as image files do."""
    sample = [str(value) for value in values[:_SAMPLE]]
    ends = [Path(v).suffix.lower() in SUFFIXES and "\n" not in v for v in sample if len(v) < 4096]
    return 2 * sum(ends) > len(sample)


def _usual(names: list[str], usual: tuple[str, ...]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[one] for one in usual if one in lower), None)
