"""Data from Python: lists, numpy arrays, pandas columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from regraft.errors import DataError
from regraft.tasks.intake.columns import are_image_paths
from regraft.tasks.intake.rows import PART_NAMES, Part, Rows
from regraft.tasks.intake.subgroups import subgroup_names

if TYPE_CHECKING:
    from regraft.tasks.items import InputKind

Pair = tuple[Any, Any] | tuple[Any, Any, Mapping[str, Any]]

_IMAGE_AXES = (2, 3)
_NUMBERS = "biuf"


def read_pair(pair: Pair, kind: InputKind | None, *, part: Part = "", name: str = "item") -> Rows:
    """Return the rows of (inputs, labels), or (inputs, labels, {column: a group of each item}).

    Raises:
        DataError: Lengths differ, values are NaN, or the inputs are of no known kind.
    """
    inputs, labels = _sequence(pair[0], f"{name} inputs"), _sequence(pair[1], f"{name} labels")
    if len(inputs) != len(labels):
        raise DataError(
            f"{len(inputs)} inputs and {len(labels)} labels. Give one label per input.", where=name
        )
    if not len(inputs):
        raise DataError("there are no items. Give some.", where=name)
    rows = Rows(kind or guess_kind(inputs))
    rows.inputs = _inputs(inputs, rows.kind, name)
    rows.labels = [_label(label, f"{name} {i}") for i, label in enumerate(labels)]
    rows.label_column = "labels"
    rows.ids = [f"{name} {i}" for i in range(len(inputs))]
    rows.parts = [part] * len(inputs)
    rows.subgroups = _subgroups(pair[2], len(inputs), name) if len(pair) == 3 else {}
    return rows


def read_parts(parts: Mapping[Any, Pair], kind: InputKind | None) -> Rows:
    """Return the rows of ``{"train": (x, y), "test": (x, y)}``.

    Raises:
        DataError: A part has an unknown name, or train is missing.
    """
    names = {str(name): PART_NAMES.get(str(name).lower(), "") for name in parts}
    if "train" not in names or not all(names.values()):
        raise DataError(
            f"parts are named train, validation and test, not {', '.join(names) or 'nothing'}.",
            where="data",
        )
    for name, pair in parts.items():
        if not is_pair(pair):
            raise DataError(
                "give a part as (inputs, labels) or (inputs, labels, {column: groups}).",
                where=str(name),
            )
    rows = read_pair(parts["train"], kind, part="train", name="train")
    for name, pair in parts.items():
        if name != "train":
            rows.extend(read_pair(pair, rows.kind, part=names[str(name)], name=str(name)))
    return rows


def is_pair(value: object) -> bool:
    """Whether it is (inputs, labels), or (inputs, labels, {column: groups})."""
    if not isinstance(value, tuple):
        return False
    return len(value) == 2 or (len(value) == 3 and isinstance(value[2], Mapping))


def guess_kind(inputs: Sequence[Any] | np.ndarray[Any, Any]) -> InputKind:
    """Return the kind of Python inputs.

    Texts; images: paths, integer arrays (H, W) or (H, W, C); or arrays: other numbers.
    """
    first = inputs[0]
    if isinstance(first, Path):
        return "image"
    if isinstance(first, str):
        return "image" if are_image_paths(list(inputs[:200])) else "text"
    array = np.asarray(first)
    return "image" if array.dtype.kind in "iu" and array.ndim in _IMAGE_AXES else "array"


def _sequence(values: Any, where: str) -> Sequence[Any] | np.ndarray[Any, Any]:
    if isinstance(values, pd.Series | pd.DataFrame):
        values = values.to_numpy()
    if isinstance(values, np.ndarray) and values.ndim:
        return values
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return values
    raise DataError(f"a {type(values).__name__} is no list and no array. Give one.", where=where)


def _subgroups(columns: Mapping[str, Any], n: int, name: str) -> dict[str, list[str]]:
    found = {}
    for column, values in columns.items():
        listed = _sequence(values, f"{name} {column}")
        if len(listed) != n:
            raise DataError(
                f"{len(listed)} values for {n} items. Give one per input.", where=f"{name} {column}"
            )
        found[str(column)] = subgroup_names(list(listed))
    return found


def _inputs(inputs: Sequence[Any] | np.ndarray[Any, Any], kind: InputKind, name: str) -> list[Any]:
    if kind == "text":
        wrong = next((i for i, one in enumerate(inputs) if not isinstance(one, str)), None)
        if wrong is not None:
            what = type(inputs[wrong]).__name__
            raise DataError(
                f"not a text but {what}. Give strings, or name the kind.", where=f"{name} {wrong}"
            )
        return [str(one) for one in inputs]
    if kind == "image":
        return _images(inputs, name)
    arrays: list[np.ndarray[Any, Any]] = []
    for i, one in enumerate(inputs):
        array = _finite(one, f"{name} {i}").astype(np.float32)
        if arrays and array.shape != arrays[0].shape:
            raise DataError(
                f"shape {array.shape}, others have {arrays[0].shape}. All must agree.",
                where=f"{name} {i}",
            )
        arrays.append(array)
    return arrays


def _images(inputs: Sequence[Any] | np.ndarray[Any, Any], name: str) -> list[Any]:
    """Return paths and uint8 arrays; other numbers are scaled alike in all images."""
    images = [
        Path(one) if isinstance(one, str | Path) else _finite(one, f"{name} {i}")
        for i, one in enumerate(inputs)
    ]
    peaks = [float(one.max(initial=0)) for one in images if isinstance(one, np.ndarray)]
    scale = next((s for s in (1.0, 255.0, 4095.0, 65535.0) if max(peaks, default=0.0) <= s), None)
    scale = scale or max(peaks)
    return [
        one if isinstance(one, Path) or one.dtype == np.uint8 else _to_bytes(one, scale)
        for one in images
    ]


def _to_bytes(array: np.ndarray[Any, Any], scale: float) -> np.ndarray[Any, Any]:
    shares = np.clip(array.astype(np.float64) / scale, 0.0, 1.0)
    return np.round(shares * 255.0).astype(np.uint8)


def _finite(value: Any, where: str) -> np.ndarray[Any, Any]:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"not an array of numbers ({error}).", where=where) from error
    if array.dtype.kind not in _NUMBERS:
        raise DataError(
            f"not an array of numbers but {type(value).__name__}. Give numbers, strings or paths.",
            where=where,
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(
            "it holds NaN or infinity. Replace these values or remove the item.", where=where
        )
    return array


def _label(label: Any, where: str) -> str:
    is_float = isinstance(label, float | np.floating)
    if label is None or label is pd.NA or (is_float and not np.isfinite(label)) or label == "":
        raise DataError("its label is missing. Fill it in or remove the item.", where=where)
    if isinstance(label, list | tuple | np.ndarray):
        raise DataError("it has several labels. Give one per input.", where=where)
    return str(int(label)) if is_float and float(label).is_integer() else str(label)
