"""A study small enough to be run many times, and a process that is killed in the middle of it.

`python small_study.py HOME PROTOCOLS BUDGET KILL_AT` kills itself with SIGKILL when it has seen so
many events.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from regraft.config.loading import validate_data
from regraft.config.study import StudySpec
from regraft.search.advisor import Admission
from regraft.study import Sitting, Study

LORA = """\
name: small-lora
head: {kind: linear, start: probe}
modules: [{kind: lora, rank: 2}]
rate: {kind: cosine, peak: 3e-3}
fit: {epochs: 10, patience: 10, least_steps: 1, batch_size: 16}
"""
GRADUAL = """\
name: small-gradual
head: {kind: linear, start: random}
train: {from_depth: 0.5}
unfreeze: {kind: gradual}
rate: {kind: slanted_triangular, peak: 3e-3, decay_per_depth: 2.6}
data: {augment: light}
fit: {epochs: 10, patience: 10, least_steps: 1, batch_size: 16}
"""
AMPLE = 1e6  # seconds; a budget that never binds


def write_protocols(folder: Path) -> list[str]:
    """Write the study's two protocols and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"small-lora.yaml": LORA, "small-gradual.yaml": GRADUAL}
    for name, text in paths.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [str(folder / name) for name in paths]


def small_study(home: Path, protocols: list[str], *, budget: float = AMPLE) -> Study:
    """Return the study: 12 labels per class of real digits, and a label curve.

    Where no budget decides it, training from scratch gets a few epochs at two rates.
    """
    data = {
        "task": {"data": "zoo:digits", "metric": "accuracy"},
        "backbones": ["zoo:glyphs"],
        "budget": budget,
        "protocols": protocols,
        "seeds": 2,
        "label_budget": 12,
        "label_budgets": [2],
        "precision": "fp32",  # which pays here is measured, and would be chance
    }
    spec = validate_data(StudySpec, data, where="small study")
    study = Study.from_spec(spec, home=home, sitting=Sitting(checkpoint_seconds=0.25))
    if budget == AMPLE:
        study.register()
        short = Admission(True, "decided before", n_rates=2, epochs=4, estimated_seconds=1.0)
        study.ledger.decisions.decide(study.id, "arm/scratch", short.to_json)
    return study


def outcome(record: dict[str, Any]) -> dict[str, Any]:
    """Return what of a record must not depend on time: verdict, metrics, gates, curves."""
    arms = [
        {key: arm[key] for key in ("key", "status", "runs", "tuning_runs", "validation", "test")}
        | {"versus": [arm["versus_best"], arm["versus_best_test"]], "movement": arm["movement"]}
        for arm in record["arms"]
    ]
    curves = [
        [(point["step"], point["train_loss"], point["metric"]) for point in curve["points"]]
        for curve in record["curves"]
    ]
    best = {k: record["best"][k] for k in ("run", "confusion", "reliability", "mistakes")}
    kinds = {key: record["verdict"][key] for key in ("kind", "confirmed", "reasons")}
    return {
        "arms": sorted(arms, key=lambda arm: arm["key"]),
        "curves": sorted(curves),
        "best": best,
        "verdict": kinds,
        "gates": record["gates"],
        "label_efficiency": record["label_efficiency"],
    }


def main(arguments: list[str]) -> None:
    """Run the study until so many events have been seen; then die without a word."""
    home, protocols, budget, kill_at = arguments
    torch.set_num_threads(1)
    study = small_study(Path(home), write_protocols(Path(protocols)), budget=float(budget))
    for number, _ in enumerate(study.events(), start=1):
        if number == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
