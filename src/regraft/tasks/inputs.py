"""Inputs without labels, to predict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import DataError
from regraft.tasks.images import SUFFIXES
from regraft.tasks.intake.delimited import TABLE_SUFFIXES
from regraft.tasks.intake.folder import list_images
from regraft.tasks.intake.inspection import inspect_rows
from regraft.tasks.intake.rows import Columns, Rows
from regraft.tasks.intake.table import read_table_file
from regraft.tasks.items import InputKind, Items

if TYPE_CHECKING:
    from pathlib import Path


def read_inputs(path: Path, *, kind: str, column: str | None, allow_bad: bool) -> Items:
    """Return the items of a table, an image, or a folder of images, labels −1.

    Raises:
        DataError: There is nothing of the kind the graft takes, or too much cannot be read.
    """
    if not path.exists():
        raise DataError("there is no such file or folder. Check the path.", where=str(path))
    if path.is_dir():
        rows = _image_rows(list_images(path), path)
    elif path.suffix.lower() in SUFFIXES:
        rows = _image_rows([path], path.parent)
    elif path.suffix.lower() in TABLE_SUFFIXES:
        rows = read_table_file(path, Columns(input=column), need_labels=False)
    else:
        raise DataError(
            f"files of kind {path.suffix or '(none)'} cannot be read. Give an image, a folder of "
            f"images, or {', '.join(sorted(TABLE_SUFFIXES))}.",
            where=str(path),
        )
    if not rows.inputs:
        raise DataError("there are no images in it.", where=str(path))
    if rows.kind != kind:
        raise DataError(f"it holds {rows.kind}s, the graft takes {kind}s.", where=str(path))
    inspection = inspect_rows(rows, allow_bad=allow_bad, where=str(path))
    return Items(
        _kind(kind),
        rows.inputs,
        np.full(len(rows.inputs), -1, np.int64),
        tuple(rows.ids),
        tuple(one.digest for one in inspection.seen),
    )


def _image_rows(files: list[Path], root: Path) -> Rows:
    rows = Rows("image")
    rows.inputs = list(files)
    rows.ids = [file.relative_to(root).as_posix() for file in files]
    rows.parts = [""] * len(files)
    return rows


def _kind(kind: str) -> InputKind:
    return "image" if kind == "image" else "text"
