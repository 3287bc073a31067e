"""The journal of a run: its events, and the checkpoint to go on from."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, final

from sqlalchemy import delete, func, insert, select, update

from regraft.errors import LedgerError
from regraft.events import Checkpoint
from regraft.ledger.schema import events, runs
from regraft.ledger.tensors import unpack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from regraft.ledger.artefacts import Artefacts
    from regraft.ledger.database import Database

logger = logging.getLogger(__name__)

_BUFFERED_EVENTS = 64
_NO_CHECKPOINT: dict[str, Any] = {
    "checkpoint_step": None,
    "checkpoint_progress": None,
    "checkpoint_state": None,
    "checkpoint_events": None,
}


@final
class Journal:
    """Events and checkpoints of runs.

    Laws: events are on disk after `flush`, and at the latest with the checkpoint or the end that
    follows them; after `rewind` to a checkpoint the journal is what it was when that was saved.
    """

    def __init__(self, database: Database, artefacts: Artefacts) -> None:
        self._database, self._artefacts = database, artefacts
        self._buffer: list[dict[str, Any]] = []
        self._last: dict[str, int] = {}

    def append(self, run: str, event: Mapping[str, Any]) -> None:
        """Note an event: on disk with the next flush, checkpoint, end, or at 64 events."""
        self._last[run] = self._last_event(run) + 1
        self._buffer.append({"run": run, "seq": self._last[run], "payload": dict(event)})
        if len(self._buffer) >= _BUFFERED_EVENTS:
            self.flush()

    def flush(self) -> None:
        """Bring every event to the disk."""
        with self._database.writing() as connection:
            self._insert(connection)
        self._buffer = []

    def events(self, run: str) -> list[dict[str, Any]]:
        """Return the events of a run that are on disk, in order."""
        query = select(events.c.payload).where(events.c.run == run).order_by(events.c.seq)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint in place of the one before."""
        run = checkpoint.run
        with self._artefacts.held():
            values = {
                "checkpoint_step": checkpoint.step,
                "checkpoint_progress": checkpoint.progress,
                "checkpoint_state": self._artefacts.put_tensors(checkpoint.state),
                "checkpoint_events": self._last_event(run),
            }
            self._write(run, values)

    def checkpoint(self, run: str) -> Checkpoint | None:
        """Return the last checkpoint of a run that has not ended, or None."""
        columns = (runs.c.checkpoint_step, runs.c.checkpoint_progress, runs.c.checkpoint_state)
        with self._database.reading() as connection:
            found = connection.execute(select(*columns).where(runs.c.id == run)).first()
        if found is None or found.checkpoint_state is None:
            return None
        try:
            state = unpack(self._artefacts.get(found.checkpoint_state))
        except LedgerError as error:
            logger.warning("run %s starts again, its checkpoint is lost: %s", run, error)
            return None
        return Checkpoint(run, found.checkpoint_step, found.checkpoint_progress, state)

    def rewind(self, run: str, checkpoint: Checkpoint | None) -> None:
        """Drop the events after the checkpoint that a run goes on from; all where there is none."""
        self._buffer = [one for one in self._buffer if one["run"] != run]
        query = select(runs.c.checkpoint_events).where(runs.c.id == run)
        with self._database.writing() as connection:
            saved = connection.execute(query).scalar() or 0
            last = 0 if checkpoint is None else int(saved)
            connection.execute(delete(events).where(events.c.run == run, events.c.seq > last))
        self._last[run] = last

    def end(self, run: str, values: Mapping[str, Any]) -> None:
        """Write how a run ended, with its last events; its checkpoint goes."""
        self._write(run, {**values, **_NO_CHECKPOINT})

    def _write(self, run: str, values: Mapping[str, Any]) -> None:
        """Write the events and a run's columns at once; then free the checkpoint before."""
        query = select(runs.c.checkpoint_state).where(runs.c.id == run)
        with self._database.writing() as connection:
            before = connection.execute(query).scalar()
            self._insert(connection)
            connection.execute(update(runs).where(runs.c.id == run).values(**values))
        self._buffer = []
        self._artefacts.drop(before)

    def _insert(self, connection: Connection) -> None:
        """Insert what is buffered; where another study drives the same run, in place of its own."""
        if not self._buffer:
            return
        for run in {one["run"] for one in self._buffer}:
            places = [one["seq"] for one in self._buffer if one["run"] == run]
            here = events.c.seq.between(min(places), max(places))
            connection.execute(delete(events).where(events.c.run == run, here))
        connection.execute(insert(events), self._buffer)

    def _last_event(self, run: str) -> int:
        if run not in self._last:
            query = select(func.max(events.c.seq)).where(events.c.run == run)
            with self._database.reading() as connection:
                self._last[run] = int(connection.execute(query).scalar() or 0)
        return self._last[run]
