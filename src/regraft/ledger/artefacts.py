"""Artefacts: bytes under the digest of their content, written whole or not at all."""

from __future__ import annotations

import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, final

from filelock import FileLock, Timeout

from regraft.errors import LedgerError
from regraft.hashing import digest_bytes, digest_file
from regraft.ledger.durability import complaint, sync_file, sync_folder, write_file
from regraft.ledger.locks import acquire
from regraft.ledger.tensors import write_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from regraft.ledger.references import References

_PATIENCE_SECONDS = 120.0


@final
class Artefacts:
    """A folder of files named by their SHA-256.

    Laws: `put` returns only when the bytes are on disk under their name; `get` returns just the
    bytes that were put, or raises; several processes may use one folder at once.
    """

    def __init__(self, root: Path, references: References, *, lock: Path) -> None:
        self._root, self._references = root, references
        self._lock = FileLock(lock, timeout=_PATIENCE_SECONDS)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every process from freeing artefacts; hold it from `put` until the digest is noted.

        Raises:
            LedgerError: Another process holds it for long, or the folder cannot be written.
        """
        try:
            acquire(self._lock)
        except Timeout as error:
            raise LedgerError(
                "the ledger is busy with another process. Try again.", where=str(self._root)
            ) from error
        try:
            yield
        finally:
            self._lock.release()

    def put(self, data: bytes) -> str:
        """Store bytes and return their digest; what stands damaged under it is mended.

        Raises:
            LedgerError: The disk is full or the folder cannot be written.
        """
        digest = digest_bytes(data)
        path = self._path(digest)
        with self.held():
            try:
                if not path.exists() or digest_file(path) != digest:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_file(path, data)
                    sync_folder(path.parent)
            except OSError as error:
                raise LedgerError(complaint(error), where=str(path.parent)) from error
        return digest

    def put_tensors(self, tensors: Mapping[str, Any]) -> str:
        """Store tensors, as `pack` packs them, and return their digest.

        They go to the disk as they are: what a checkpoint holds is not held in memory twice.

        Raises:
            LedgerError: The disk is full or the folder cannot be written.
        """
        with self.held():
            part = self._root / "new" / "part"
            shutil.rmtree(part.parent, ignore_errors=True)  # what a process that died left
            try:
                part.parent.mkdir(parents=True)
                write_tensors(part, tensors)
                sync_file(part)
                digest = digest_file(part)
                path = self._path(digest)
                path.parent.mkdir(exist_ok=True)
                part.replace(path)
                sync_folder(path.parent)
            except OSError as error:
                shutil.rmtree(part.parent, ignore_errors=True)
                raise LedgerError(complaint(error), where=str(part.parent)) from error
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes of a digest.

        Raises:
            LedgerError: They are not there, or are damaged (then they are set aside).
        """
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise LedgerError(
                f"an artefact is missing ({error.strerror}). Run the study again.", where=str(path)
            ) from error
        if digest_bytes(data) != digest:
            with suppress(OSError):
                path.replace(path.with_name(f"{path.name}.damaged"))
            raise LedgerError(
                "the artefact was damaged (its digest differs) and is set aside. Run the study "
                "again.",
                where=str(path),
            )
        return data

    def has(self, digest: str) -> bool:
        """Return whether there is an artefact of a digest; its content is not looked at."""
        return self._path(digest).is_file()

    def drop(self, digest: str | None) -> None:
        """Delete an artefact, unless something refers to it."""
        if digest is None:
            return
        with self.held():
            if digest not in self._references:
                with suppress(OSError):  # what stays is freed by the next `collect`
                    self._path(digest).unlink(missing_ok=True)

    def collect(self) -> int:
        """Delete every artefact that nothing refers to; return the bytes freed.

        Raises:
            LedgerError: The folder cannot be written.
        """
        freed = 0
        with self.held():
            used = self._references.all()
            for path in self._root.glob("*/*"):
                if path.parent.name + path.name in used:
                    continue
                try:
                    size = path.stat().st_size
                    path.unlink()
                except OSError as error:
                    raise LedgerError(complaint(error), where=str(path)) from error
                freed += size
        return freed

    def _path(self, digest: str) -> Path:
        return self._root / digest[:2] / digest[2:]
