"""Versions of the schema, and the steps between them.

A new ledger is made at the newest version; an older one is brought there step by step. The version
stands in a table of its own, so that a ledger from a newer regraft is refused, not misread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, Integer, MetaData, Table, delete, insert, inspect, select

from regraft.errors import LedgerError
from regraft.ledger.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

_versions = Table("schema_version", MetaData(), Column("version", Integer, nullable=False))

STEPS: tuple[Callable[[Connection], None], ...] = ()
"""Step i leads from version i + 1 to version i + 2. Released steps never change."""

VERSION = 1 + len(STEPS)
"""The newest version."""


def is_present(connection: Connection, *, where: str) -> bool:
    """Return whether a ledger is of the newest version.

    Raises:
        LedgerError: It was written by a newer regraft, or is no ledger.
    """
    return _version(connection, where=where, newest=VERSION) == VERSION


def migrate(
    connection: Connection,
    *,
    where: str,
    steps: Sequence[Callable[[Connection], None]] = STEPS,
) -> None:
    """Bring a ledger to the newest version, or make it; all within the caller's transaction.

    Args:
        connection: Of a transaction that writes.
        where: The database's path.
        steps: What leads from each version, the first on, to the next.

    Raises:
        LedgerError: It was written by a newer regraft, or is no ledger.
    """
    newest = 1 + len(steps)
    found = _version(connection, where=where, newest=newest)
    if found == newest:
        return
    if found == 0:
        _versions.create(connection, checkfirst=True)
        metadata.create_all(connection)
    else:
        for step in steps[found - 1 :]:
            step(connection)
    connection.execute(delete(_versions))
    connection.execute(insert(_versions).values(version=newest))


def _version(connection: Connection, *, where: str, newest: int) -> int:
    """Return the version of a ledger; 0 where there is nothing yet."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return 0
    if "schema_version" not in tables:
        raise LedgerError(
            f"this database is not a ledger (it has {', '.join(sorted(tables)[:3])}). Choose "
            "another folder with --home.",
            where=where,
        )
    found = connection.execute(select(_versions.c.version)).scalar()
    if not isinstance(found, int) or found < 0:
        raise LedgerError(
            f"the ledger is damaged (its version is {found!r}). Restore it from a backup, or start "
            "a new one with --home.",
            where=where,
        )
    if found > newest:
        raise LedgerError(
            f"the ledger has schema version {found}, this regraft knows {newest}. Update regraft, "
            "or use another ledger with --home.",
            where=where,
        )
    return found
