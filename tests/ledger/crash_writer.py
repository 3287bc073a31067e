"""Writes a small study into a ledger, from the start or from where it was killed.

Run as ``python crash_writer.py HOME [N]``: kills itself before the N-th operation on a file. What
it says on standard output is on disk when it says so.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from regraft.events import Checkpoint, Done
from regraft.ledger.grafts import Graft, write_graft
from regraft.ledger.ledger import Ledger

RUNS, STEPS, EVERY = 3, 120, 40
_WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "fcntl.flock"}


def weights(run: int, step: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return the state of a run after a step."""
    return {"head.weight": np.full((40, 50), 1000 * run + step, np.float32)}


def graft(study: str) -> Graft:
    """Return the graft of the study."""
    return Graft(
        backbone="zoo:glyphs",
        backbone_digest="d",
        kind="image",
        classes=("a", "b"),
        preprocess={},
        protocol={"modules": []},
        state={**weights(0, STEPS), "backbone.w": np.ones(3)},  # type: ignore[arg-type]
        card=study,
    )


def write_run(ledger: Ledger, number: int) -> None:
    """Run from the last checkpoint to the result."""
    run, journal = f"run{number}", ledger.journal
    ledger.runs.add("study", run, protocol=run, role="", reason="", configuration={"n": number})
    if ledger.runs.result(run) is not None:
        return
    checkpoint = journal.checkpoint(run)
    journal.rewind(run, checkpoint)
    for step in range(checkpoint.step if checkpoint else 0, STEPS):
        journal.append(run, {"step": step})
        if (step + 1) % EVERY == 0:
            state = weights(number, step + 1)
            journal.save_checkpoint(Checkpoint(run, step + 1, {"best": step}, state))
            say("checkpoint", run, step + 1)
    ledger.runs.save_result(
        Done(run, {"n": number}, weights(number, STEPS), {"rows": np.arange(number)})
    )
    say("result", run)


def write(home: Path) -> None:
    """Write the study to its end."""
    ledger = Ledger.open(home)
    ledger.studies.create("study", name="study", configuration={})
    with ledger.lock("study"):
        for number in range(RUNS):
            value = ledger.decisions.decide("study", f"arm/{number}", lambda: {"by": os.getpid()})
            say("decision", number, value["by"])
            write_run(ledger, number)
        ledger.runs.keep_states("study", {"run0"})
        for _ in range(2):
            write_graft(home / "grafts" / "study", graft("study"))
            say("graft")
        ledger.studies.save_record("study", {"verdict": {"sentence": "done"}})
        say("record")


def say(*words: object) -> None:
    """Say what is on disk."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def kill_at(last: int) -> None:
    """Kill this process before its operation number `last` on a file."""
    count = 0

    def watch(name: str, _: object) -> None:
        nonlocal count
        count += name in _WATCHED
        if name in _WATCHED and count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        kill_at(int(sys.argv[2]))
    write(Path(sys.argv[1]))
