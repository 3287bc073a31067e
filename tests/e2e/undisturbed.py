"""A study left alone, and a process that dies in the middle of the same study."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from small_study import outcome, small_study

if TYPE_CHECKING:
    from regraft.study import Study

MEASURED_KEYS = ("cost", "pace", "stack/", "compile/", "prefix_bytes")
"""Of decisions that hang on how fast the machine is and how full; two studies may come to either.
"""


@dataclass(frozen=True)
class Undisturbed:
    """What a study left alone ended with: its outcome, its decisions, how many events it took."""

    home: Path
    outcome: dict[str, Any]
    decisions: list[tuple[str, dict[str, Any]]]
    n_events: int
    seconds: float


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


def kill(home: Path, protocols: list[str], *, budget: float, at: int) -> None:
    """Run the study in a process that dies by SIGKILL at an event."""
    script = Path(__file__).with_name("small_study.py")
    folder = str(Path(protocols[0]).parent)
    command = [sys.executable, str(script), str(home), folder, str(budget), str(at)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
