"""One database, its errors turned into sentences."""

from __future__ import annotations

import sqlite3
import weakref
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, final

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from regraft.errors import LedgerError
from regraft.ledger.migrations import is_present, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine

_BUSY_SECONDS = 60.0
_UNWRITABLE = (
    "the ledger cannot be written. Make its folder writable, or choose another with --home."
)
_FULL = (
    "the ledger cannot be written: the disk is full or fails. Free space there (regraft clean), or "
    "move the ledger with --home."
)
_DAMAGED = (
    "the ledger is damaged. Restore it from a backup, or start a new one with --home; the "
    "artefacts beside it are untouched."
)
_BUSY = "the ledger is busy with another process. Try again."
_SENTENCES = {
    sqlite3.SQLITE_READONLY: _UNWRITABLE,
    sqlite3.SQLITE_PERM: _UNWRITABLE,
    sqlite3.SQLITE_CANTOPEN: _UNWRITABLE,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: _FULL,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
}
"""By SQLite's primary result code."""


@final
class Database:
    """SQLite in WAL mode.

    Laws: what was done within `writing` is on disk, all of it, when it ends, or none of it ever is;
    two writers wait for each other, readers wait for nobody.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = create_engine(
            f"sqlite:///{path}", connect_args={"timeout": _BUSY_SECONDS, "isolation_level": None}
        )
        self._writer = self._engine.execution_options(is_writing=True)
        event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "begin", _begin)
        self._closing = weakref.finalize(self, self._engine.dispose)
        try:
            self._bring_up()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the ledger.

        Raises:
            LedgerError: The database is damaged or cannot be opened.
        """
        with self._transaction(self._engine) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection that alone writes; commit at the end, roll back on any error.

        Raises:
            LedgerError: The database is read-only, damaged, busy for long, or the disk is full.
        """
        with self._transaction(self._writer) as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._closing()

    def _bring_up(self) -> None:
        where = str(self._path)
        with self.reading() as connection:
            if is_present(connection, where=where):
                return
        with self.writing() as connection:
            migrate(connection, where=where)

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except (IntegrityError, ProgrammingError, DataError):
            raise  # a mistake of ours, not of the user's disk
        except DBAPIError as error:
            raise LedgerError(_sentence(error.orig), where=str(self._path)) from error
        except sqlite3.Error as error:  # from `_configure`, which SQLAlchemy does not wrap
            raise LedgerError(_sentence(error), where=str(self._path)) from error


def now() -> str:
    """Return the time now, UTC, in ISO form; microseconds keep the order of what is made."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _configure(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """Begin as a writer at once: one that reads first could not wait for another to end."""
    is_writing = connection.get_execution_options().get("is_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _sentence(error: BaseException | None) -> str:
    # errors that Python's module raises itself (text that is not UTF-8) carry no code
    code = getattr(error, "sqlite_errorcode", None)
    known = None if code is None else _SENTENCES.get(code & 0xFF)
    return known or f"the ledger cannot be read ({error}). Restore it, or choose another (--home)."
