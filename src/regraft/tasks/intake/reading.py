"""Which reader reads what the user gave."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regraft.config.study import EMBEDDED, IN_MEMORY
from regraft.errors import DataError
from regraft.tasks.intake.arrays import is_pair, read_pair, read_parts
from regraft.tasks.intake.delimited import TABLE_SUFFIXES
from regraft.tasks.intake.embedded import embedded
from regraft.tasks.intake.folder import class_folders, read_image_folder
from regraft.tasks.intake.rows import PART_NAMES, Columns, Rows
from regraft.tasks.intake.saved import is_saved, read_saved
from regraft.tasks.intake.table import read_parts_folder, read_table_file
from regraft.tasks.items import InputKind


def read_rows(data: Any, columns: Columns, kind: InputKind | None) -> tuple[Rows, str]:
    """Return the rows of data in any form, and where they come from.

    Args:
        data: A path, ``zoo:digits``, (inputs, labels), or {"train": (inputs, labels), "test": …};
            (inputs, labels, {column: groups}) also says what results are reported by.
        columns: Columns that the user named.
        kind: What the items are, if the user said so.

    Raises:
        DataError: The data cannot be used as it is.
    """
    if isinstance(data, str) and data.startswith(EMBEDDED):
        return read_parts(embedded(data.removeprefix(EMBEDDED)), kind), data
    if isinstance(data, str | Path):
        path = Path(data).expanduser()
        try:
            rows = read_path(path, columns, kind)
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"cannot be read ({reason}). Check it.", where=str(path)) from error
        if kind is not None and rows.kind != kind:
            raise DataError(
                f"it holds {rows.kind}s, not {kind}s. Leave the kind out, or give other data.",
                where=str(path),
            )
        return rows, str(path)
    if isinstance(data, Mapping):
        return read_parts(data, kind), IN_MEMORY
    if is_pair(data):
        return read_pair(data, kind), IN_MEMORY
    raise DataError(
        f"data of type {type(data).__name__}. Give a path, (inputs, labels), or "
        "{'train': (inputs, labels), …}.",
        where="data",
    )


def read_path(path: Path, columns: Columns, kind: InputKind | None = None) -> Rows:
    """Return the rows of a folder or file.

    Raises:
        DataError: It does not exist, is empty, or is of no known form.
    """
    if not path.exists():
        raise DataError("there is no such file or folder. Check the path.", where=str(path))
    if path.is_file():
        if path.suffix.lower() not in TABLE_SUFFIXES:
            raise DataError(
                f"files of kind {path.suffix or '(none)'} cannot be read. Give "
                f"{', '.join(sorted(TABLE_SUFFIXES))}, or a folder.",
                where=str(path),
            )
        return read_table_file(path, columns, kind)
    if not any(path.iterdir()):
        raise DataError("the folder is empty. Give one that holds data.", where=str(path))
    if is_saved(path):
        return read_saved(path, columns, kind)
    tables = [p for p in path.iterdir() if p.suffix.lower() in TABLE_SUFFIXES]
    if any(p.stem.lower() in PART_NAMES for p in tables):
        return read_parts_folder(path, columns, kind)
    if len(tables) == 1 and len(class_folders(path)) < 2:  # a table beside its folder of images
        return read_table_file(tables[0], columns, kind)
    if tables and not class_folders(path):
        return read_parts_folder(path, columns, kind)
    if columns != Columns():
        raise DataError(
            "columns are named, but it is a folder of images, which has none. Leave them out.",
            where=str(path),
        )
    return read_image_folder(path)
