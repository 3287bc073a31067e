"""A ledger that is older is brought up; one that is newer, damaged or read-only is refused."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from sqlalchemy import Connection, create_engine, inspect, text

from regraft.errors import LedgerError
from regraft.ledger.database import Database
from regraft.ledger.ledger import Ledger
from regraft.ledger.migrations import STEPS, VERSION, migrate

if TYPE_CHECKING:
    from collections.abc import Callable

FIXTURES = sorted(Path(__file__).parent.glob("version-*"))


def unpacked(fixture: Path, home: Path) -> Path:
    """Return a home with the ledger that an earlier version left."""
    shutil.copytree(fixture, home)
    with closing(sqlite3.connect(home / "ledger.db")) as database:
        database.executescript((home / "ledger.sql").read_text(encoding="utf-8"))
    return home


def execute(home: Path, *statements: str) -> None:
    with closing(sqlite3.connect(home / "ledger.db")) as database, database:
        for statement in statements:
            database.execute(statement)


def schema_of(home: Path) -> dict[str, list[tuple[str, str]]]:
    engine = create_engine(f"sqlite:///{home / 'ledger.db'}")
    with engine.connect() as connection:
        found = inspect(connection)
        tables = {
            name: [(one["name"], str(one["type"])) for one in found.get_columns(name)]
            for name in found.get_table_names()
        }
    engine.dispose()
    return tables


def test_there_is_a_ledger_of_every_released_version() -> None:
    assert [one.name for one in FIXTURES] == [f"version-{n}" for n in range(1, VERSION + 1)]


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda one: one.name)
def test_a_ledger_of_an_earlier_version_keeps_all_that_it_holds(
    fixture: Path, tmp_path: Path
) -> None:
    ledger = Ledger.open(unpacked(fixture, tmp_path / "old"))
    study = ledger.studies.find("bees")
    assert (study.id, study.seconds, study.verdict) == ("0123456789abcdef", 12.5, "Recommend.")
    assert ledger.studies.record(study.id) == {"verdict": {"sentence": "Recommend."}}
    (decision,) = ledger.decisions.all(study.id)
    assert decision.value == {"admitted": True, "reason": "a control"}
    assert [one.status for one in ledger.runs.of(study.id)] == ["done", "failed", "open"]
    result = ledger.runs.result("aaaa")
    assert result is not None
    assert result.summary["metrics"]["accuracy"] == 0.5
    assert torch.equal(result.load_state()["predictor.counts"], torch.ones(2).double())
    assert ledger.runs.failure("bbbb") == "diverged: loss is nan"
    checkpoint = ledger.journal.checkpoint("cccc")
    assert checkpoint is not None
    assert (checkpoint.step, checkpoint.progress) == (4, {"best": 0.25})
    assert ledger.journal.events("cccc") == [{"kind": "started", "run": "cccc", "notes": []}]
    assert ledger.openings.record("e" * 64, "fedcba9876543210") == 2
    assert ledger.artefacts.collect() == 0
    ledger.close()


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda one: one.name)
def test_a_migrated_ledger_has_the_tables_of_a_new_one(fixture: Path, tmp_path: Path) -> None:
    Ledger.open(unpacked(fixture, tmp_path / "old")).close()
    Ledger.open(tmp_path / "new").close()
    assert schema_of(tmp_path / "old") == schema_of(tmp_path / "new")


def test_steps_are_taken_in_order_each_once(tmp_path: Path) -> None:
    taken: list[str] = []

    def step(name: str) -> Callable[[Connection], None]:
        def take(connection: Connection) -> None:
            taken.append(name)
            connection.execute(text(f"ALTER TABLE studies ADD COLUMN {name} TEXT DEFAULT '{name}'"))

        return take

    home = unpacked(FIXTURES[0], tmp_path / "old")
    database = Database(home / "ledger.db")
    steps = (*STEPS, step("first"), step("second"))
    for _ in range(2):
        with database.writing() as connection:
            migrate(connection, where="x", steps=steps)
            found = connection.execute(text("SELECT name, first, second FROM studies")).all()
    assert taken == ["first", "second"]
    assert sorted(found) == [("ants", "first", "second"), ("bees", "first", "second")]
    database.close()
    with pytest.raises(
        LedgerError,
        match=rf"ledger\.db: the ledger has schema version {VERSION + 2}, this regraft knows "
        rf"{VERSION}\. Update regraft, or use another ledger with --home\.",
    ):
        Ledger.open(home)


def test_a_step_that_fails_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    def fails(connection: Connection) -> None:
        connection.execute(text("DROP TABLE openings"))
        raise ZeroDivisionError

    home = unpacked(FIXTURES[0], tmp_path / "old")
    before = schema_of(home)
    database = Database(home / "ledger.db")
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        migrate(connection, where="x", steps=(*STEPS, fails))
    database.close()
    assert schema_of(home) == before
    Ledger.open(home).close()


@pytest.mark.parametrize("leave_table", [True, False])
def test_version_zero_is_an_empty_database(tmp_path: Path, leave_table: bool) -> None:
    if leave_table:
        execute(
            tmp_path,
            "CREATE TABLE schema_version (version INTEGER NOT NULL)",
            "INSERT INTO schema_version VALUES (0)",
        )
    else:
        (tmp_path / "ledger.db").touch()
    ledger = Ledger.open(tmp_path)
    ledger.studies.create("study", name="", configuration={})
    ledger.close()
    Ledger.open(tmp_path / "new").close()
    assert schema_of(tmp_path) == schema_of(tmp_path / "new")


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["UPDATE schema_version SET version = 99"], r"the ledger has schema version 99, this"),
        (["UPDATE schema_version SET version = 'x'"], r"is damaged \(its version is 'x'\)\. Rest"),
        (["DELETE FROM schema_version"], r"the ledger is damaged \(its version is None\)\."),
        (["DROP TABLE schema_version"], r"this database is not a ledger \(it has decisions, eve"),
    ],
)
def test_a_ledger_of_no_known_version_is_refused(
    tmp_path: Path, statements: list[str], message: str
) -> None:
    Ledger.open(tmp_path).close()
    execute(tmp_path, *statements)
    before = (tmp_path / "ledger.db").read_bytes()
    with pytest.raises(LedgerError, match=message):
        Ledger.open(tmp_path)
    assert (tmp_path / "ledger.db").read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"label,text\n" * 500)
    with pytest.raises(LedgerError, match=r"ledger\.db: the ledger is damaged\. Restore it from a"):
        Ledger.open(tmp_path)
    assert (tmp_path / "ledger.db").read_bytes() == b"label,text\n" * 500


def test_a_missing_table_or_row_that_is_no_json_is_named(tmp_path: Path) -> None:
    ledger = Ledger.open(unpacked(FIXTURES[0], tmp_path / "old"))
    execute(ledger.home, "UPDATE studies SET configuration = 'x{'", "DROP TABLE openings")
    with pytest.raises(LedgerError, match=r"a row holds no JSON \('x\{'\)\. Restore the ledger"):
        ledger.studies.all()
    with pytest.raises(LedgerError, match=r"cannot be read \(no such table: openings\)\. Restore"):
        ledger.openings.record("a", "b")
    ledger.close()


@pytest.mark.parametrize("noise", [b"\x00", b"\xff", b"x{"])
def test_damage_to_any_part_is_read_over_or_refused(tmp_path: Path, noise: bytes) -> None:
    home = unpacked(FIXTURES[0], tmp_path / "old")
    sound = (home / "ledger.db").read_bytes()
    for start in range(0, len(sound), 1024):
        for path in home.glob("ledger.db-*"):
            path.unlink()
        filler = (noise * 1024)[: min(1024, len(sound) - start)]
        (home / "ledger.db").write_bytes(sound[:start] + filler + sound[start + len(filler) :])
        with suppress(LedgerError):  # other errors, and waiting for a lock, fail this test
            read_all(home)


def read_all(home: Path) -> None:
    ledger = Ledger.open(home)
    try:
        for study in ledger.studies.all():
            ledger.studies.record(study.id)
            ledger.decisions.all(study.id)
            for run in ledger.runs.of(study.id):
                ledger.runs.result(run.id)
                ledger.journal.checkpoint(run.id)
                ledger.journal.events(run.id)
    finally:
        ledger.close()


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(LedgerError, match=r"file.*: the folder cannot be made \(.*--home"):
            Ledger.open(home)


READ_ONLY = """
import os, sys
from pathlib import Path
import regraft.ledger.grafts
import safetensors.numpy, filelock, sqlalchemy.dialects.sqlite.pysqlite
from regraft.errors import LedgerError
from regraft.ledger.ledger import Ledger

if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)

def create(name):
    Ledger.open(home / name).studies.create("other", name="", configuration={})

def attempt(name, act):
    try:
        print(name, "->", act())
    except LedgerError as error:
        print(name, "->", error)

home = Path(sys.argv[1])
attempt("new", lambda: Ledger.open(home / "new" / "below"))
attempt("empty", lambda: Ledger.open(home / "empty"))
attempt("sealed", lambda: create("sealed"))
attempt("read", lambda: [one.id for one in Ledger.open(home / "file").studies.all()])
attempt("write", lambda: create("file"))
"""


def test_a_ledger_that_is_read_only_says_so_and_stays_as_it_is() -> None:
    with tempfile.TemporaryDirectory(prefix="regraft-read-only-") as name:
        root = Path(name)  # pytest's own folders are closed to other users
        for home in ("sealed", "file"):
            ledger = Ledger.open(root / home)
            ledger.studies.create("study", name="", configuration={})
            ledger.close()
        (root / "empty").mkdir()
        (root / "file").chmod(0o777)
        (root / "file" / "ledger.db").chmod(0o444)
        before = {path: path.read_bytes() for path in root.rglob("ledger.db")}
        for folder in (root, root / "empty", root / "sealed"):
            folder.chmod(0o555)
        shown = subprocess.run(
            [sys.executable, "-c", READ_ONLY, name], capture_output=True, text=True, check=False
        )
        for folder in (root, root / "empty", root / "sealed"):
            folder.chmod(0o755)
        answers = dict(line.split(" -> ", 1) for line in shown.stdout.splitlines())
        assert shown.returncode == 0, shown.stderr
        assert {path: path.read_bytes() for path in root.rglob("ledger.db")} == before
        assert os.listdir(root / "empty") == []  # noqa: PTH208
    unwritable = "the ledger cannot be written. Make its folder writable"
    assert "new/below: the folder cannot be made (Permission denied). Choose" in answers["new"]
    assert f"empty/ledger.db: {unwritable}" in answers["empty"]
    assert f"sealed/ledger.db: {unwritable}" in answers["sealed"]
    assert f"file/ledger.db: {unwritable}" in answers["write"]
    assert answers["read"] == "['study']"
