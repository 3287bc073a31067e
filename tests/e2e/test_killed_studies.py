"""A study may be killed anywhere, and ends with the numbers of one that was left alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from regraft.errors import BudgetError, LockedError
from small_study import AMPLE, outcome, small_study, write_protocols

if TYPE_CHECKING:
    from regraft.study import Study

POSITIONS = 20
IN_THE_SUITE = 3
SEED = 7
BINDING_SHARES = (0.35, 0.5, 0.65)


@dataclass(frozen=True)
class Undisturbed:
    """What a study left alone ended with: its outcome, its decisions, how many events it took."""

    home: Path
    outcome: dict[str, Any]
    decisions: list[tuple[str, dict[str, Any]]]
    n_events: int
    seconds: float


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    """Compute with as many threads as the processes that are killed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def protocols(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_protocols(tmp_path_factory.mktemp("protocols"))


def run_whole(study: Study) -> tuple[dict[str, Any], int]:
    """Run a study to its end; return its record and the number of events."""
    n_events = sum(1 for _ in study.events())
    return study.result().record, n_events


def decisions_of(study: Study) -> list[tuple[str, dict[str, Any]]]:
    return [(one.key, one.value) for one in study.ledger.decisions.all(study.id)]


def decide(study: Study, decisions: list[tuple[str, dict[str, Any]]]) -> None:
    for key, value in decisions:
        study.ledger.decisions.decide(study.id, key, lambda value=value: value)


def undisturbed(home: Path, protocols: list[str], budget: float) -> Undisturbed:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    study = small_study(home, protocols, budget=budget)
    record, n_events = run_whole(study)
    torch.set_num_threads(threads)
    seconds = record["study"]["seconds"]
    return Undisturbed(home, outcome(record), decisions_of(study), n_events, seconds)


@pytest.fixture(scope="module")
def ample(tmp_path_factory: pytest.TempPathFactory, protocols: list[str]) -> Undisturbed:
    return undisturbed(tmp_path_factory.mktemp("ample"), protocols, AMPLE)


def kill(home: Path, protocols: list[str], *, budget: float, at: int) -> None:
    """Run the study in a process that dies by SIGKILL at an event."""
    script = Path(__file__).with_name("small_study.py")
    folder = str(Path(protocols[0]).parent)
    command = [sys.executable, str(script), str(home), folder, str(budget), str(at)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def positions() -> list[Any]:
    """Return 20 places in a study, as shares of its events; three of them are in the suite."""
    shares = np.random.default_rng(SEED).uniform(0.0, 0.95, POSITIONS)
    slow = [pytest.param(share, marks=pytest.mark.slow) for share in shares[IN_THE_SUITE:]]
    return [*shares[:IN_THE_SUITE], *slow]


@pytest.mark.parametrize("share", positions())
def test_a_killed_study_ends_as_an_undisturbed_one(
    share: float, ample: Undisturbed, protocols: list[str], tmp_path: Path
) -> None:
    # Costs are measured, and ties go to the cheaper: both studies are given the same measurements.
    study = small_study(tmp_path, protocols)
    study.register()
    decide(study, [one for one in ample.decisions if one[0].startswith("cost/")])
    kill(tmp_path, protocols, budget=AMPLE, at=1 + int(share * ample.n_events))
    before = decisions_of(study)
    record, _ = run_whole(study)
    assert decisions_of(study)[: len(before)] == before
    assert outcome(record) == ample.outcome


def test_under_a_budget_that_binds_decisions_are_replayed(
    ample: Undisturbed, protocols: list[str], tmp_path: Path
) -> None:
    # What a budget decides depends on the machine's speed, so the killed study is given the
    # decisions of the undisturbed one, and must neither change nor add to them.
    budget, first = bound(ample, protocols, tmp_path)
    assert first.outcome != ample.outcome
    second = small_study(tmp_path / "second", protocols, budget=budget)
    second.register()
    decide(second, first.decisions)
    kill(tmp_path / "second", protocols, budget=budget, at=1 + first.n_events // 3)
    record, _ = run_whole(second)
    assert decisions_of(second) == first.decisions
    assert outcome(record) == first.outcome


def bound(ample: Undisturbed, protocols: list[str], folder: Path) -> tuple[float, Undisturbed]:
    """Return a budget that binds but holds the controls, however fast the machine is just now."""
    for share in BINDING_SHARES:
        budget = round(share * ample.seconds, 1)
        try:
            return budget, undisturbed(folder / f"first-{share}", protocols, budget)
        except BudgetError:
            continue
    raise AssertionError("no budget below the whole time holds the controls")


def test_a_finished_study_is_not_run_again(ample: Undisturbed, protocols: list[str]) -> None:
    record, n_events = run_whole(small_study(ample.home, protocols))
    assert n_events == 0
    assert outcome(record) == ample.outcome
    assert record["test_openings"] == 1


def test_a_second_process_is_told_so(protocols: list[str], tmp_path: Path) -> None:
    study = small_study(tmp_path, protocols)
    events = study.events()
    next(events)
    with pytest.raises(LockedError, match="another process"):
        next(small_study(tmp_path, protocols).events())
    events.close()
    assert json.dumps(study.ledger.studies.record(study.id)) == "null"
