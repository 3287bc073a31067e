"""Data from Python: lists, numpy arrays, a `datasets` folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.errors import DataError
from regraft.tasks.intake.rows import PART_NAMES, Columns, Part, Rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.tasks.items import InputKind

Pair = tuple["Sequence[Any]", "Sequence[Any]"]


def read_pair(pair: Pair, kind: InputKind | None, *, part: Part = "", name: str = "item") -> Rows:
    """Return the rows of (inputs, labels).

    Raises:
        DataError: Lengths differ, values are NaN, or the inputs are of no known kind.
    """
    inputs, labels = pair
    if len(inputs) != len(labels):
        raise DataError(
            f"{len(inputs)} inputs and {len(labels)} labels. Give one label per input.", where=name
        )
    if not len(inputs):
        raise DataError("there are no items.", where=name)
    rows = Rows(kind or guess_kind(inputs))
    rows.inputs = _inputs(inputs, rows.kind, name)
    rows.labels = [_label(label, f"{name} {i}") for i, label in enumerate(labels)]
    rows.ids = [f"{name} {i}" for i in range(len(inputs))]
    rows.parts = [part] * len(inputs)
    return rows


def read_parts(parts: Mapping[str, Pair], kind: InputKind | None) -> Rows:
    """Return the rows of ``{"train": (x, y), "test": (x, y)}``.

    Raises:
        DataError: A part has an unknown name, or train is missing.
    """
    unknown = [name for name in parts if name.lower() not in PART_NAMES]
    if unknown or "train" not in parts:
        raise DataError(
            f"parts are named train, validation and test, not {', '.join(map(str, parts))}.",
            where="data",
        )
    rows = read_pair(parts["train"], kind, part="train", name="train")
    for name, pair in parts.items():
        if name != "train":
            rows.extend(read_pair(pair, rows.kind, part=PART_NAMES[name.lower()], name=name))
    return rows


def read_datasets_folder(folder: Path, columns: Columns) -> Rows:
    """Read a folder that `datasets` saved to disk.

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
    loaded = datasets.load_from_disk(str(folder))
    parts = loaded if isinstance(loaded, dict) else {"": loaded}
    rows: Rows | None = None
    for name, part in parts.items():
        one = _dataset_rows(part, columns, PART_NAMES.get(name.lower(), ""), folder)
        if rows is None:
            rows = one
        else:
            rows.extend(one)
    if rows is None:
        raise DataError("it has no parts.", where=str(folder))
    return rows


def guess_kind(inputs: Sequence[Any]) -> InputKind:
    """Return the kind of Python inputs: texts, images (paths, uint8 arrays), or float arrays."""
    first = inputs[0]
    if isinstance(first, Path):
        return "image"
    if isinstance(first, str):
        from regraft.tasks.images import SUFFIXES

        some = [str(one) for one in inputs[:50]]
        return "image" if all(Path(one).suffix.lower() in SUFFIXES for one in some) else "text"
    array = np.asarray(first)
    return "image" if array.dtype == np.uint8 and array.ndim in (2, 3) else "array"


def _inputs(inputs: Sequence[Any], kind: InputKind, name: str) -> list[Any]:
    if kind == "text":
        wrong = next((i for i, one in enumerate(inputs) if not isinstance(one, str)), None)
        if wrong is not None:
            raise DataError(f"not a text but {type(inputs[wrong]).__name__}.", where=f"{name} {wrong}")
        return list(inputs)
    if kind == "image":
        return [Path(one) if isinstance(one, str) else one for one in inputs]
    arrays = []
    for i, one in enumerate(inputs):
        try:
            array = np.asarray(one, np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(f"not an array of numbers ({error}).", where=f"{name} {i}") from error
        if not np.isfinite(array).all():
            raise DataError(
                "it holds NaN or infinity. Replace these values or remove the item.",
                where=f"{name} {i}",
            )
        if arrays and array.shape != arrays[0].shape:
            raise DataError(
                f"shape {array.shape}, others have {arrays[0].shape}. All must agree.",
                where=f"{name} {i}",
            )
        arrays.append(array)
    return arrays


def _label(label: Any, where: str) -> str:
    if label is None or (isinstance(label, float | np.floating) and not np.isfinite(label)):
        raise DataError("its label is missing. Fill it in or remove the item.", where=where)
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return str(label)


def _dataset_rows(part: Any, columns: Columns, name: Part, folder: Path) -> Rows:
    from regraft.tasks.intake.table import rows_of_frame

    features = part.features
    images = [c for c, f in features.items() if type(f).__name__ == "Image"]
    label = columns.label or next((c for c in ("label", "labels") if c in features), None)
    names = getattr(features.get(label), "names", None) if label else None
    if images:
        if label is None:
            raise DataError("no column of labels. Name it with --label.", where=str(folder))
        pictures = [np.asarray(one.convert("RGB")) for one in part[images[0]]]
        rows = read_pair((pictures, part[label]), "image", part=name, name=name or "row")
    else:
        frame = part.to_pandas()
        rows = rows_of_frame(
            frame, folder, columns, part=name, first_line=0, need_labels=True
        )
        rows.ids = [f"{name or 'row'} {i}" for i in range(len(frame))]
    if names:
        rows.labels = [names[int(one)] for one in rows.labels]
    return rows
