"""What a budget decides is written down before it acts, and replayed after a kill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from regraft.errors import BudgetError
from small_study import outcome, small_study
from undisturbed import Undisturbed, decide, decisions_of, kill, run_whole, undisturbed

if TYPE_CHECKING:
    from pathlib import Path

BINDING_SHARES = (0.35, 0.5, 0.65)

pytestmark = pytest.mark.usefixtures("one_thread")


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
