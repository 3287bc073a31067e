"""Versions of the schema, and the steps between them.

A step is a function of a connection; version n is reached by applying steps 1 … n in order. The version
stands in a table of its own, so that a ledger from a newer regraft is refused, not misread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, Integer, MetaData, Table, insert, inspect, select, text, update

from regraft.errors import LedgerError
from regraft.ledger.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

_versions = Table("schema_version", MetaData(), Column("version", Integer, nullable=False))


def _first(connection: Connection) -> None:
    metadata.create_all(connection)


STEPS: tuple[Callable[[Connection], None], ...] = (_first,)
"""Step i leads from version i to version i + 1. Released steps never change."""

VERSION = len(STEPS)


def migrate(connection: Connection, *, where: str) -> None:
    """Bring a ledger to the present version.

    Raises:
        LedgerError: It was written by a newer regraft.
    """
    if not inspect(connection).has_table("schema_version"):
        _versions.create(connection)
        connection.execute(insert(_versions).values(version=0))
    found = connection.execute(select(_versions.c.version)).scalar_one()
    if found > VERSION:
        raise LedgerError(
            f"it has schema version {found}, this regraft knows {VERSION}. Update regraft, or use "
            "another ledger with --home.",
            where=where,
        )
    for step in STEPS[found:]:
        step(connection)
    if found < VERSION:
        connection.execute(update(_versions).values(version=VERSION))


def version_of(connection: Connection) -> int:
    """Return the version of a ledger."""
    return int(connection.execute(text("SELECT version FROM schema_version")).scalar_one())
