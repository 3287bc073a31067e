"""What a budget decides is written down before it acts, and replayed after a kill."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from regraft.errors import BudgetError
from regraft.ledger.ledger import Ledger
from small_study import outcome, small_study
from undisturbed import Undisturbed, decide, decisions_of, kill, run_whole, undisturbed

if TYPE_CHECKING:
    from pathlib import Path

BINDING_SHARES = (0.35, 0.5, 0.65)
NEVER = {"at_step": 1 << 40, "reason": "its time is not spent"}

pytestmark = pytest.mark.usefixtures("one_thread")


def test_under_a_budget_that_binds_decisions_are_replayed(
    ample: Undisturbed, protocols: list[str], tmp_path: Path
) -> None:
    # What a budget decides depends on the machine's speed, so the killed study is given the
    # decisions of the undisturbed one, and must neither change nor add to them; runs that came to
    # their end do so again, however long they take.
    budget, first = bound(ample, protocols, tmp_path)
    assert first.outcome != ample.outcome
    second = small_study(tmp_path / "second", protocols, budget=budget)
    second.register()
    decided = dict(first.decisions)
    with closing(Ledger.open(first.home)) as ledger:
        ends = {f"run/{one.id}/finish/fit" for one in ledger.runs.of(second.id)}
    decided |= {key: NEVER for key in ends - set(decided)}
    decide(second, list(decided.items()))
    kill(tmp_path / "second", protocols, budget=budget, at=1 + first.n_events // 3)
    record, _ = run_whole(second)
    assert dict(decisions_of(second)) == decided
    assert outcome(record) == first.outcome


def test_trials_that_the_controls_belie_are_made_again(
    ample: Undisturbed, protocols: list[str], tmp_path: Path
) -> None:
    # As if other work had slowed the study's first seconds.
    study = small_study(tmp_path / "home", protocols, budget=4 * ample.seconds)
    study.register()
    trials = {key: value for key, value in ample.decisions if "epoch_seconds" in value}
    slow = {
        key: {**value, "epoch_seconds": 30 * value["epoch_seconds"]}
        for key, value in trials.items()
    }
    decide(study, list(slow.items()))
    decided: dict[str, dict[str, Any]] = {}
    for _ in study.events():
        decided = dict(decisions_of(study))
        if "arm/small-lora" in decided:
            break
    assert "times as long as trials said" in decided["pace"]["reason"]
    again, first = decided["cost-again/small-lora"], slow["cost/small-lora"]
    assert again["epoch_seconds"] < first["epoch_seconds"] / 3
    assert decided["arm/small-lora"]["admitted"]


def bound(ample: Undisturbed, protocols: list[str], folder: Path) -> tuple[float, Undisturbed]:
    """Return a budget that binds but holds the controls, however fast the machine is just now."""
    for share in BINDING_SHARES:
        budget = round(share * ample.seconds, 1)
        try:
            return budget, undisturbed(folder / f"first-{share}", protocols, budget)
        except BudgetError:
            continue
    raise AssertionError("no budget below the whole time holds the controls")
