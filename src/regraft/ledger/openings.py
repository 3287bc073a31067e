"""How often sealed test parts were opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from sqlalchemy import func, insert, select

from regraft.ledger.database import now
from regraft.ledger.schema import openings

if TYPE_CHECKING:
    from regraft.ledger.database import Database


@final
class Openings:
    """How often sealed parts were opened: once by each study."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, sealed: str, study: str) -> int:
        """Record that a study opens a sealed part.

        Returns:
            How many studies have opened it, this one included.
        """
        here = (openings.c.sealed == sealed, openings.c.study == study)
        with self._database.writing() as connection:
            if not connection.execute(select(openings.c.study).where(*here)).first():
                values = {"sealed": sealed, "study": study, "at": now()}
                connection.execute(insert(openings).values(**values))
            count = select(func.count()).where(openings.c.sealed == sealed)
            return int(connection.execute(count).scalar_one())
