"""A folder that the package `datasets` saved to disk."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.errors import DataError
from regraft.tasks.intake.rows import PART_NAMES, Columns, Part, Rows
from regraft.tasks.intake.table import rows_of_frame

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.tasks.items import InputKind


def is_saved(folder: Path) -> bool:
    """Whether `datasets` saved the folder."""
    if (folder / "dataset_dict.json").is_file():
        return True
    return (folder / "dataset_info.json").is_file() and (folder / "state.json").is_file()


def read_saved(folder: Path, columns: Columns, kind: InputKind | None) -> Rows:
    """Read a folder that `datasets` saved to disk. Images stay encoded until they are needed.

    Raises:
        DataError: The package is not installed, or the columns cannot be told.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            "a folder saved by the package datasets; install regraft[datasets] to read it.",
            where=str(folder),
        ) from error
    try:
        loaded = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"cannot be read ({error}). Save it again.", where=str(folder)) from error
    if not isinstance(loaded, dict):
        return _rows(loaded, columns, kind, name="", folder=folder)
    parts = {PART_NAMES.get(name.lower(), ""): name for name in loaded}
    if "train" not in parts or len(parts) < len(loaded):
        raise DataError(
            f"its parts are {', '.join(loaded)}. Name them train, validation and test.",
            where=str(folder),
        )
    name = parts.pop("train")
    rows = _rows(loaded[name], columns, kind, name=name, folder=folder)
    for name in parts.values():
        rows.extend(_rows(loaded[name], rows.columns, rows.kind, name=name, folder=folder))
    return rows


def _rows(part: Any, columns: Columns, kind: InputKind | None, *, name: str, folder: Path) -> Rows:
    """Return the rows of one part."""
    import datasets

    where = f"{folder}, {name}" if name else str(folder)
    features = part.features
    pictures = [c for c, feature in features.items() if isinstance(feature, datasets.Image)]
    picture = columns.input if columns.input in pictures else next(iter(pictures), None)
    if columns.input not in (None, picture) or kind == "text":
        picture = None
    source, encoded = columns, []
    if picture is not None:
        encoded = _encoded(part, picture, datasets.Image(decode=False))
        part = part.remove_columns(pictures).add_column(
            "image", [f"{i}.png" for i in range(len(part))]
        )
        source, kind = replace(columns, input="image"), "image"
    elif pictures:
        part = part.remove_columns(pictures)
    rows = rows_of_frame(part.to_pandas(), source, kind, where=where)
    if picture is not None:
        rows.inputs = encoded
        rows.columns = replace(columns, input=picture, label=rows.label_column)
    names = getattr(features[rows.label_column], "names", None)  # only ClassLabel has names
    if names:
        rows.labels = [names[int(label)] for label in rows.labels]
    rows.ids = [f"{name or 'row'} {i}" for i in range(len(rows.ids))]
    rows.parts = [_part(name)] * len(rows.ids) if name else rows.parts
    return rows


def _part(name: str) -> Part:
    return PART_NAMES[name.lower()]


def _encoded(part: Any, picture: str, feature: Any) -> list[Any]:
    """Return each image as a path or as the bytes of its file (uint8, one axis)."""
    from pathlib import Path

    undecoded = part.select_columns([picture]).cast_column(picture, feature)
    inputs: list[Any] = []
    for one in undecoded[picture]:
        value = one or {"bytes": b"", "path": None}
        is_file = value["bytes"] is None and value["path"]
        inputs.append(
            Path(value["path"]) if is_file else np.frombuffer(value["bytes"] or b"", np.uint8)
        )
    return inputs
