"""Tables of the ledger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, final

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from regraft.errors import LedgerError

if TYPE_CHECKING:
    from sqlalchemy import Dialect


@final
class PlainJson(TypeDecorator[Any]):
    """JSON as text: NaN and infinity come back as they were, which databases' own JSON refuses."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return the text of a value."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the value of a text."""
        if value is None:
            return None
        try:
            return json.loads(value)
        except (TypeError, ValueError) as error:
            raise LedgerError(
                f"a row holds no JSON ({str(value)[:40]!r}). Restore the ledger from a backup.",
                where="ledger",
            ) from error


metadata = MetaData()

studies = Table(
    "studies",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("created", String(32), nullable=False),
    Column("configuration", PlainJson, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("record", String(64)),
    Column("verdict", Text),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("configuration", PlainJson, nullable=False),
    Column("status", String(16), nullable=False),
    Column("failure", Text),
    Column("summary", PlainJson),
    Column("arrays", String(64)),
    Column("state", String(64)),
    Column("checkpoint_step", Integer),
    Column("checkpoint_progress", PlainJson),
    Column("checkpoint_state", String(64)),
    Column("checkpoint_events", Integer),
)

study_runs = Table(
    "study_runs",
    metadata,
    Column("study", String(64), ForeignKey("studies.id"), primary_key=True),
    Column("run", String(64), ForeignKey("runs.id"), primary_key=True),
    Column("protocol", Text, nullable=False),
    Column("role", String(40), nullable=False),
    Column("reason", Text, nullable=False),
    Column("position", Integer, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("study", String(64), ForeignKey("studies.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("value", PlainJson, nullable=False),
    Column("at", String(32), nullable=False),
    UniqueConstraint("study", "key"),
)

events = Table(
    "events",
    metadata,
    Column("run", String(64), ForeignKey("runs.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("payload", PlainJson, nullable=False),
)

openings = Table(
    "openings",
    metadata,
    Column("sealed", String(64), primary_key=True),
    Column("study", String(64), ForeignKey("studies.id"), primary_key=True),
    Column("at", String(32), nullable=False),
)
