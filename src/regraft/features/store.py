"""Arrays per item, on disk, memory-mapped; written whole or not at all.

An entry is one file: a header of one JSON line padded to 4,096-byte steps, then the flat values of all
items end to end. The header holds the items' shapes and the checksum of the values, and is written last
into its place, so that a torn entry has no valid header and is built again.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, final

import numpy as np

from regraft.errors import LedgerError
from regraft.hashing import digest_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_ALIGN = 4096
_FORMAT = 1


class ItemArrays(Protocol):
    """Arrays by item."""

    def __len__(self) -> int:
        """Return the number of items."""
        ...

    def gather(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        """Return copies of the arrays of some items."""
        ...

    def lengths(self) -> np.ndarray[Any, Any]:
        """Return each item's number of values, shape (n,)."""
        ...


@final
class ArrayStore:
    """Read-only arrays by item, memory-mapped from one file."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self._dtype = np.dtype(header["dtype"])
        self._shapes: list[tuple[int, ...]] = [tuple(shape) for shape in header["shapes"]]
        sizes = [int(np.prod(shape)) for shape in self._shapes]
        self._offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        total = int(self._offsets[-1])
        self._values: np.ndarray[Any, Any]
        if total:
            self._values = np.memmap(
                path, self._dtype, mode="r", offset=int(header["start"]), shape=(total,)
            )
        else:
            self._values = np.empty(0, self._dtype)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._shapes)

    def __getitem__(self, row: int) -> np.ndarray[Any, Any]:
        """Return a copy of an item's array."""
        start, stop = self._offsets[row], self._offsets[row + 1]
        return np.array(self._values[start:stop]).reshape(self._shapes[row])

    def gather(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        """Return copies of the arrays of some items."""
        return [self[int(row)] for row in rows]

    def lengths(self) -> np.ndarray[Any, Any]:
        """Return each item's number of values, shape (n,)."""
        return np.diff(self._offsets)

    def matrix(self) -> np.ndarray[Any, Any]:
        """Return all items as one array (n, …), still on disk; all must have one shape."""
        if not self._shapes:
            return np.empty((0, 0), self._dtype)
        return self._values.reshape(len(self), *self._shapes[0])


@final
class Cache:
    """A folder of stored arrays. It may be deleted at any time: what is missing is built again."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def array_store(
        self,
        key: dict[str, Any],
        n: int,
        produce: Callable[[], Iterable[Sequence[np.ndarray[Any, Any]]]],
    ) -> ArrayStore:
        """Open the entry of a key, or build it.

        Args:
            key: All that the values depend on, plain JSON.
            n: Number of items.
            produce: Yields the items' arrays in order, a batch at a time, all of one dtype.

        Raises:
            LedgerError: The disk is full or the folder cannot be written.
        """
        path = self._root / f"{digest_json(key)[:32]}.arrays"
        header = _valid_header(path, n)
        if header is None:
            self._build(path, key, produce)
            header = _valid_header(path, n)
            if header is None:
                raise AssertionError(f"{path}: built with another number of items than {n}")
        return ArrayStore(path, header)

    def clear(self) -> int:
        """Delete all entries; return the bytes that this frees."""
        freed = self.size_bytes()
        shutil.rmtree(self._root, ignore_errors=True)
        return freed

    def size_bytes(self) -> int:
        """Return the bytes of all entries."""
        return sum(p.stat().st_size for p in self._root.glob("*") if p.is_file())

    def _build(
        self,
        path: Path,
        key: dict[str, Any],
        produce: Callable[[], Iterable[Sequence[np.ndarray[Any, Any]]]],
    ) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._root, suffix=".part")
            temporary = Path(name)
            try:
                with os.fdopen(handle, "w+b") as file, tempfile.TemporaryFile(dir=self._root) as spool:
                    _write(file, spool, key, produce())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise LedgerError(
                f"the cache cannot be written: {error.strerror or error}. Free space there, or move "
                "the ledger with --home.",
                where=str(self._root),
            ) from error


def _write(
    file: IO[bytes],
    spool: IO[bytes],
    key: dict[str, Any],
    batches: Iterable[Sequence[np.ndarray[Any, Any]]],
) -> None:
    """Spool the values while their shapes are not known, then write header and values."""
    shapes: list[list[int]] = []
    checksum, dtype = 0, ""
    for batch in batches:
        for array in batch:
            data = np.ascontiguousarray(array)
            dtype = dtype or data.dtype.str
            if data.dtype.str != dtype:
                raise AssertionError(f"items of dtypes {dtype} and {data.dtype.str}")
            raw = data.tobytes()
            checksum = zlib.crc32(raw, checksum)
            shapes.append(list(data.shape))
            spool.write(raw)
    header = {
        "format": _FORMAT,
        "dtype": dtype or "<f4",
        "checksum": checksum,
        "bytes": spool.tell(),
        "key": key,
        "shapes": shapes,
    }
    text = json.dumps(header).encode()
    start = -(-(len(text) + 64) // _ALIGN) * _ALIGN
    file.write(f"{start:<20d}{zlib.crc32(text):<20d}\n".encode() + text)
    file.write(b" " * (start - file.tell()))
    spool.seek(0)
    shutil.copyfileobj(spool, file, 1 << 20)
    file.flush()
    os.fsync(file.fileno())


_VERIFIED: set[tuple[str, int, int]] = set()


def _valid_header(path: Path, n: int) -> dict[str, Any] | None:
    """Return the header of a whole, uncorrupted entry of n items, else None."""
    try:
        with path.open("rb") as file:
            first = file.readline(64)
            start, check = int(first[:20]), int(first[20:40])
            text = file.read(start - len(first)).rstrip(b" ")
            if zlib.crc32(text) != check:
                return None
            header: dict[str, Any] = json.loads(text)
            status = path.stat()
            mark = (str(path), status.st_mtime_ns, status.st_size)
            if mark not in _VERIFIED:
                if not _values_match(file, header, status.st_size - start):
                    return None
                _VERIFIED.add(mark)
    except (OSError, ValueError):
        return None
    header["start"] = start
    return header if header["format"] == _FORMAT and len(header["shapes"]) == n else None


def _values_match(file: IO[bytes], header: dict[str, Any], size: int) -> bool:
    if size != header["bytes"]:
        return False
    checksum = 0
    while chunk := file.read(1 << 22):
        checksum = zlib.crc32(chunk, checksum)
    return checksum == int(header["checksum"])
