"""Studies in which training from scratch takes little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.main import get_command

from regraft.cli import app
from regraft.commands.asking import study_of
from regraft.search.advisor import Admission

if TYPE_CHECKING:
    from regraft.study import Study


def with_few_epochs_from_scratch(study: Study) -> Study:
    """Decide, as a small budget would, that training from scratch gets few epochs at one rate."""
    study.register()
    terms = Admission(True, "decided before", n_rates=1, epochs=20, estimated_seconds=5.0)
    study.ledger.decisions.decide(study.id, "arm/scratch", terms.to_json)
    return study


def asked_of_run(*arguments: object) -> Study:
    """Return the study that `regraft run` would run with these arguments."""
    group: Any = get_command(app)
    found = group.commands["run"].make_context("run", [*map(str, arguments)]).params
    return study_of({name: value for name, value in found.items() if value != ()})
