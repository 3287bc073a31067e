"""The ledger: where studies, runs, decisions, curves and evidence are recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from regraft.errors import LedgerError
from regraft.ledger.artefacts import Artefacts
from regraft.ledger.database import Database
from regraft.ledger.decisions import Decisions
from regraft.ledger.home import ledger_home
from regraft.ledger.journal import Journal
from regraft.ledger.locks import study_lock
from regraft.ledger.openings import Openings
from regraft.ledger.references import References
from regraft.ledger.runs import Runs
from regraft.ledger.studies import Studies

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path


@final
class Ledger:
    """One folder: a database, artefacts, locks, the cache, grafts.

    Laws: what a method has written is on disk when it returns (events alone wait for
    `journal.flush`, a checkpoint or the end of their run); a second process may read at any time;
    one process at a time drives a study (`lock`).

    Attributes:
        home: The folder.
        studies: Studies and their records.
        runs: Runs and their results.
        journal: Events and checkpoints of runs.
        decisions: Decisions of studies.
        openings: Openings of sealed parts.
        artefacts: Bytes by digest.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        database = Database(home / "ledger.db")
        self._database = database
        self.artefacts = Artefacts(
            home / "artefacts", References(database), lock=home / "locks" / "artefacts.lock"
        )
        self.studies = Studies(database, self.artefacts)
        self.journal = Journal(database, self.artefacts)
        self.runs = Runs(database, self.artefacts, self.journal)
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

    def lock(self, study: str) -> AbstractContextManager[None]:
        """Hold a study for this process; the system lets go when it ends, however it ends.

        Raises:
            LockedError: Another process holds it.
        """
        return study_lock(self.home / "locks", study)

    def close(self) -> None:
        """Close the database."""
        self._database.close()
