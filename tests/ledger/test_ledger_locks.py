"""One process drives a study; several may use one ledger."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from regraft.errors import LedgerError, LockedError
from regraft.ledger.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys
from pathlib import Path
from regraft.ledger.ledger import Ledger
with Ledger.open(Path(sys.argv[1])).lock("study"):
    print("held", flush=True)
    sys.stdin.read()
"""

DECIDER = """
import sys
from pathlib import Path
from regraft.ledger.ledger import Ledger
ledger, me = Ledger.open(Path(sys.argv[1])), sys.argv[2]
ledger.studies.create("study", name="study", configuration={})
for i in range(20):
    print(ledger.decisions.decide("study", str(i), lambda: {"by": me})["by"])
    ledger.decisions.decide("study", f"{i}/{me}", lambda: {"by": me})
    ledger.studies.add_seconds("study", 1.0)
    ledger.studies.save_record("study", {"verdict": {"sentence": f"{i} {me}"}})
"""


def test_a_second_process_is_told_which_one_runs_the_study(ledger: Ledger) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(ledger.home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(
                LockedError,
                match=rf"study study: another process \(process {holder.pid}\) is running this "
                r"study\. Wait for it, or stop it\.",
            ),
            ledger.lock("study"),
        ):
            pass
        with ledger.lock("other"):
            pass
        holder.kill()
    with ledger.lock("study"):
        assert (ledger.home / "locks" / "study.pid").read_text() == str(os.getpid())


def test_a_study_is_held_against_the_same_process_too_and_let_go(ledger: Ledger) -> None:
    for _ in range(2):
        with (
            ledger.lock("study"),
            pytest.raises(LockedError, match=str(os.getpid())),
            Ledger.open(ledger.home).lock("study"),
        ):
            pass


def test_what_fails_within_the_lock_lets_go(ledger: Ledger) -> None:
    with pytest.raises(KeyError), ledger.lock("study"):
        raise KeyError
    with ledger.lock("study"):
        pass
    assert not (ledger.home / "locks" / "study.pid").exists()


def test_a_locks_folder_that_cannot_be_made_is_named(ledger: Ledger) -> None:
    (ledger.home / "locks").write_text("in the way", encoding="utf-8")
    with pytest.raises(LedgerError, match=r"locks/study\.lock: cannot be written \("):
        ledger.lock("study").__enter__()


def test_processes_that_make_a_ledger_at_once_agree_on_every_decision(tmp_path: Path) -> None:
    deciders = [
        subprocess.Popen(
            [sys.executable, "-c", DECIDER, str(tmp_path / "home"), str(me)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in range(3)
    ]
    told = [one.communicate() for one in deciders]
    assert [errors for _, errors in told] == [""] * 3
    assert len({answers for answers, _ in told}) == 1
    ledger = Ledger.open(tmp_path / "home")
    assert len(ledger.decisions.all("study")) == 20 + 3 * 20
    assert ledger.studies.elapsed("study") == 60.0
    assert ledger.studies.record("study") is not None
    assert ledger.artefacts.collect() == 0
    ledger.close()
