"""Items: inputs with their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, final, overload

import numpy as np

from regraft.errors import DataError
from regraft.hashing import digest_bytes, digest_file
from regraft.tasks.images import decode, quiet_pillow

InputKind = Literal["image", "text", "array"]


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """Some items of one kind.

    Attributes:
        kind: ``image``, ``text`` or ``array``.
        inputs: Images as paths, pixels (uint8, (H, W, …)) or encoded files (uint8, one axis);
            texts; float arrays.
        labels: Class indices, shape (n,), int64; −1 where there is none.
        ids: Where each item comes from: ``train/ants/3.jpg``, ``train.csv:12``.
        digests: Digest of each item's content.
        groups: What must not straddle parts, or None; times: when, or None.
        subgroups: By column that results are reported by, the value of each item. No model sees it.
    """

    kind: InputKind
    inputs: Sequence[Any]
    labels: np.ndarray[Any, Any]
    ids: tuple[str, ...]
    digests: tuple[str, ...]
    groups: np.ndarray[Any, Any] | None = None
    times: np.ndarray[Any, Any] | None = None
    subgroups: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.ids)

    def subset(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> Items:
        """Return some items, in the order of `rows`."""
        rows = np.asarray(rows, np.int64)
        return Items(
            self.kind,
            [self.inputs[row] for row in rows],
            self.labels[rows],
            tuple(self.ids[row] for row in rows),
            tuple(self.digests[row] for row in rows),
            None if self.groups is None else self.groups[rows],
            None if self.times is None else self.times[rows],
            {column: values[rows] for column, values in self.subgroups.items()},
        )

    def without_labels(self) -> Items:
        """Return the items, their labels −1."""
        return replace(self, labels=np.full(len(self), -1, np.int64))

    def read(self, row: int) -> Any:
        """Return an item's decoded input: uint8 RGB (H, W, 3), a text, or a float32 array.

        Raises:
            DataError: The image cannot be read any more.
        """
        value = self.inputs[row]
        if self.kind == "image":
            with quiet_pillow():
                return decode(value)[0]
        return value if self.kind == "text" else np.asarray(value, np.float32)


@final
class Decoded(Sequence[Any]):
    """The decoded inputs of some items, each read when it is asked for."""

    def __init__(self, items: Items, rows: np.ndarray[Any, Any]) -> None:
        self._items, self._rows = items, rows

    def __len__(self) -> int:
        """Return the number of inputs."""
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> Decoded: ...
    def __getitem__(self, place: int | slice) -> Any:
        """Return an input, or some of them."""
        if isinstance(place, slice):
            return Decoded(self._items, self._rows[place])
        return self._items.read(int(self._rows[place]))


def items_from(inputs: Sequence[Any], kind: str) -> Items:
    """Return unlabelled items of texts, image paths, decoded images, or arrays."""
    ids = tuple(
        str(one) if isinstance(one, str | Path) and kind == "image" else f"item {i}"
        for i, one in enumerate(inputs)
    )
    if kind == "image":
        inputs = [Path(one) if isinstance(one, str) else one for one in inputs]
    digests = tuple(digest_input(one) for one in inputs)
    labels = np.full(len(ids), -1, np.int64)
    return Items(_kind(kind), list(inputs), labels, ids, digests)


def digest_input(value: Any) -> str:
    """Return a short digest of an input's content: a file's bytes, a text, an array.

    Raises:
        DataError: The file cannot be read.
    """
    if isinstance(value, Path):
        try:
            return digest_file(value)[:32]
        except OSError as error:
            raise DataError(
                f"cannot be read ({error.strerror}). Check the path.", where=str(value)
            ) from error
    if isinstance(value, str):
        return digest_bytes(value.encode())[:32]
    array = np.ascontiguousarray(value)
    return digest_bytes(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())[:32]


def _kind(kind: str) -> InputKind:
    if kind == "image":
        return "image"
    return "text" if kind == "text" else "array"
