"""Tables of texts or of image paths: CSV, TSV, Parquet, JSONL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from regraft.errors import DataError, did_you_mean
from regraft.tasks.images import SUFFIXES
from regraft.tasks.intake.rows import PART_NAMES, Columns, Part, Rows

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet", ".jsonl", ".ndjson"})

_LABEL_NAMES = ("label", "labels", "class", "target", "category", "sentiment", "y")
_INPUT_NAMES = ("text", "sentence", "review", "content", "image", "path", "file", "filename")
_PART_COLUMNS = ("split", "part", "subset", "fold")
_MOST_NUMERIC_CLASSES = 1000
_SAMPLE = 200


def read_parts_folder(folder: Path, columns: Columns) -> Rows:
    """Read a folder with files named train, dev or val, and test.

    Raises:
        DataError: There is no train file, or a file cannot be read.
    """
    files = {
        PART_NAMES[p.stem.lower()]: p
        for p in sorted(folder.iterdir())
        if p.suffix.lower() in TABLE_SUFFIXES and p.stem.lower() in PART_NAMES
    }
    if "train" not in files:
        raise DataError(
            "no images in it and no train file (train.csv, .tsv, .parquet or .jsonl). Give a folder "
            "with a folder of images per class, or with train and test files.",
            where=str(folder),
        )
    rows: Rows | None = None
    for part, file in files.items():
        one = read_table_file(file, columns, part=part)
        if rows is None:
            rows = one
        else:
            rows.extend(one)
    if rows is None:
        raise AssertionError("there is a train file")
    return rows


def read_table_file(
    path: Path, columns: Columns, *, part: Part = "", need_labels: bool = True
) -> Rows:
    """Read one table.

    Raises:
        DataError: It cannot be read, or its columns cannot be told.
    """
    frame = _frame(path)
    if frame.empty:
        raise DataError("the table has no rows.", where=str(path))
    lines = 1 if path.suffix.lower() in (".jsonl", ".ndjson") else 2
    return rows_of_frame(
        frame, path, columns, part=part, first_line=lines, need_labels=need_labels
    )


def rows_of_frame(
    frame: pd.DataFrame,
    path: Path,
    columns: Columns,
    *,
    part: Part,
    first_line: int,
    need_labels: bool,
) -> Rows:
    """Return the rows of a table whose columns are named or guessed.

    Raises:
        DataError: A column named is not there, or none can be guessed; labels are missing.
    """
    names = [str(c) for c in frame.columns]
    notes: list[str] = []
    label = _named(names, columns.label, path, "label")
    if label is None and need_labels:
        label = _guess(names, _LABEL_NAMES)
        if label is None:
            raise DataError(
                f"no column of labels among {', '.join(names)}. Name it with --label.",
                where=str(path),
            )
        notes.append(f"labels guessed to be in column {label!r}")
    taken = {label, columns.group, columns.time, *_PART_COLUMNS}
    given = _named(names, columns.input, path, "input")
    source = given or _guess_input(frame, [n for n in names if n not in taken], path)
    if given is None:
        notes.append(f"inputs guessed to be in column {source!r}")
    values = frame[source].tolist()
    rows = Rows("image" if _are_image_paths(values) else "text")
    rows.inputs = _inputs(values, rows.kind, path)
    rows.ids = [f"{path.name}:{i + first_line}" for i in range(len(frame))]
    rows.labels = _labels(frame, label, rows.ids) if label is not None else []
    rows.parts = [part] * len(frame)
    column = None if part else _guess(names, _PART_COLUMNS)
    if column is not None and set(frame[column].astype(str).str.lower()) <= set(PART_NAMES):
        rows.parts = [PART_NAMES[v.lower()] for v in frame[column].astype(str)]
        notes.append(f"parts taken from column {column!r}")
    group = _named(names, columns.group, path, "group")
    rows.groups = frame[group].astype(str).tolist() if group else []
    time = _named(names, columns.time, path, "time")
    rows.times = _times(frame[time], path, time) if time else []
    rows.notes = notes
    return rows


def _frame(path: Path) -> pd.DataFrame:
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return pd.read_parquet(path)
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start} is not UTF-8. Save the file as UTF-8.", where=str(path)
        ) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"cannot be read ({error}). Save it again.", where=str(path)) from error
    if suffix in (".jsonl", ".ndjson"):
        return _jsonl(text, path)
    return _delimited(text, path, "\t" if suffix == ".tsv" else ",")


def _delimited(text: str, path: Path, delimiter: str) -> pd.DataFrame:
    import csv
    import io

    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(
            f"not a well-formed table ({error}). Quote texts that hold quotes or line breaks.",
            where=str(path),
        ) from error
    lines = [line for line in lines if line]
    if not lines:
        raise DataError("the file is empty.", where=str(path))
    header, body = lines[0], lines[1:]
    if len(set(header)) < len(header):
        raise DataError("two columns have the same name. Rename one.", where=str(path))
    for number, line in enumerate(body, start=2):
        if len(line) != len(header):
            raise DataError(
                f"{len(line)} fields instead of {len(header)}. Quote texts that hold the delimiter.",
                where=f"{path}, row {number}",
            )
    return pd.DataFrame(body, columns=header, dtype=object)


def _jsonl(text: str, path: Path) -> pd.DataFrame:
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"not JSON ({error.msg}). Write one object a line.", where=f"{path}, line {number}"
            ) from error
        if not isinstance(record, dict):
            raise DataError("not an object. Write one object a line.", where=f"{path}, line {number}")
        records.append(record)
    return pd.DataFrame(records, dtype=object)


def _labels(frame: pd.DataFrame, label: str, ids: list[str]) -> list[str]:
    column = frame[label]
    texts = column.astype(str).str.strip()
    missing = column.isna() | (texts == "") | texts.isin(["nan", "None"])
    if missing.any():
        first = int(missing.to_numpy().argmax())
        raise DataError(
            f"{int(missing.sum())} of {len(frame)} labels are missing. Fill them in or remove the rows.",
            where=f"{ids[first]}, column {label!r}",
        )
    numbers = pd.to_numeric(column, errors="coerce")
    distinct = int(texts.nunique())
    if distinct == len(frame) and len(frame) > 1:
        raise DataError(
            f"every row has a label of its own ({distinct} labels), so it is not a class. Name the "
            "right column with --label.",
            where=f"{ids[0].partition(':')[0]}, column {label!r}",
        )
    if not numbers.isna().any() and distinct > min(_MOST_NUMERIC_CLASSES, len(frame) // 2):
        raise DataError(
            f"{distinct} different numbers: this is a quantity, not a class. Name the right column "
            "with --label, or bin it.",
            where=f"{ids[0].partition(':')[0]}, column {label!r}",
        )
    whole = not numbers.isna().any() and bool((numbers % 1 == 0).all())
    return numbers.astype("int64").astype(str).tolist() if whole else texts.tolist()


def _inputs(values: list[Any], kind: str, path: Path) -> list[Any]:
    if kind == "image":
        return [(path.parent / str(value)) for value in values]
    return ["" if value is None or value != value else str(value) for value in values]


def _are_image_paths(values: list[Any]) -> bool:
    sample = [str(v) for v in values[:_SAMPLE]]
    return all(Path(v).suffix.lower() in SUFFIXES and "\n" not in v for v in sample)


def _named(names: list[str], given: str | None, path: Path, what: str) -> str | None:
    if given is not None and given not in names:
        raise DataError(
            f"there is no column {given!r} for the {what}.{did_you_mean(given, names)}",
            where=str(path),
        )
    return given


def _guess(names: list[str], usual: tuple[str, ...]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[one] for one in usual if one in lower), None)


def _guess_input(frame: pd.DataFrame, names: list[str], path: Path) -> str:
    usual = _guess(names, _INPUT_NAMES)
    if usual is not None:
        return usual
    texts = {n: frame[n].head(_SAMPLE) for n in names}
    lengths = {
        n: float(v.astype(str).str.len().mean())
        for n, v in texts.items()
        if v.map(lambda one: isinstance(one, str)).all()
    }
    if not lengths:
        raise DataError(
            f"no column of texts or image paths among {', '.join(map(str, frame.columns))}. Name it "
            "with --input.",
            where=str(path),
        )
    return max(lengths, key=lambda n: lengths[n])


def _times(column: pd.Series[Any], path: Path, name: str) -> list[Any]:
    numbers = pd.to_numeric(column, errors="coerce")
    if not numbers.isna().any():
        return numbers.astype(float).tolist()
    dates = pd.to_datetime(column, errors="coerce", utc=True)
    if dates.isna().any():
        row = int(dates.isna().to_numpy().argmax())
        raise DataError(
            f"{column.iloc[row]!r} is neither a number nor a date. Mend it.",
            where=f"{path}, row {row + 2}, column {name!r}",
        )
    return [float(stamp.timestamp()) for stamp in dates]
