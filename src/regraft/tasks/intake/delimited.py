"""CSV, TSV, JSONL and Parquet files as frames whose index is the line of the file."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from regraft.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

JSON_SUFFIXES = frozenset({".jsonl", ".ndjson"})
TABLE_SUFFIXES = JSON_SUFFIXES | {".csv", ".tsv", ".parquet"}

_LONGEST_FIELD = 1 << 27


def read_frame(path: Path) -> pd.DataFrame:
    """Return the table in a file; its index is the line in the file (Parquet: the row from 1).

    Raises:
        DataError: It is not UTF-8, not well formed, or empty.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            frame = pd.read_parquet(path)
            frame.index = pd.RangeIndex(1, len(frame) + 1)
        else:
            text = path.read_bytes().decode("utf-8-sig")
            frame = (
                _from_json_lines(text, path) if suffix in JSON_SUFFIXES else _delimited(text, path)
            )
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start} is not UTF-8. Save the file as UTF-8.", where=str(path)
        ) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"cannot be read ({error}). Save it again.", where=str(path)) from error
    if frame.empty:
        raise DataError("the table has no rows. Add some.", where=str(path))
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise DataError("two columns have the same name. Rename one.", where=str(path))
    frame.columns = pd.Index(names)
    return frame


def _delimited(text: str, path: Path) -> pd.DataFrame:
    """Read CSV or TSV. TSV in the wild often holds quotation marks that quote nothing."""
    if path.suffix.lower() == ".csv":
        first = text.partition("\n")[0]
        return _records(text, path, ";" if ";" in first and "," not in first else ",")
    try:
        return _records(text, path, "\t")
    except DataError:
        return _records(text, path, "\t", is_quoted=False)


def _records(text: str, path: Path, delimiter: str, *, is_quoted: bool = True) -> pd.DataFrame:
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE,
        strict=True,
    )
    header: list[str] | None = None
    records, lines = [], []
    limit = csv.field_size_limit(_LONGEST_FIELD)
    before = 0
    try:
        for record in reader:
            line, before = before + 1, reader.line_num
            if not record:
                continue
            header = header or record
            if len(record) != len(header):
                raise DataError(
                    f"{len(record)} fields instead of {len(header)}. Quote texts that hold the "
                    "delimiter.",
                    where=f"{path}, line {line}",
                )
            records.append(record)
            lines.append(line)
    except csv.Error as error:
        raise DataError(
            f"not a well-formed table ({error}). Quote texts that hold quotes or line breaks.",
            where=f"{path}, line {before + 1}",
        ) from error
    finally:
        csv.field_size_limit(limit)
    return pd.DataFrame(records[1:], columns=header, index=lines[1:], dtype=object)


def _from_json_lines(text: str, path: Path) -> pd.DataFrame:
    records: list[dict[str, Any]] = []
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"not JSON ({error}). Write one object a line.", where=where) from error
        if not isinstance(record, dict):
            raise DataError("not an object. Write one object a line.", where=where)
        records.append(record)
        lines.append(number)
    return pd.DataFrame(records, index=lines, dtype=object)
