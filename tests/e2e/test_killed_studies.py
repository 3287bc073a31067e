"""A study may be killed anywhere, and ends with the numbers of one that was left alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from regraft.errors import LockedError
from small_study import AMPLE, outcome, small_study
from undisturbed import (
    MEASURED_KEYS,
    Undisturbed,
    decide,
    decisions_of,
    kill,
    run_whole,
)

if TYPE_CHECKING:
    from pathlib import Path

POSITIONS = 20
IN_THE_SUITE = 3
SEED = 7

pytestmark = pytest.mark.usefixtures("one_thread")


def positions() -> list[Any]:
    """Return 20 places in a study, as shares of its events; three of them are in the suite."""
    shares = np.random.default_rng(SEED).uniform(0.0, 0.95, POSITIONS)
    slow = [pytest.param(share, marks=pytest.mark.slow) for share in shares[IN_THE_SUITE:]]
    return [*shares[:IN_THE_SUITE], *slow]


@pytest.mark.parametrize("share", positions())
def test_a_killed_study_ends_as_an_undisturbed_one(
    share: float, ample: Undisturbed, protocols: list[str], tmp_path: Path
) -> None:
    # What is measured decides (ties go to the cheaper, what is faster together trains together):
    # both studies are given the same measurements.
    study = small_study(tmp_path, protocols)
    study.register()
    decide(study, [one for one in ample.decisions if one[0].startswith(MEASURED_KEYS)])
    kill(tmp_path, protocols, budget=AMPLE, at=1 + int(share * ample.n_events))
    before = decisions_of(study)
    record, _ = run_whole(study)
    assert decisions_of(study)[: len(before)] == before
    assert outcome(record) == ample.outcome


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
