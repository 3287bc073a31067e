"""Decisions: written down before they act, replayed when a study is resumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from sqlalchemy import insert, select

from regraft.ledger.database import now
from regraft.ledger.schema import decisions

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from regraft.ledger.database import Database


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision: its place in the order, its key, what was decided, when."""

    seq: int
    key: str
    value: dict[str, Any]
    at: str


@final
class Decisions:
    """The decisions of studies.

    Law: once `decide` has returned a value for a key, every later call returns the same value, in
    this process or another, also after SIGKILL.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def decide(self, study: str, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what was decided under a key; the first time, compute it and write it down.

        Args:
            study: The study's id.
            key: What is decided, unique within the study.
            compute: Returns the decision, plain JSON. What it raises passes, and nothing is noted.
        """
        with self._database.reading() as connection:
            found = _find(connection, study, key)
        if found is not None:
            return found
        value = compute()
        with self._database.writing() as connection:
            if (first := _find(connection, study, key)) is not None:
                return first
            row = {"study": study, "key": key, "value": value, "at": now()}
            connection.execute(insert(decisions).values(**row))
            recorded = _find(connection, study, key)
        if recorded is None:
            raise AssertionError("a decision that was written can be read")
        return recorded

    def all(self, study: str) -> list[Decision]:
        """Return every decision of a study, in order."""
        query = select(decisions).where(decisions.c.study == study).order_by(decisions.c.seq)
        with self._database.reading() as connection:
            found = connection.execute(query).all()
        return [Decision(one.seq, one.key, one.value, one.at) for one in found]


def _find(connection: Connection, study: str, key: str) -> dict[str, Any] | None:
    query = select(decisions.c.value).where(decisions.c.study == study, decisions.c.key == key)
    value: dict[str, Any] | None = connection.execute(query).scalar()
    return value
