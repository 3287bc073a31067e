"""Tables of texts or of image paths: CSV, TSV, Parquet, JSONL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from regraft.errors import DataError
from regraft.tasks.intake.columns import (
    are_image_paths,
    input_column,
    label_column,
    named_column,
    part_column,
)
from regraft.tasks.intake.delimited import TABLE_SUFFIXES, read_frame
from regraft.tasks.intake.rows import PART_NAMES, Columns, Part, Rows
from regraft.tasks.intake.subgroups import check_apart, subgroup_names

if TYPE_CHECKING:
    from regraft.tasks.items import InputKind


def read_parts_folder(folder: Path, columns: Columns, kind: InputKind | None) -> Rows:
    """Read a folder with files named train, dev or val, and test; columns as train has them.

    Raises:
        DataError: There is no train file, or two of a part, or a file cannot be read.
    """
    files: dict[Part, Path] = {}
    for path in sorted(folder.iterdir()):
        part = PART_NAMES.get(path.stem.lower(), "")
        if path.suffix.lower() not in TABLE_SUFFIXES or not part:
            continue
        if part in files:
            raise DataError(
                f"both {files[part].name} and {path.name} are the {part} part. Keep one.",
                where=str(folder),
            )
        files[part] = path
    if "train" not in files:
        raise DataError(
            "no images in it and no train file (train.csv, .tsv, .parquet or .jsonl). Give a "
            "folder with a folder of images per class, or with train and test files.",
            where=str(folder),
        )
    rows = read_table_file(files.pop("train"), columns, kind, part="train")
    for part, path in files.items():
        rows.extend(read_table_file(path, rows.columns, rows.kind, part=part))
    return rows


def read_table_file(
    path: Path,
    columns: Columns,
    kind: InputKind | None = None,
    *,
    part: Part = "",
    need_labels: bool = True,
) -> Rows:
    """Read one table.

    Raises:
        DataError: It cannot be read, or its columns cannot be told.
    """
    frame = read_frame(path)
    rows = rows_of_frame(frame, columns, kind, where=str(path), need_labels=need_labels)
    rows.ids = [f"{path.name}:{line}" for line in frame.index]
    if part:
        rows.parts = [part] * len(frame)
    if rows.kind == "image":
        rows.inputs = [path.parent / str(one) for one in rows.inputs]
    return rows


def rows_of_frame(
    frame: pd.DataFrame,
    columns: Columns,
    kind: InputKind | None,
    *,
    where: str,
    need_labels: bool = True,
) -> Rows:
    """Return the rows of a table whose columns are named or guessed; image paths stay strings.

    Raises:
        DataError: A column named is not there, or none can be guessed; labels are missing.
    """
    if kind == "array":
        raise DataError(
            "a table holds texts or image paths, not arrays. Give arrays from Python.", where=where
        )
    notes: list[str] = []
    group = named_column(frame, columns.group, where, "groups")
    time = named_column(frame, columns.time, where, "times")
    label = named_column(frame, columns.label, where, "labels")
    source = named_column(frame, columns.input, where, "inputs")
    for name in columns.report_by:
        named_column(frame, name, where, "groups to report by")
    parts = part_column(frame, {group, time, label, source})
    taken = {group, time, label, parts, *columns.report_by}
    if source is None:
        source = input_column(frame, taken, kind, where)
        notes.append(f"inputs guessed to be in column {source!r}")
    if label is None and need_labels:
        label = label_column(frame, source, taken, where)
        notes.append(f"labels guessed to be in column {label!r}")
    check_apart(columns.report_by, {source, label}, where)
    values = frame[source].tolist()
    rows = Rows(kind or ("image" if are_image_paths(values) else "text"))
    rows.inputs = ["" if _is_missing(value) else str(value) for value in values]
    rows.ids = [f"row {line}" for line in frame.index]
    rows.labels = _labels(frame[label], where) if label is not None else []
    rows.label_column = label or ""
    rows.parts = [""] * len(frame)
    if parts is not None:
        rows.parts = [PART_NAMES[value.lower()] for value in frame[parts].astype(str)]
        notes.append(f"parts taken from column {parts!r}")
    rows.groups = _groups(frame[group], where) if group else []
    rows.times = _times(frame[time], where) if time else []
    rows.subgroups = {name: subgroup_names(frame[name].tolist()) for name in columns.report_by}
    rows.columns = Columns(source, label, group, time, columns.report_by)
    others = [name for name in frame.columns if name not in {source, label, group, time, parts}]
    rows.metadata = {name: frame[name].tolist() for name in others}
    rows.notes = notes
    return rows


def _labels(column: pd.Series[Any], where: str) -> list[str]:
    texts = column.astype(str).str.strip()
    missing = column.isna() | (texts == "") | (texts.str.lower() == "nan")
    _refuse_missing(missing, "labels", where, str(column.name))
    # 3.0 is what 3 becomes in a file or a column that had gaps.
    return texts.str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True).tolist()


def _groups(column: pd.Series[Any], where: str) -> list[str]:
    texts = column.astype(str).str.strip()
    _refuse_missing(column.isna() | (texts == ""), "groups", where, str(column.name))
    return texts.tolist()


def _refuse_missing(missing: pd.Series[bool], what: str, where: str, name: str) -> None:
    if missing.any():
        first = missing.index[int(missing.to_numpy().argmax())]
        count = int(missing.sum())
        raise DataError(
            f"{count} of {len(missing)} {what} {'are' if count > 1 else 'is'} missing. Fill them "
            "in or remove the rows.",
            where=f"{where}, line {first}, column {name!r}",
        )


def _times(column: pd.Series[Any], where: str) -> list[float]:
    """Return times as numbers: as they are, or seconds since 1970."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    is_date = pd.api.types.is_datetime64_any_dtype(column)
    if np.isfinite(numbers).all() and not is_date:
        return [float(number) for number in numbers]
    dates = pd.to_datetime(column, errors="coerce", utc=True, format=None if is_date else "mixed")
    wrong = dates.isna()
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise DataError(
            f"{str(column.iloc[row])!r} is neither a number nor a date. Mend it.",
            where=f"{where}, line {column.index[row]}, column {column.name!r}",
        )
    return [float(stamp.timestamp()) for stamp in dates]


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))
