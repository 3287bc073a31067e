"""A writer killed at any point, or out of disk, leaves nothing half-written."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from regraft.errors import GraftError, LedgerError
from regraft.events import Checkpoint, Done
from regraft.hashing import digest_file
from regraft.ledger.grafts import Graft, read_graft, write_graft
from regraft.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WRITER = [sys.executable, str(Path(__file__).with_name("crash_writer.py"))]
RUNS, STEPS = 3, 120
OPERATIONS = 220
"""Operations on files that the writer does at least."""


@pytest.mark.parametrize(
    "places",
    [
        [1, *random.Random(7).sample(range(2, OPERATIONS), 4)],
        pytest.param(range(1, OPERATIONS), marks=pytest.mark.slow),
    ],
    ids=["some", "all"],
)
def test_a_writer_killed_before_an_operation_on_a_file_leaves_a_consistent_ledger(
    tmp_path: Path, places: Iterable[int]
) -> None:
    for place in places:
        home = tmp_path / str(place)
        done = subprocess.run(
            [*WRITER, str(home), str(place)], capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        check_consistent(home, done.stdout.splitlines())
    finish(home, done.stdout.splitlines())


def test_a_writer_killed_again_and_again_ends_where_an_undisturbed_one_does(
    tmp_path: Path,
) -> None:
    draws = random.Random(3)
    told: list[str] = []
    for _ in range(4):
        writer = subprocess.Popen([*WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(draws.randrange(1, 7)):
            told.append(writer.stdout.readline().strip())
        writer.kill()
        told += writer.stdout.read().splitlines()
        writer.wait()
        writer.stdout.close()
        check_consistent(tmp_path, told)
    finish(tmp_path, told)


def finish(home: Path, told: list[str]) -> None:
    """Let the writer end, and compare with what an undisturbed one leaves."""
    done = subprocess.run([*WRITER, str(home)], capture_output=True, text=True, check=True)
    check_consistent(home, told + done.stdout.splitlines())
    ledger = Ledger.open(home)
    assert [one.status for one in ledger.runs.of("study")] == ["done"] * RUNS
    for number in range(RUNS):
        assert [e["step"] for e in ledger.journal.events(f"run{number}")] == list(range(STEPS))
        assert ledger.journal.checkpoint(f"run{number}") is None
    assert ledger.studies.record("study") == {"verdict": {"sentence": "done"}}
    assert read_graft(home / "grafts" / "study").card == "study"
    assert [path.name for path in (home / "grafts").iterdir()] == ["study"]
    ledger.close()


def check_consistent(home: Path, told: list[str]) -> None:
    """Open what a killed writer left: what it told is there, and nothing is half-written."""
    ledger = Ledger.open(home)
    with ledger.lock("study"):
        decided = {one.key: one.value["by"] for one in ledger.decisions.all("study")}
        for line in told:
            what, *rest = line.split()
            if what == "decision":
                assert decided[f"arm/{rest[0]}"] == int(rest[1])
            elif what == "result":
                assert ledger.runs.get(rest[0]).status == "done"
            elif what == "checkpoint":
                assert reached(ledger, rest[0]) >= int(rest[1])
        for one in ledger.runs.of("study") if decided else ():
            check_run(ledger, one.id)
        check_files(ledger)
        check_graft(home, is_told="graft" in told)
    ledger.close()


def reached(ledger: Ledger, run: str) -> int:
    """Return the step that a run would go on from, as its events too can tell."""
    if ledger.runs.result(run) is not None:
        return STEPS
    checkpoint = ledger.journal.checkpoint(run)
    assert checkpoint is not None
    events = ledger.journal.events(run)
    assert [e["step"] for e in events[: checkpoint.step]] == list(range(checkpoint.step))
    return checkpoint.step


def check_run(ledger: Ledger, run: str) -> None:
    number = int(run.removeprefix("run"))
    result, checkpoint = ledger.runs.result(run), ledger.journal.checkpoint(run)
    events = [event["step"] for event in ledger.journal.events(run)]
    assert events == list(range(len(events)))
    if result is not None:
        assert (result.summary, checkpoint, len(events)) == ({"n": number}, None, STEPS)
        assert result.arrays["rows"].tolist() == list(range(number))
    if result is not None and (number == 0 or ledger.studies.record("study") is None):
        with_state = state_or_none(result.load_state)
        assert with_state is None or (with_state["head.weight"] == 1000 * number + STEPS).all()
    if checkpoint is not None:
        assert (checkpoint.state["head.weight"] == 1000 * number + checkpoint.step).all()


def state_or_none(load: Any) -> Any:
    """Return the weights of a result; None where the study's end freed them."""
    try:
        return load()
    except LedgerError as error:
        if "were freed" not in str(error):
            raise
        return None


def check_files(ledger: Ledger) -> None:
    ledger.artefacts.collect()
    for path in (ledger.home / "artefacts").glob("*/*"):
        assert digest_file(path) == path.parent.name + path.name
    assert ledger.artefacts.collect() == 0


def check_graft(home: Path, *, is_told: bool) -> None:
    try:
        graft = read_graft(home / "grafts" / "study")
    except GraftError as error:
        if "there is no graft" not in str(error):
            raise
        return
    assert is_told or graft.card == "study"
    assert graft.state["backbone.w"].tolist() == [1.0] * 3


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: the write fails, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_an_artefact_that_finds_no_room_is_absent_and_the_run_goes_on_later(
    ledger: Ledger,
) -> None:
    ledger.journal.save_checkpoint(Checkpoint("run", 1, {}, {"a": np.ones(9)}))
    done = Done("run", {}, {"a": np.ones(300_000)}, {"rows": np.arange(2)})
    with (
        files_of_at_most(1_000_000),
        pytest.raises(
            LedgerError,
            match=r"artefacts/new: cannot be written \(File too large\)\. Free space there \(",
        ),
    ):
        ledger.runs.save_result(done)
    assert ledger.runs.result("run") is None
    assert ledger.journal.checkpoint("run") is not None
    assert list(ledger.home.rglob("*.part")) == []
    ledger.runs.save_result(done)
    result = ledger.runs.result("run")
    assert result is not None
    assert result.load_state()["a"].sum() == 300_000


def test_a_database_that_finds_no_room_keeps_every_decision_made(ledger: Ledger) -> None:
    made: list[int] = []

    def decide_on() -> None:
        while True:
            ledger.decisions.decide("study", str(len(made)), lambda: {"text": "x" * 5000})
            made.append(1)

    with (
        files_of_at_most(400_000),
        pytest.raises(
            LedgerError,
            match=r"ledger\.db: .* the disk is full or fails\. Free space there \(regraft clean\)",
        ),
    ):
        decide_on()
    assert len(made) > 10
    for one in (ledger, Ledger.open(ledger.home)):
        assert [d.key for d in one.decisions.all("study")] == [str(i) for i in range(len(made))]
    ledger.decisions.decide("study", "after", lambda: {})
    assert ledger.decisions.all("study")[-1].key == "after"


def test_events_that_find_no_room_are_written_when_there_is_room_again(ledger: Ledger) -> None:
    for step in range(60):
        ledger.journal.append("run", {"step": step, "text": "x" * 9000})
    with files_of_at_most(300_000), pytest.raises(LedgerError, match="the disk is full"):
        ledger.journal.flush()
    ledger.journal.flush()
    assert [event["step"] for event in ledger.journal.events("run")] == list(range(60))


def test_a_graft_that_finds_no_room_leaves_the_one_before(tmp_path: Path) -> None:
    def graft(size: int) -> Graft:
        state = {"head.weight": torch.ones(size)}
        return Graft("zoo:x", "d", "text", ("a", "b"), {}, {"modules": []}, state)

    folder = write_graft(tmp_path / "graft", graft(3))
    with (
        files_of_at_most(100_000),
        pytest.raises(
            LedgerError,
            match=r"the graft cannot be written \(File too large\)\. Free space there",
        ),
    ):
        write_graft(folder, graft(100_000))
    assert read_graft(folder).state["head.weight"].tolist() == [1.0] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["graft"]


def test_a_new_ledger_that_finds_no_room_says_so(tmp_path: Path) -> None:
    with files_of_at_most(0), pytest.raises(LedgerError, match=r"ledger\.db: .*the disk is full"):
        Ledger.open(tmp_path)
    Ledger.open(tmp_path).close()
