"""What a budget decides is written down before it acts, and replayed after a kill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from regraft.errors import BudgetError
from small_study import AMPLE, outcome, small_study, write_protocols
from undisturbed import Undisturbed, decide, decisions_of, kill, run_whole, undisturbed

if TYPE_CHECKING:
    from pathlib import Path

BINDING_SHARES = (0.35, 0.5, 0.65)


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


@pytest.fixture(scope="module")
def ample(tmp_path_factory: pytest.TempPathFactory, protocols: list[str]) -> Undisturbed:
    return undisturbed(tmp_path_factory.mktemp("ample"), protocols, AMPLE)


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
