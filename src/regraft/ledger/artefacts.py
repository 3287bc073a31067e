"""Artefacts: bytes under the digest of their content, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, final

from regraft.errors import LedgerError
from regraft.hashing import digest_bytes

if TYPE_CHECKING:
    from collections.abc import Callable


@final
class Artefacts:
    """A folder of files named by their SHA-256.

    Laws: `put` returns only when the bytes are on disk under their name; `get` returns just the bytes
    that were put, or raises; two processes may put the same bytes at once.
    """

    def __init__(self, root: Path, in_use: Callable[[], set[str]]) -> None:
        self._root, self._in_use = root, in_use

    def put(self, data: bytes) -> str:
        """Store bytes and return their digest.

        Raises:
            LedgerError: The disk is full or the folder cannot be written.
        """
        digest = digest_bytes(data)
        path = self._path(digest)
        if path.exists():
            return digest
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise LedgerError(
                f"cannot be written: {error.strerror or error}. Free space there (regraft clean), or "
                "move the ledger with --home.",
                where=str(path.parent),
            ) from error
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes of a digest.

        Raises:
            LedgerError: They are not there, or are damaged.
        """
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise LedgerError(
                f"an artefact is missing ({error.strerror}). Run the study again.", where=str(path)
            ) from error
        if digest_bytes(data) != digest:
            raise LedgerError(
                "the artefact is damaged (its digest differs). Delete it and run the study again.",
                where=str(path),
            )
        return data

    def drop(self, digest: str | None) -> None:
        """Delete an artefact that nothing refers to any more."""
        if digest is not None and digest not in self._in_use():
            self._path(digest).unlink(missing_ok=True)

    def collect(self) -> int:
        """Delete every artefact that nothing refers to; return the bytes freed."""
        used, freed = self._in_use(), 0
        for path in self._root.glob("*/*"):
            if path.suffix == ".part" or path.parent.name + path.name not in used:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def _path(self, digest: str) -> Path:
        return self._root / digest[:2] / digest[2:]
