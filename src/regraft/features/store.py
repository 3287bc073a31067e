"""Arrays per item, on disk, memory-mapped; written whole or not at all.

An entry is one file: the flat values of all items end to end, then one line of JSON with the items'
shapes and the checksum of the values, then the length and checksum of that line. It is written
under a temporary name and renamed, so a torn entry has no valid end; it is built again, as a
damaged one is. Who writes holds a lock on the file: what is half-written without one is nobody's.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
import zlib
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, final

import numpy as np

from regraft.errors import LedgerError, ShapeError
from regraft.features.budget import files_in, make_room, share_of_disk
from regraft.features.mapped import file_of, give_back
from regraft.hashing import digest_json

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    Batches = Generator[Sequence[Sequence[np.ndarray[Any, Any]]]]
    """For some next items, the arrays of each of several entries."""

_FORMAT = 2
_TAIL = 41  # two numbers of 20 characters and a line's end
_HELD_BYTES = 64 << 20
"""Copied between two times that a store gives pages back: an epoch would else hold all of it."""


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
            self._values = np.memmap(path, self._dtype, mode="r", shape=(total,))
        else:
            self._values = np.empty(0, self._dtype)
        self._file, self._copied = file_of(self._values), 0

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._shapes)

    def __getitem__(self, row: int) -> np.ndarray[Any, Any]:
        """Return a copy of an item's array."""
        start, stop = self._offsets[row], self._offsets[row + 1]
        return np.array(self._values[start:stop]).reshape(self._shapes[row])

    def gather(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        """Return copies of the arrays of some items; now and then the pages read are given back."""
        found = [self[int(row)] for row in rows]
        self._copied += sum(one.nbytes for one in found)
        if self._copied > _HELD_BYTES:
            give_back(self._file)
            self._copied = 0
        return found

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
    """A folder of stored arrays. It may be deleted at any time: what is missing is built again.

    When an entry is added and all are larger than the budget, those that were opened longest ago
    go. Who has one open, in this process or another, can read on: the file has lost its name, but
    keeps its place on the disk until the last lets go, and is not counted. A study lets go of what
    it has read when it ends; until then it can take more of the disk than the budget.
    """

    def __init__(self, root: Path, *, most_bytes: int | None = None) -> None:
        """Open the folder.

        Args:
            root: The folder; it is made when the first entry is.
            most_bytes: Budget of all entries; None is a fifth of the disk's free space (what the
                entries take counts as free), 20 GiB at most.
        """
        self._root, self._given = root, most_bytes

    @cached_property
    def most_bytes(self) -> int:
        """The budget of all entries, as it was when this was first asked.

        Where it is not given it falls while other things fill the disk. What goes by this, such as
        whether a prefix is kept, does not change with it in the middle of a study; how many entries
        stay does, by the budget as it is when one is added.
        """
        return self._budget()

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
            ShapeError: What is produced is not n arrays of one dtype.
        """
        (store,) = self.array_stores([key], n, lambda _: ((batch,) for batch in produce()))
        return store

    def array_stores(
        self,
        keys: Sequence[dict[str, Any]],
        n: int,
        produce: Callable[[Sequence[int]], Batches],
    ) -> list[ArrayStore]:
        """Open the entries of some keys; build those that are missing side by side.

        Each is written whole or not at all, and none where producing any of them fails.

        Args:
            keys: As `array_store` takes one; no two are alike.
            n: Number of items of each.
            produce: Takes the places in `keys` of what is missing; yields, for some next items,
                the arrays of each of these entries in turn.

        Raises:
            LedgerError: The disk is full or the folder cannot be written.
            ShapeError: What is produced of an entry is not n arrays of one dtype.
        """
        paths = [self._path(key) for key in keys]
        found = {place: _opened(path, n) for place, path in enumerate(paths)}
        missing = [place for place, store in found.items() if store is None]
        if missing:
            built = self._build([(paths[i], keys[i]) for i in missing], n, produce(missing))
            found |= zip(missing, built, strict=True)
            make_room(self._root, most_bytes=self._budget(), keep=paths[missing[-1]])
        return [store for store in found.values() if store is not None]

    def holds(self, key: dict[str, Any], n: int) -> bool:
        """Whether the entry of a key is there, whole."""
        return _opened(self._path(key), n) is not None

    def clear(self) -> int:
        """Delete all entries but those that are being written; return the bytes that this frees."""
        before = self.size_bytes()
        self._sweep()
        for path in self._root.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix != ".part":
                with suppress(OSError):  # another user's
                    path.unlink()
        return max(0, before - self.size_bytes())

    def size_bytes(self) -> int:
        """Return the bytes of all entries."""
        return sum(size for _, size, _ in files_in(self._root, "*"))

    def _budget(self) -> int:
        return share_of_disk(self._root) if self._given is None else self._given

    def _path(self, key: dict[str, Any]) -> Path:
        return self._root / f"{digest_json(key)[:32]}.arrays"

    def _build(
        self,
        entries: Sequence[tuple[Path, dict[str, Any]]],
        n: int,
        batches: Batches,
    ) -> list[ArrayStore]:
        """Write the entries under temporary names, open them, then rename them all.

        Once open they can be read, whoever deletes them as soon as they have their names.
        """
        with _writing(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            self._sweep()
        with ExitStack() as stack:
            stack.enter_context(closing(batches))  # what it started ends with it
            writers = [stack.enter_context(_new_entry(self._root, key)) for _, key in entries]
            for batch in batches:
                for writer, arrays in zip(writers, batch, strict=True):
                    writer.add(arrays)
            for writer in writers:
                writer.finish(n)
            stores = [_opened(writer.path, n) for writer in writers]
            built = [store for store in stores if store is not None]
            if len(built) < len(writers):
                raise LedgerError(
                    "what was written to the cache cannot be read back. Look at the disk, or move "
                    "the ledger with --home.",
                    where=str(self._root),
                )
            with _writing(self._root):
                for writer, (path, _) in zip(writers, entries, strict=True):
                    writer.path.replace(path)
            return built

    def _sweep(self) -> None:
        """Delete what processes that were killed left half-written.

        Process ids would not tell: those of another container that shares the folder mean nothing.
        """
        for part in self._root.glob("*.part"):
            with suppress(OSError), part.open("rb") as file:  # gone, another user's, or locked
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()


def _note_use(path: Path) -> None:
    """Mark an entry as used now; its time of change stays, by which it is known as verified."""
    changed = path.stat().st_mtime_ns
    with suppress(PermissionError):  # another user's entry can be read all the same
        os.utime(path, ns=(time.time_ns(), changed))


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Say in one sentence what keeps the cache from being written."""
    try:
        yield
    except OSError as error:
        raise LedgerError(
            f"the cache cannot be written ({error.strerror or error}). Free space there, or move "
            "the ledger with --home.",
            where=str(root),
        ) from error


@contextmanager
def _new_entry(root: Path, key: dict[str, Any]) -> Iterator[_Writer]:
    """Open an entry under a temporary name, which is gone at the end unless it was renamed."""
    file, path = _locked_part(root)
    try:
        yield _Writer(path, file, key)
    finally:
        try:
            with _writing(root):  # closing writes what is left; the disk may be full
                file.close()
        finally:
            path.unlink(missing_ok=True)


def _locked_part(root: Path) -> tuple[IO[bytes], Path]:
    with _writing(root):
        while True:
            handle, name = tempfile.mkstemp(dir=root, suffix=".part")
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                return os.fdopen(handle, "wb"), Path(name)
            os.close(handle)  # it was swept away before it was locked


@final
class _Writer:
    """An entry in the making: the values of all items, then their shapes and checksum."""

    def __init__(self, path: Path, file: IO[bytes], key: dict[str, Any]) -> None:
        self.path = path
        self._file, self._key = file, key
        self._shapes: list[list[int]] = []
        self._checksum, self._size, self._dtype = 0, 0, ""

    def add(self, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        """Write the values of some next items."""
        for array in arrays:
            self._dtype = self._dtype or array.dtype.str
            if array.dtype.str != self._dtype:
                raise ShapeError(
                    f"stored items must share a dtype, not {self._dtype} and {array.dtype}."
                )
            raw = array.tobytes()
            self._checksum, self._size = zlib.crc32(raw, self._checksum), self._size + len(raw)
            self._shapes.append(list(array.shape))
            with _writing(self.path.parent):
                self._file.write(raw)

    def finish(self, n: int) -> None:
        """Write shapes and checksum and bring all to the disk.

        Raises:
            ShapeError: Not n items were written.
        """
        if len(self._shapes) != n:
            raise ShapeError(f"{len(self._shapes)} items were produced to be stored, not {n}.")
        header = {
            "format": _FORMAT,
            "dtype": self._dtype or "<f4",
            "checksum": self._checksum,
            "bytes": self._size,
            "key": self._key,
            "shapes": self._shapes,
        }
        text = json.dumps(header).encode()
        with _writing(self.path.parent):
            self._file.write(text + f"{len(text):<20d}{zlib.crc32(text):<20d}\n".encode())
            self._file.flush()
            os.fsync(self._file.fileno())


def _opened(path: Path, n: int) -> ArrayStore | None:
    """Open an entry and mark it as used now; None where it is not there, whole."""
    header = _valid_header(path)
    if header is None or len(header["shapes"]) != n:
        return None
    try:
        store = ArrayStore(path, header)
        _note_use(path)
    except FileNotFoundError:
        return None
    return store


_VERIFIED: set[tuple[int, int, int, int]] = set()


def _valid_header(path: Path) -> dict[str, Any] | None:
    """Return the header of a whole entry, else None; its values are checked once a process."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            file.seek(-_TAIL, os.SEEK_END)
            tail = file.read()
            length, check = int(tail[:20]), int(tail[20:40])
            file.seek(-_TAIL - length, os.SEEK_END)
            text = file.read(length)
            if zlib.crc32(text) != check:
                return None
            header: dict[str, Any] = json.loads(text)
            if header["format"] != _FORMAT or header["bytes"] + length + _TAIL != status.st_size:
                return None
            mark = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            if mark not in _VERIFIED:
                if not _values_match(file, header):
                    return None
                _VERIFIED.add(mark)
    except (OSError, ValueError):
        return None
    return header


def _values_match(file: IO[bytes], header: dict[str, Any]) -> bool:
    file.seek(0)
    checksum, left = 0, int(header["bytes"])
    while left and (chunk := file.read(min(1 << 22, left))):
        checksum, left = zlib.crc32(chunk, checksum), left - len(chunk)
    return checksum == int(header["checksum"])
