"""What runs of a small study share, on a budget of one's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from regraft.config.loading import validate_data
from regraft.config.study import StudySpec
from regraft.search.advisor import Admission
from regraft.search.clock import Clock
from regraft.study import Study

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.search.surroundings import Surroundings

AMPLE = 1e6
SPENT = 1e-9
"""Seconds of a budget that is over before the first step."""


def write_lora(
    folder: Path, *, epochs: int = 3, name: str = "small-lora", start: str = "probe"
) -> str:
    """Write a protocol of a few short epochs; return its path."""
    path = folder / f"{name}.yaml"
    fit = f"fit: {{epochs: {epochs}, least_steps: 1, batch_size: 16}}"
    head = f"head: {{kind: linear, start: {start}}}"
    lora = f"modules: [{{kind: lora, rank: 2}}]\n{head}\n{fit}\n"
    path.write_text(f"name: {name}\n{lora}", encoding="utf-8")
    return str(path)


def small_study(home: Path, protocols: list[str], **asked: Any) -> Study:
    """Return a study of 12 labels per class of real digits, one seed."""
    data = {
        "task": {"data": "zoo:digits", "metric": "accuracy"},
        "backbones": ["zoo:glyphs"],
        "budget": AMPLE,
        "protocols": protocols,
        "seeds": 1,
        "label_budget": 12,
        "precision": "fp32",
        **asked,
    }
    return Study.from_spec(validate_data(StudySpec, data, where="small study"), home=home)


def around(study: Study, *, budget: float = AMPLE, checkpoint_seconds: float = 0.0) -> Surroundings:
    """Return what the runs of a study share; they may take a checkpoint after every step."""
    study.register()
    shared = study.surroundings(Clock(study.ledger, study.id, budget))
    return replace(shared, checkpoint_seconds=checkpoint_seconds)


def run_whole(study: Study) -> dict[str, Any]:
    """Run a study to its end and return its record."""
    for _ in study.events():
        pass
    return study.result().record


def with_a_short_scratch(study: Study) -> Study:
    """Decide, as a small budget would, that training from scratch gets two epochs at one rate."""
    study.register()
    terms = Admission(True, "decided before", n_rates=1, epochs=2, estimated_seconds=1.0)
    study.ledger.decisions.decide(study.id, "arm/scratch", terms.to_json)
    return study
