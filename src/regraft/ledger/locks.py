"""Locks between processes. The system lets go of them when the holder ends, however it ends."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from regraft.errors import LedgerError, LockedError
from regraft.ledger.durability import complaint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def study_lock(folder: Path, study: str) -> Iterator[None]:
    """Hold a study for this process.

    Raises:
        LockedError: Another process holds it; the message names it.
        LedgerError: The folder cannot be written.
    """
    named = folder / f"{study}.pid"
    lock = FileLock(folder / f"{study}.lock", timeout=0)
    try:
        acquire(lock)
    except Timeout as error:
        raise LockedError(
            f"another process{_process(named)} is running this study. Wait for it, or stop it.",
            where=f"study {study}",
        ) from error
    try:
        with suppress(OSError):  # the number only helps the one who waits
            named.write_text(str(os.getpid()), encoding="ascii")
        yield
    finally:
        with suppress(OSError):
            named.unlink(missing_ok=True)
        lock.release()


def acquire(lock: FileLock) -> None:
    """Take a lock within its timeout, its folder made if need be.

    Raises:
        Timeout: Another process holds it.
        LedgerError: The folder cannot be written.
    """
    path = lock.lock_file
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120  # plain text path
        lock.acquire()
    except Timeout:
        raise
    except OSError as error:
        raise LedgerError(complaint(error), where=str(path)) from error


def _process(named: Path) -> str:
    """Return `` (process 123)`` where the holder's number can be read."""
    try:
        number = named.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return f" (process {number})" if number.isdigit() else ""
