"""The ledger: where studies, runs, decisions, curves and evidence are recorded."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, final

from filelock import FileLock, Timeout
from sqlalchemy import func, insert, select

from regraft.errors import LedgerError, LockedError
from regraft.ledger.artefacts import Artefacts
from regraft.ledger.database import Database, now
from regraft.ledger.decisions import Decisions
from regraft.ledger.home import ledger_home
from regraft.ledger.runs import Runs
from regraft.ledger.schema import openings, runs, studies
from regraft.ledger.studies import Studies

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLUMNS = (studies.c.record, runs.c.arrays, runs.c.state, runs.c.checkpoint_state)


@final
class Openings:
    """How often sealed parts were opened."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, sealed: str, study: str) -> int:
        """Record that a study opens a sealed part; return how many studies have, this one included."""
        here = (openings.c.sealed == sealed, openings.c.study == study)
        with self._database.transaction() as connection:
            if not connection.execute(select(openings.c.study).where(*here)).first():
                values = {"sealed": sealed, "study": study, "at": now()}
                connection.execute(insert(openings).values(**values))
            count = select(func.count()).where(openings.c.sealed == sealed)
            return int(connection.execute(count).scalar_one())


@final
class Ledger:
    """One folder: a database, artefacts, locks, the cache.

    Laws: what a method has written is on disk when it returns; a second process may read at any time; one
    process at a time drives a study (`lock`).

    Attributes:
        home: The folder.
        studies: Studies; runs: runs; decisions: decisions; artefacts: artefacts; openings: of sealed parts.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        database = Database(home / "ledger.db")
        self._database = database
        self.artefacts = Artefacts(home / "artefacts", self._in_use)
        self.studies = Studies(database, self.artefacts)
        self.runs = Runs(database, self.artefacts)
        self.decisions = Decisions(database)
        self.openings = Openings(database)

    @classmethod
    def open(cls, home: Path | None = None) -> Ledger:
        """Open the ledger of a folder, or make it; None is the user's own.

        Raises:
            LedgerError: The folder cannot be written, or the ledger is damaged or newer.
        """
        folder = ledger_home(home)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(
                f"the folder cannot be made ({error.strerror}). Choose another with --home.",
                where=str(folder),
            ) from error
        return cls(folder.resolve())

    @contextmanager
    def lock(self, study: str) -> Iterator[None]:
        """Hold a study for this process; the system lets go when the process ends, however it ends.

        Raises:
            LockedError: Another process holds it.
        """
        folder = self.home / "locks"
        try:
            folder.mkdir(exist_ok=True)
            with FileLock(folder / f"{study}.lock", timeout=0):
                yield
        except Timeout as error:
            raise LockedError(
                "another process is running this study. Wait for it, or stop it.",
                where=f"study {study}",
            ) from error

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _in_use(self) -> set[str]:
        with self._database.transaction() as connection:
            found = [connection.execute(select(column)).scalars().all() for column in _COLUMNS]
        return {digest for column in found for digest in column if digest is not None}
