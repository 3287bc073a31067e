"""Tables of the ledger."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

metadata = MetaData()

studies = Table(
    "studies",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("created", String(32), nullable=False),
    Column("configuration", JSON, nullable=False),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("record", String(64)),
    Column("verdict", String(2000)),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("configuration", JSON, nullable=False),
    Column("status", String(16), nullable=False, default="open"),
    Column("failure", String(4000)),
    Column("summary", JSON),
    Column("arrays", String(64)),
    Column("state", String(64)),
    Column("checkpoint_step", Integer),
    Column("checkpoint_progress", JSON),
    Column("checkpoint_state", String(64)),
    Column("checkpoint_events", Integer),
)

study_runs = Table(
    "study_runs",
    metadata,
    Column("study", String(64), ForeignKey("studies.id"), primary_key=True),
    Column("run", String(64), ForeignKey("runs.id"), primary_key=True),
    Column("protocol", String(400), nullable=False),
    Column("role", String(40), nullable=False),
    Column("reason", String(4000), nullable=False),
    Column("position", Integer, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("study", String(64), ForeignKey("studies.id"), nullable=False),
    Column("key", String(400), nullable=False),
    Column("value", JSON, nullable=False),
    Column("at", String(32), nullable=False),
    UniqueConstraint("study", "key"),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run", String(64), ForeignKey("runs.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("payload", JSON, nullable=False),
    Index("events_by_run", "run", "seq"),
)

openings = Table(
    "openings",
    metadata,
    Column("sealed", String(64), primary_key=True),
    Column("study", String(64), ForeignKey("studies.id"), primary_key=True),
    Column("at", String(32), nullable=False),
)
