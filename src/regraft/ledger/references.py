"""What of the artefacts is in use: every column that holds a digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from sqlalchemy import select

from regraft.ledger.schema import runs, studies

if TYPE_CHECKING:
    from regraft.ledger.database import Database

_COLUMNS = (studies.c.record, runs.c.arrays, runs.c.state, runs.c.checkpoint_state)


@final
class References:
    """The digests that rows of the database refer to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __contains__(self, digest: str) -> bool:
        """Return whether a row refers to an artefact."""
        with self._database.reading() as connection:
            return any(
                connection.execute(select(column).where(column == digest).limit(1)).first()
                for column in _COLUMNS
            )

    def all(self) -> set[str]:
        """Return every digest that a row refers to."""
        with self._database.reading() as connection:
            found = [connection.execute(select(column)).scalars().all() for column in _COLUMNS]
        return {digest for column in found for digest in column if digest is not None}
