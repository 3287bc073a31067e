"""Runs in the ledger, and their results, which are shared by every study that asks."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from sqlalchemy import func, insert, select, update

from regraft.errors import ConfigError, LedgerError
from regraft.ledger.schema import runs, studies, study_runs
from regraft.ledger.tensors import pack_arrays, unpack, unpack_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import torch
    from sqlalchemy import Row

    from regraft.events import Done
    from regraft.ledger.artefacts import Artefacts
    from regraft.ledger.database import Database
    from regraft.ledger.journal import Journal

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run: id, configuration, status, and its place in a study.

    Attributes:
        id: Its id.
        configuration: What it was asked to do, plain.
        status: ``open``, ``done`` or ``failed``.
        protocol: Name of its protocol in the study.
        role: Role of the protocol in the study.
        reason: Why the study ran it.
    """

    id: str
    configuration: dict[str, Any]
    status: str
    protocol: str
    role: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """What a run left: its summary, arrays by name, and the tensors that predict."""

    summary: dict[str, Any]
    arrays: dict[str, np.ndarray[Any, Any]]
    load_state: Callable[[], dict[str, torch.Tensor]]


@final
class Runs:
    """What the ledger knows of runs.

    Law: `result` returns all that a run left, or None; never a part of it.
    """

    def __init__(self, database: Database, artefacts: Artefacts, journal: Journal) -> None:
        self._database, self._artefacts, self._journal = database, artefacts, journal

    def add(
        self,
        study: str,
        run: str,
        *,
        protocol: str,
        role: str,
        reason: str,
        configuration: Mapping[str, Any],
    ) -> None:
        """Write a run of a study down, if it is not there."""
        with self._database.writing() as connection:
            if not connection.execute(select(runs.c.id).where(runs.c.id == run)).first():
                values = {"id": run, "configuration": dict(configuration), "status": "open"}
                connection.execute(insert(runs).values(**values))
            here = (study_runs.c.study == study, study_runs.c.run == run)
            if connection.execute(select(study_runs.c.run).where(*here)).first():
                return
            count = select(func.count()).where(study_runs.c.study == study)
            connection.execute(
                insert(study_runs).values(
                    study=study,
                    run=run,
                    protocol=protocol,
                    role=role,
                    reason=reason,
                    position=connection.execute(count).scalar_one(),
                )
            )

    def of(self, study: str) -> list[RunRow]:
        """Return the runs of a study, in the order in which they were added."""
        query = _ROWS.where(study_runs.c.study == study).order_by(study_runs.c.position)
        with self._database.reading() as connection:
            return [_row(one) for one in connection.execute(query)]

    def get(self, run: str) -> RunRow:
        """Return a run by its id, as its first study has it.

        Raises:
            ConfigError: There is no such run.
        """
        query = _ROWS.where(runs.c.id == run).order_by(studies.c.created, studies.c.id).limit(1)
        with self._database.reading() as connection:
            found = connection.execute(query).first()
        if found is None:
            raise ConfigError("there is no such run. List them: regraft runs STUDY.", where=run)
        return _row(found)

    def find(self, prefix: str) -> RunRow:
        """Return the run whose id begins so.

        Raises:
            ConfigError: None or several do.
        """
        query = select(runs.c.id).where(runs.c.id.startswith(prefix, autoescape=True))
        with self._database.reading() as connection:
            fits = list(connection.execute(query.order_by(runs.c.id).limit(6)).scalars())
        if len(fits) < 2 or prefix in fits:
            return self.get(prefix if prefix in fits or not fits else fits[0])
        more = ", …" if len(fits) > 5 else ""
        raise ConfigError(
            f"several runs fit: {', '.join(fits[:5])}{more}. Give more of the id.", where=prefix
        )

    def studies_of(self, run: str) -> list[str]:
        """Return the studies that have a run, the oldest first."""
        query = (
            select(study_runs.c.study)
            .join(studies, studies.c.id == study_runs.c.study)
            .where(study_runs.c.run == run)
            .order_by(studies.c.created, studies.c.id)
        )
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def save_result(self, done: Done) -> None:
        """Store the result of a run; its checkpoint goes.

        Raises:
            LedgerError: The disk is full or cannot be written; the run then has no result.
        """
        arrays = pack_arrays(done.arrays)
        with self._artefacts.held():
            values = {
                "status": "done",
                "failure": None,
                "summary": done.summary,
                "arrays": self._artefacts.put(arrays),
                "state": self._artefacts.put_tensors(done.state),
            }
            self._journal.end(done.run, values)

    def save_failure(self, run: str, reason: str) -> None:
        """Store that a run ended without a result, and why."""
        self._journal.end(run, {"status": "failed", "failure": reason})

    def result(self, run: str) -> RunResult | None:
        """Return the result of a run; None where there is none, or a file of it is lost."""
        query = select(runs.c.summary, runs.c.arrays, runs.c.state)
        with self._database.reading() as connection:
            found = connection.execute(
                query.where(runs.c.id == run, runs.c.status == "done")
            ).first()
        if found is None:
            return None
        state: str | None = found.state
        if state is not None and not self._artefacts.has(state):
            logger.warning("run %s must run again: the weights that it left are lost", run)
            return None
        try:
            arrays = unpack_arrays(self._artefacts.get(found.arrays))
        except LedgerError as error:
            logger.warning("run %s must run again, its result is lost: %s", run, error)
            return None
        return RunResult(found.summary, arrays, lambda: self._state(run, state))

    def failure(self, run: str) -> str | None:
        """Return why a run failed, or None."""
        query = select(runs.c.failure).where(runs.c.id == run, runs.c.status == "failed")
        with self._database.reading() as connection:
            reason: str | None = connection.execute(query).scalar()
        return reason

    def keep_states(self, study: str, keep: set[str]) -> None:
        """Free the weights of a study's runs that are not named and that no other study has."""
        own = select(study_runs.c.run).where(study_runs.c.study == study)
        shared = select(study_runs.c.run).where(study_runs.c.study != study)
        of_losers = (runs.c.id.in_(own), runs.c.id.not_in(shared), runs.c.state.is_not(None))
        with self._artefacts.held():
            with self._database.writing() as connection:
                found = connection.execute(select(runs.c.id, runs.c.state).where(*of_losers)).all()
                freed = {one.id: one.state for one in found if one.id not in keep}
                connection.execute(update(runs).where(runs.c.id.in_(freed)).values(state=None))
            for digest in freed.values():
                self._artefacts.drop(digest)

    def _state(self, run: str, digest: str | None) -> dict[str, torch.Tensor]:
        if digest is None:
            raise LedgerError(
                "its weights were freed: only the winner's and ties' are kept. Run the study again "
                "in another ledger to get them.",
                where=f"run {run}",
            )
        return unpack(self._artefacts.get(digest))


_ROWS = (
    select(runs, study_runs.c.protocol, study_runs.c.role, study_runs.c.reason)
    .join(study_runs, study_runs.c.run == runs.c.id)
    .join(studies, studies.c.id == study_runs.c.study)
)


def _row(found: Row[Any]) -> RunRow:
    return RunRow(
        found.id, found.configuration, found.status, found.protocol, found.role, found.reason
    )
