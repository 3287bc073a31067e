"""One database, its errors turned into sentences."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, final

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from regraft.errors import LedgerError
from regraft.ledger.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

_BUSY_SECONDS = 30.0


@final
class Database:
    """SQLite in WAL mode; every `transaction` is on disk when it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = create_engine(
            f"sqlite:///{path}", connect_args={"timeout": _BUSY_SECONDS}, pool_pre_ping=False
        )
        event.listen(self._engine, "connect", _configure)
        with self.transaction() as connection:
            migrate(connection, where=str(path))

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection; commit at the end, roll back on any error.

        Raises:
            LedgerError: The database is read-only, damaged, locked for long, or the disk is full.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except (OperationalError, DatabaseError) as error:
            raise LedgerError(_sentence(str(error.orig)), where=str(self._path)) from error
        except SQLAlchemyError as error:
            raise LedgerError(f"cannot be used ({error}).", where=str(self._path)) from error

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def now() -> str:
    """Return the time now, UTC, in ISO form to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _configure(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _sentence(message: str) -> str:
    if "readonly" in message or "unable to open" in message:
        return "the ledger cannot be written. Make the folder writable, or choose another with --home."
    if "full" in message or "I/O error" in message:
        return "the disk is full. Free space there (regraft clean), or move the ledger with --home."
    if "malformed" in message or "not a database" in message:
        return (
            "the ledger is damaged. Restore it from a backup, or start a new one with --home; "
            "artefacts beside it are untouched."
        )
    if "locked" in message:
        return "the ledger is busy with another process. Try again."
    return f"cannot be used ({message})."
