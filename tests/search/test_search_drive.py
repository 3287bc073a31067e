"""Driving one run: what is recorded is taken, what the budget decided is replayed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from regraft.engine.fit import CHECKPOINT
from regraft.errors import LedgerError
from regraft.events import Checkpoint, Done, Step
from regraft.search.advisor import Admission
from regraft.search.drive import Outcome, has_weights, recorded
from regraft.search.ladder import Ladder
from regraft.search.outcomes import ArmOutcome
from regraft.seeds import derive
from regraft.verbs import verify_run
from small_search import SPENT, around, small_study, write_lora

if TYPE_CHECKING:
    from collections.abc import Generator

    from regraft.events import Event
    from regraft.ledger.decisions import Decision
    from regraft.search.surroundings import Surroundings
    from regraft.study import Study


def arm_of(study: Study, key: str = "small-lora") -> ArmOutcome:
    (arm,) = [one for one in study.arms if one.key == key]
    epochs = int(arm.candidates[0]["fit"]["epochs"])
    return ArmOutcome(arm, Admission(True, "a test", epochs=epochs))


def of_runs(study: Study) -> list[Decision]:
    """Return what was decided of single runs."""
    return [one for one in study.ledger.decisions.all(study.id) if one.key.startswith("run/")]


def run_of(
    study: Study, shared: Surroundings, *, key: str = "small-lora", with_weights: bool = False
) -> Generator[Event, str | None, Outcome]:
    outcome = arm_of(study, key)
    ladder = Ladder(shared, study.task)
    return ladder.run(outcome, outcome.protocol, repetition=0, with_weights=with_weights)


def ended(events: Generator[Event, str | None, Any]) -> tuple[Any, int]:
    """Drive a run to its end; return what it returns and the number of its events."""
    count = 0
    while True:
        try:
            next(events)
            count += 1
        except StopIteration as stop:
            return stop.value, count


@pytest.fixture
def lora(tmp_path: Path) -> str:
    return write_lora(tmp_path)


def same(first: Outcome, second: Outcome) -> bool:
    return bool(np.array_equal(first.arrays["logits"], second.arrays["logits"]))


def test_a_run_that_is_done_is_taken_by_another_study(lora: str, tmp_path: Path) -> None:
    first, second = (small_study(tmp_path / "home", [lora], name=name) for name in ("a", "b"))
    assert first.id != second.id
    outcome, n_events = ended(run_of(first, around(first)))
    again, n_more = ended(run_of(second, around(second)))
    assert (n_events > 0, n_more) == (True, 0)
    assert again.run == outcome.run
    assert same(outcome, again)
    assert second.ledger.runs.studies_of(outcome.run) == [first.id, second.id]


def test_a_run_that_the_budget_ended_is_no_result_for_another_study(
    lora: str, tmp_path: Path
) -> None:
    poor, rich = (small_study(tmp_path / "home", [lora], name=name) for name in ("a", "b"))
    cut, _ = ended(run_of(poor, around(poor, budget=SPENT)))
    assert cut.summary["stages"][0]["finished_early"]
    assert cut.summary["stages"][0]["step"] == 1
    (decision,) = of_runs(poor)
    assert decision.key == f"run/{cut.run}/finish/fit"
    assert "is spent: the run ends with its best state so far" in decision.value["reason"]
    taken, n_events = ended(run_of(poor, around(poor, budget=SPENT)))
    assert (n_events, same(cut, taken)) == (0, True)
    assert recorded(rich.ledger, rich.id, cut.run) is None
    whole, n_events = ended(run_of(rich, around(rich)))
    assert n_events > 0
    assert not whole.summary["stages"][0]["finished_early"]
    assert not same(cut, whole)


def test_what_the_budget_decided_is_replayed_when_the_run_is_verified(
    lora: str, tmp_path: Path
) -> None:
    study = small_study(tmp_path / "home", [lora])
    shared = around(study, budget=SPENT)
    study.ledger.decisions.decide(
        study.id, f"run/{run_id(study, shared)}/finish/fit", lambda: {"at_step": 4, "reason": "x"}
    )
    cut, _ = ended(run_of(study, shared))
    assert cut.summary["stages"][0]["step"] == 4
    found, _ = ended(verify_run(cut.run, backbone=None, home=study.ledger.home))
    assert found.same


def run_id(study: Study, shared: Surroundings) -> str:
    outcome = arm_of(study)
    return Ladder(shared, study.task).run_id(outcome.protocol, 0, derive(study.spec.seed, "run", 0))


@pytest.mark.parametrize("steps", [1, 7, 17])
def test_a_run_that_was_left_goes_on_to_the_same_numbers(
    steps: int, lora: str, tmp_path: Path
) -> None:
    left, whole = (small_study(tmp_path / home, [lora]) for home in ("left", "whole"))
    events = run_of(left, around(left, checkpoint_seconds=1e6))
    answer, seen = None, 0
    while not isinstance(event := events.send(answer), Checkpoint):
        seen += isinstance(event, Step)
        answer = CHECKPOINT if seen >= steps else None
    events.close()
    outcome, _ = ended(run_of(left, around(left, checkpoint_seconds=1e6)))
    undisturbed, _ = ended(run_of(whole, around(whole, checkpoint_seconds=1e6)))
    assert same(outcome, undisturbed)
    kinds = [[e["kind"] for e in one.ledger.journal.events(outcome.run)] for one in (left, whole)]
    assert kinds[0].count("step") == kinds[1].count("step")


def test_weights_that_were_freed_come_back_when_they_are_needed(lora: str, tmp_path: Path) -> None:
    study = small_study(tmp_path / "home", [lora])
    shared = around(study)
    first, _ = ended(run_of(study, shared))
    assert has_weights(study.ledger, first.run)
    state = study.ledger.runs.result(first.run)
    assert state is not None
    before = {name: tensor.numpy() for name, tensor in state.load_state().items()}
    study.ledger.runs.keep_states(study.id, set())
    assert not has_weights(study.ledger, first.run)
    taken, n_events = ended(run_of(study, shared))
    assert (n_events, same(first, taken)) == (0, True)
    spent = around(study, budget=SPENT)  # the budget ends no run that has its result
    again, n_events = ended(run_of(study, spent, with_weights=True))
    assert n_events > 0
    assert same(first, again)
    result = study.ledger.runs.result(first.run)
    assert result is not None
    after: dict[str, Any] = {name: tensor.numpy() for name, tensor in result.load_state().items()}
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert of_runs(study) == []
    assert ended(run_of(study, spent, with_weights=True))[1] == 0


def test_a_run_that_failed_is_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "wild.yaml"
    module = "{kind: lora, rank: 2, on: [attention_in]}"
    path.write_text(f"name: wild\nmodules: [{module}]\n", encoding="utf-8")
    study = small_study(tmp_path / "home", [str(path)])
    outcome, n_events = ended(run_of(study, around(study), key="wild"))
    assert (outcome.status, n_events > 0) == ("failed", True)
    assert "attention_in" in outcome.reason
    again, n_events = ended(run_of(study, around(study), key="wild", with_weights=True))
    assert (again.status, again.reason, n_events) == ("failed", outcome.reason, 0)


def test_a_full_disk_ends_the_sitting_and_not_the_run(
    lora: str, tmp_path: Path, full_disk: Any
) -> None:
    study = small_study(tmp_path / "home", [lora])
    shared = around(study)
    with full_disk(100_000), pytest.raises(LedgerError, match=r"Free space there"):
        ended(run_of(study, shared))
    outcome, _ = ended(run_of(study, around(study)))
    assert outcome.status == "done"
    other = small_study(tmp_path / "other", [lora])
    assert same(outcome, ended(run_of(other, around(other)))[0])


def test_events_are_written_before_they_are_yielded(lora: str, tmp_path: Path) -> None:
    study = small_study(tmp_path / "home", [lora])
    for event in run_of(study, around(study)):
        if isinstance(event, Checkpoint):
            kept = study.ledger.journal.checkpoint(event.run)
            assert kept is not None
            assert kept.step == event.step
        if isinstance(event, Done):
            assert study.ledger.runs.result(event.run) is not None


def write_views(folder: Path) -> str:
    """Write a protocol whose frozen blocks are computed once for each of two views."""
    path = folder / "small-views.yaml"
    text = (
        "name: small-views\n"
        "modules: [{kind: lora, rank: 2, layers: [layers.3.0]}]\n"
        "data: {augment: {kind: light, flip: false}, views: 2}\n"
        "fit: {epochs: 2, least_steps: 1, batch_size: 16}\n"
    )
    path.write_text(text, encoding="utf-8")
    return str(path)


def entries(study: Study) -> list[Path]:
    return sorted((study.ledger.home / "cache").iterdir())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("undisturbed")
    study = small_study(folder, [write_views(folder)])
    outcome: Outcome = ended(run_of(study, around(study), key="small-views"))[0]
    assert outcome.summary["activations"] == "cached views (2)"
    return outcome


def test_no_room_for_the_cache_loses_no_run(
    undisturbed: Outcome, tmp_path: Path, full_disk: Any
) -> None:
    full = small_study(tmp_path / "full", [write_views(tmp_path)])
    shared = around(full)
    assert len(shared.benches[0].features)  # what every head starts from is there already
    before = entries(full)
    with full_disk(400_000):
        outcome, _ = ended(run_of(full, shared, key="small-views"))
    assert outcome.summary["activations"] == ("computed views (2): the cache could not be written")
    assert entries(full) == before
    (decision,) = of_runs(full)
    assert decision.key == f"run/{outcome.run}/activations/fit"
    assert "the cache cannot be written (File too large)" in decision.value["reason"]
    found, _ = ended(verify_run(outcome.run, backbone=None, home=full.ledger.home))
    assert found.same
    logits = [one.arrays["logits"] for one in (undisturbed, outcome)]
    assert np.allclose(*logits, rtol=0, atol=1e-5)


DIES = """
import os, signal, sys
from pathlib import Path
from regraft.features.views import ViewInputs
from small_search import around, small_study
from test_search_drive import ended, run_of

draw = ViewInputs.gather

def dies(inputs, rows):
    if inputs._view.index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(inputs, rows)

ViewInputs.gather = dies
study = small_study(Path(sys.argv[1]), [sys.argv[2]])
ended(run_of(study, around(study), key="small-views"))
"""


def test_killed_while_the_cache_is_written_a_run_goes_on_to_the_same_numbers(
    undisturbed: Outcome, tmp_path: Path
) -> None:
    views = write_views(tmp_path)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(tmp_path / "left"), views],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = small_study(tmp_path / "left", [views])
    assert [one.suffix for one in entries(left)].count(".part") == 1
    outcome, _ = ended(run_of(left, around(left), key="small-views"))
    assert {one.suffix for one in entries(left)} == {".arrays"}
    assert same(outcome, undisturbed)
    assert outcome.summary["activations"] == "cached views (2)"
    events = left.ledger.journal.events(outcome.run)
    assert [event["resumed_at_step"] for event in events if event["kind"] == "started"] == [0, 7]
