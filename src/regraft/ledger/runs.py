"""Runs in the ledger: events, checkpoints, results. Results are shared by every study that asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from sqlalchemy import delete, func, insert, select, update

from regraft.errors import ConfigError, LedgerError
from regraft.events import Checkpoint
from regraft.ledger.schema import events, runs, studies, study_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from regraft.events import Done
    from regraft.ledger.artefacts import Artefacts
    from regraft.ledger.database import Database

_BUFFERED_EVENTS = 64


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run: id, configuration, status (``open``, ``done``, ``failed``), and its place in a study."""

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
    """What the ledger knows of runs."""

    def __init__(self, database: Database, artefacts: Artefacts) -> None:
        self._database, self._artefacts = database, artefacts
        self._buffer: list[dict[str, Any]] = []
        self._next: dict[str, int] = {}

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
        with self._database.transaction() as connection:
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
        query = (
            select(runs, study_runs.c.protocol, study_runs.c.role, study_runs.c.reason)
            .join(study_runs, study_runs.c.run == runs.c.id)
            .where(study_runs.c.study == study)
            .order_by(study_runs.c.position)
        )
        with self._database.transaction() as connection:
            found = connection.execute(query).all()
        return [
            RunRow(one.id, one.configuration, one.status, one.protocol, one.role, one.reason)
            for one in found
        ]

    def get(self, run: str) -> RunRow:
        """Return a run by its id, as its first study has it."""
        return next(one for one in self.of(self.studies_of(run)[0]) if one.id == run)

    def find(self, prefix: str) -> RunRow:
        """Return the run whose id begins so.

        Raises:
            ConfigError: None or several do.
        """
        query = select(runs.c.id).where(runs.c.id.startswith(prefix, autoescape=True)).limit(6)
        with self._database.transaction() as connection:
            fits = list(connection.execute(query).scalars())
        if prefix in fits or len(fits) == 1:
            return self.get(prefix if prefix in fits else fits[0])
        if not fits:
            raise ConfigError("there is no such run. List them: regraft runs STUDY.", where=prefix)
        raise ConfigError(f"several runs fit: {', '.join(fits[:5])}.", where=prefix)

    def studies_of(self, run: str) -> list[str]:
        """Return the studies that have a run, the oldest first."""
        query = (
            select(study_runs.c.study)
            .join(studies, studies.c.id == study_runs.c.study)
            .where(study_runs.c.run == run)
            .order_by(studies.c.created)
        )
        with self._database.transaction() as connection:
            return list(connection.execute(query).scalars())

    def append(self, run: str, event: Mapping[str, Any]) -> None:
        """Note an event; it is on disk at the next checkpoint, result, failure, or 64 events later."""
        if run not in self._next:
            query = select(func.max(events.c.seq)).where(events.c.run == run)
            with self._database.transaction() as connection:
                self._next[run] = int(connection.execute(query).scalar() or 0) + 1
        self._buffer.append({"run": run, "seq": self._next[run], "payload": dict(event)})
        self._next[run] += 1
        if len(self._buffer) >= _BUFFERED_EVENTS:
            self._write({}, run)

    def events(self, run: str) -> list[dict[str, Any]]:
        """Return the events of a run, in order."""
        query = select(events.c.payload).where(events.c.run == run).order_by(events.c.seq)
        with self._database.transaction() as connection:
            return list(connection.execute(query).scalars())

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint in place of the one before."""
        run = checkpoint.run
        data = safetensors.torch.save(
            {name: _tensor(value) for name, value in checkpoint.state.items()}
        )
        before = self._column(run, runs.c.checkpoint_state)
        self._write(
            {
                "checkpoint_step": checkpoint.step,
                "checkpoint_progress": checkpoint.progress,
                "checkpoint_state": self._artefacts.put(data),
                "checkpoint_events": self._next.get(run, 1) - 1,
            },
            run,
        )
        self._artefacts.drop(before)

    def checkpoint(self, run: str) -> Checkpoint | None:
        """Return the last checkpoint of a run that has not ended, or None."""
        query = select(
            runs.c.checkpoint_step, runs.c.checkpoint_progress, runs.c.checkpoint_state
        ).where(runs.c.id == run)
        with self._database.transaction() as connection:
            found = connection.execute(query).one()
        if found.checkpoint_state is None:
            return None
        try:
            state = safetensors.torch.load(self._artefacts.get(found.checkpoint_state))
        except LedgerError:
            return None  # a lost checkpoint costs time, not the study: the run starts again
        return Checkpoint(run, found.checkpoint_step, found.checkpoint_progress, state)

    def rewind(self, run: str, checkpoint: Checkpoint | None) -> None:
        """Drop the events after a checkpoint; all of them where there is none."""
        self._buffer = [one for one in self._buffer if one["run"] != run]
        last = 0 if checkpoint is None else int(self._column(run, runs.c.checkpoint_events) or 0)
        with self._database.transaction() as connection:
            connection.execute(delete(events).where(events.c.run == run, events.c.seq > last))
        self._next[run] = last + 1

    def save_result(self, done: Done) -> None:
        """Store the result of a run; its checkpoint goes."""
        arrays = {n: np.ascontiguousarray(a) for n, a in done.arrays.items()}
        state = {name: _tensor(value) for name, value in done.state.items()}
        before = self._column(done.run, runs.c.checkpoint_state)
        self._write(
            {
                "status": "done",
                "summary": done.summary,
                "arrays": self._artefacts.put(safetensors.numpy.save(arrays)),
                "state": self._artefacts.put(safetensors.torch.save(state)),
                **_NO_CHECKPOINT,
            },
            done.run,
        )
        self._artefacts.drop(before)

    def save_failure(self, run: str, reason: str) -> None:
        """Store that a run ended without a result, and why."""
        before = self._column(run, runs.c.checkpoint_state)
        self._write({"status": "failed", "failure": reason[:4000], **_NO_CHECKPOINT}, run)
        self._artefacts.drop(before)

    def result(self, run: str) -> RunResult | None:
        """Return the result of a run, or None."""
        query = select(runs.c.status, runs.c.summary, runs.c.arrays, runs.c.state)
        with self._database.transaction() as connection:
            found = connection.execute(query.where(runs.c.id == run)).first()
        if found is None or found.status != "done":
            return None
        state = found.state

        def load_state() -> dict[str, torch.Tensor]:
            if state is None:
                raise LedgerError(
                    "its weights were freed: only the winner's and ties' are kept. Run the study "
                    "again in another ledger to get them.",
                    where=f"run {run}",
                )
            tensors: dict[str, torch.Tensor] = safetensors.torch.load(self._artefacts.get(state))
            return tensors

        arrays = safetensors.numpy.load(self._artefacts.get(found.arrays))
        return RunResult(found.summary, arrays, load_state)

    def failure(self, run: str) -> str | None:
        """Return why a run failed, or None."""
        query = select(runs.c.failure).where(runs.c.id == run, runs.c.status == "failed")
        with self._database.transaction() as connection:
            reason: str | None = connection.execute(query).scalar()
        return reason

    def keep_states(self, study: str, keep: set[str]) -> None:
        """Free the weights of a study's runs that are not named and that no other study has."""
        for row in self.of(study):
            if row.id in keep or len(self.studies_of(row.id)) > 1:
                continue
            digest = self._column(row.id, runs.c.state)
            self._write({"state": None}, row.id)
            self._artefacts.drop(digest)

    def _column(self, run: str, column: Any) -> Any:
        with self._database.transaction() as connection:
            return connection.execute(select(column).where(runs.c.id == run)).scalar()

    def _write(self, values: Mapping[str, Any], run: str) -> None:
        """Write buffered events and a run's columns in one transaction."""
        with self._database.transaction() as connection:
            if self._buffer:
                connection.execute(insert(events), self._buffer)
            if values:
                connection.execute(update(runs).where(runs.c.id == run).values(**values))
        self._buffer = []


_NO_CHECKPOINT: dict[str, Any] = {
    "checkpoint_step": None,
    "checkpoint_progress": None,
    "checkpoint_state": None,
    "checkpoint_events": None,
}


def _tensor(value: Any) -> torch.Tensor:
    tensor = torch.as_tensor(value)
    return tensor.detach().cpu().contiguous().clone()
