"""Writes ``version-N/``: a ledger as the present version leaves it, to be opened by later ones.

Run once per schema version, before the next one: ``python tests/ledger/make_fixture.py``.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path

import numpy as np

from regraft.events import Checkpoint, Done
from regraft.ledger.ledger import Ledger
from regraft.ledger.migrations import VERSION


def write_fixture(folder: Path) -> None:
    """Write the tables as SQL, and the artefacts as they are."""
    home = Path(tempfile.mkdtemp())
    ledger = Ledger.open(home)
    ledger.studies.create("0123456789abcdef", name="bees", configuration={"seed": 0})
    ledger.studies.create("fedcba9876543210", name="ants", configuration={"seed": 1})
    ledger.studies.add_seconds("0123456789abcdef", 12.5)
    ledger.decisions.decide(
        "0123456789abcdef", "arm/majority", lambda: {"admitted": True, "reason": "a control"}
    )
    for run, role in (("aaaa", "control"), ("bbbb", "candidate"), ("cccc", "candidate")):
        ledger.runs.add(
            "0123456789abcdef",
            run,
            protocol=f"protocol-{run}",
            role=role,
            reason="cheap",
            configuration={"protocol": {"modules": []}, "seed": 7},
        )
        ledger.journal.append(run, {"kind": "started", "run": run, "notes": []})
    summary = {"metrics": {"accuracy": 0.5, "auroc": float("nan")}}
    arrays = {"rows": np.arange(2), "logits": np.ones((2, 2), np.float32)}
    ledger.runs.save_result(Done("aaaa", summary, {"predictor.counts": np.ones(2)}, arrays))
    ledger.runs.save_failure("bbbb", "diverged: loss is nan")
    ledger.journal.save_checkpoint(Checkpoint("cccc", 4, {"best": 0.25}, {"w": np.ones(1)}))
    ledger.openings.record("e" * 64, "0123456789abcdef")
    ledger.studies.save_record("0123456789abcdef", {"verdict": {"sentence": "Recommend."}})
    ledger.close()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(home / "artefacts", folder / "artefacts")
    database = sqlite3.connect(home / "ledger.db")
    (folder / "ledger.sql").write_text("\n".join(database.iterdump()) + "\n", encoding="utf-8")
    database.close()
    shutil.rmtree(home)


if __name__ == "__main__":
    write_fixture(Path(__file__).with_name(f"version-{VERSION}"))
