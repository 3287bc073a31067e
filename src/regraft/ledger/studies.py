"""Studies in the ledger."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from sqlalchemy import insert, select, update

from regraft.errors import ConfigError, LedgerError
from regraft.ledger.database import now
from regraft.ledger.schema import studies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row

    from regraft.ledger.artefacts import Artefacts
    from regraft.ledger.database import Database

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study: id, name, when it was made, its configuration, wall seconds so far, its verdict."""

    id: str
    name: str
    created: str
    configuration: dict[str, Any]
    seconds: float
    verdict: str | None


@final
class Studies:
    """What the ledger knows of studies."""

    def __init__(self, database: Database, artefacts: Artefacts) -> None:
        self._database, self._artefacts = database, artefacts

    def create(self, study: str, *, name: str, configuration: Mapping[str, Any]) -> None:
        """Write a study down, if it is not there."""
        with self._database.writing() as connection:
            if connection.execute(select(studies.c.id).where(studies.c.id == study)).first():
                return
            connection.execute(
                insert(studies).values(
                    id=study,
                    name=name,
                    created=now(),
                    configuration=dict(configuration),
                    seconds=0.0,
                )
            )

    def get(self, study: str) -> StudyRow:
        """Return a study by its full id.

        Raises:
            ConfigError: There is no such study.
        """
        with self._database.reading() as connection:
            found = connection.execute(select(studies).where(studies.c.id == study)).first()
        if found is None:
            raise ConfigError("there is no such study. List them: regraft studies.", where=study)
        return _row(found)

    def find(self, prefix: str) -> StudyRow:
        """Return the study whose id begins so, or whose name it is.

        Raises:
            ConfigError: None or several fit.
        """
        fits = [s for s in self.all() if s.id.startswith(prefix) or s.name == prefix]
        exact = [s for s in fits if s.id == prefix]
        if len(exact) == 1 or len(fits) == 1:
            return (exact or fits)[0]
        if not fits:
            raise ConfigError("there is no such study. List them: regraft studies.", where=prefix)
        raise ConfigError(
            f"several studies fit: {', '.join(s.id for s in fits[:5])}. Give more of the id.",
            where=prefix,
        )

    def all(self) -> list[StudyRow]:
        """Return every study, newest first."""
        query = select(studies).order_by(studies.c.created.desc(), studies.c.id)
        with self._database.reading() as connection:
            found = connection.execute(query).all()
        return [_row(one) for one in found]

    def elapsed(self, study: str) -> float:
        """Return the wall seconds of a study so far; 0 for one that is not there."""
        with self._database.reading() as connection:
            query = select(studies.c.seconds).where(studies.c.id == study)
            return float(connection.execute(query).scalar() or 0.0)

    def add_seconds(self, study: str, seconds: float) -> None:
        """Add wall seconds to a study."""
        with self._database.writing() as connection:
            connection.execute(
                update(studies)
                .where(studies.c.id == study)
                .values(seconds=studies.c.seconds + seconds)
            )

    def save_record(self, study: str, record: Mapping[str, Any]) -> None:
        """Store the record of a finished study, in place of one before.

        Raises:
            LedgerError: The disk is full or cannot be written; the study then has no record.
        """
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
        query = select(studies.c.record).where(studies.c.id == study)
        with self._artefacts.held():
            digest = self._artefacts.put(text.encode())
            values = {"record": digest, "verdict": record["verdict"]["sentence"]}
            with self._database.writing() as connection:
                before = connection.execute(query).scalar()
                connection.execute(update(studies).where(studies.c.id == study).values(**values))
            self._artefacts.drop(before)

    def record(self, study: str) -> dict[str, Any] | None:
        """Return the record of a finished study; None where there is none, or its file is lost."""
        with self._database.reading() as connection:
            query = select(studies.c.record).where(studies.c.id == study)
            digest = connection.execute(query).scalar()
        if digest is None:
            return None
        try:
            record: dict[str, Any] = json.loads(self._artefacts.get(digest))
        except LedgerError as error:
            logger.warning("study %s must be evaluated again, its record is lost: %s", study, error)
            return None
        return record


def _row(found: Row[Any]) -> StudyRow:
    return StudyRow(
        found.id, found.name, found.created, found.configuration, found.seconds, found.verdict
    )
