"""Runs of an arm train together where a measurement says so; the race and its record hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from regraft.events import Done, Step
from regraft.search import stacking
from regraft.search.ladder import Ladder
from regraft.search.stacking import compare
from regraft.study import Sitting, Study
from regraft.verbs import verify_run
from small_search import around, run_whole, small_study, with_a_short_scratch, write_lora

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.engine.job import Job

EPOCHS = 6
ALWAYS, NEVER = 0.0, 1e9
"""Gains from which runs train together; what is measured here would be chance."""


def a_race(folder: Path, *, checkpoint_seconds: float = 10.0) -> Study:
    """Return a study of one arm's three rates."""
    folder.mkdir(exist_ok=True)
    study = small_study(folder / "home", [write_lora(folder, epochs=EPOCHS)])
    ample = Sitting(memory_bytes=1 << 50, checkpoint_seconds=checkpoint_seconds)
    return with_a_short_scratch(Study.from_spec(study.spec, home=study.ledger.home, sitting=ample))


def told(record: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what must not depend on how often a study was interrupted."""
    keys = ("key", "status", "runs", "tuning_runs", "validation", "test")
    return [tuple(arm[key] for key in keys) for arm in record["arms"]]


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[Any], dict[str, Any]]:
    """Return a study whose candidates trained together, its events and its record."""
    folder = tmp_path_factory.mktemp("stacked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(stacking._WORTH, "cpu", ALWAYS)
        study = a_race(folder)
        events = list(study.events())
    return study, events, study.result().record


def decision(study: Study) -> dict[str, Any]:
    """Return what was decided for the arm."""
    (found,) = [d for d in study.ledger.decisions.all(study.id) if d.key.startswith("stack/")]
    assert found.key == "stack/small-lora"
    return found.value


def winner(study: Study) -> Any:
    """Return the result of the rate that went on to the end."""
    rung = next(d.value for d in study.ledger.decisions.all(study.id) if d.key == "rung/0")
    return study.ledger.runs.result(rung["promoted"][0])


def test_the_decision_has_both_figures_and_comes_before_the_first_step(
    raced: tuple[Study, list[Any], dict[str, Any]],
) -> None:
    study, events, _ = raced
    value = decision(study)
    assert value["together"] == 3
    assert min(value["seconds_alone"], value["seconds_together"]) > 0
    gain = value["seconds_alone"] / value["seconds_together"]
    assert f"a step of 3 runs together is {gain:.2f} times as fast" in value["reason"]
    steps = [e for e in events if isinstance(e, Step) and e.run in value["runs"]]
    assert {e.run for e in steps} == set(value["runs"])
    # in turn up to the rung: nobody is ever more than a step ahead
    stands = dict.fromkeys(value["runs"], 0)
    for event in steps:
        stands[event.run] = event.step
        left = [s for run, s in stands.items() if s < 20]
        assert not left or max(stands.values()) - min(left) <= 1


def test_the_record_says_how_many_trained_together(
    raced: tuple[Study, list[Any], dict[str, Any]],
) -> None:
    study, _, record = raced
    arms = {arm["key"]: arm for arm in record["arms"]}
    assert arms["small-lora"]["stacked"] == 3
    assert arms["scratch"]["stacked"] == 1
    summary = winner(study).summary
    assert summary["stack"]["runs"] == decision(study)["runs"]
    assert len(summary["stack"]["ends"]) == 2  # both that dropped out, from where they did
    assert arms["small-lora"]["costs"] == []


@pytest.mark.slow
def test_together_they_come_to_what_they_come_to_one_by_one(
    raced: tuple[Study, list[Any], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(stacking._WORTH, "cpu", NEVER)
    study = a_race(tmp_path)
    events = list(study.events())
    value = decision(study)
    assert value["together"] == 1
    assert value["seconds_alone"] > 0
    ended = [e for e in events if isinstance(e, Done)]
    assert {e.summary["stacked"] for e in ended} == {1}
    ours, theirs = winner(raced[0]), winner(study)
    np.testing.assert_allclose(ours.arrays["logits"], theirs.arrays["logits"], atol=1e-3)


@pytest.mark.parametrize(
    ("run", "step"),
    [(1, 10), *[pytest.param(*one, marks=pytest.mark.slow) for one in ((0, 1), (2, 19), (2, 20))]],
)
def test_a_stacked_race_that_was_killed_ends_with_the_same_numbers(
    raced: tuple[Study, list[Any], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: int,
    step: int,
) -> None:
    whole, _, record = raced
    monkeypatch.setitem(stacking._WORTH, "cpu", ALWAYS)
    running = a_race(tmp_path, checkpoint_seconds=0.0).events()
    stop = (decision(whole)["runs"][run], step)
    for event in running:
        if isinstance(event, Step) and (event.run, event.step) == stop:
            break
    running.close()
    monkeypatch.setitem(stacking._WORTH, "cpu", NEVER)  # what was decided is replayed
    again = a_race(tmp_path)
    assert told(run_whole(again)) == told(record)
    assert decision(again)["together"] == 3
    ours, theirs = winner(again), winner(whole)
    assert np.array_equal(ours.arrays["logits"], theirs.arrays["logits"])
    assert ours.summary["stack"] == theirs.summary["stack"]


def test_a_stacked_run_is_verified_by_itself_to_identical_numbers(
    raced: tuple[Study, list[Any], dict[str, Any]],
) -> None:
    study, _, record = raced
    run = next(arm["run"] for arm in record["arms"] if arm["key"] == "small-lora")
    events = verify_run(run, backbone=None, home=study.ledger.home)
    while True:
        try:
            next(events)
        except StopIteration as stop:
            found = stop.value
            break
    assert found.same


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """Return a job of each arm of a small study."""
    folder = tmp_path_factory.mktemp("compare")
    study = small_study(folder / "home", ["ladder", write_lora(folder)])
    ladder = Ladder(around(study), study.task)
    return {
        arm.key: ladder.job("run", arm.candidates[0], place=0, seed=1)
        for arm in study.arms
        if arm.is_trained
    }


def three(job: Job) -> list[Job]:
    """Return three runs of a kind."""
    return [replace(job, run=f"run{i}") for i in range(3)]


def test_statistics_that_are_learnt_train_one_by_one(jobs: dict[str, Job]) -> None:
    found = compare(three(jobs["scratch"]))
    assert found["together"] == 1
    assert "normalisation learns its statistics" in found["reason"]


def test_dropout_trains_one_by_one(jobs: dict[str, Job]) -> None:
    job = jobs["small-lora"]
    (lora,) = job.protocol["modules"]
    protocol = {**job.protocol, "modules": [{**lora, "dropout": 0.3}]}
    found = compare(three(replace(job, protocol=protocol)))
    assert (found["together"], found["seconds_together"]) == (1, None)
    assert "random" in found["reason"]


def test_what_cannot_run_trains_one_by_one(jobs: dict[str, Job]) -> None:
    job = jobs["small-lora"]
    (lora,) = job.protocol["modules"]
    protocol = {**job.protocol, "modules": [{**lora, "on": ["attention_in"]}]}
    assert "attention" in compare(three(replace(job, protocol=protocol)))["reason"]


def test_one_run_is_no_stack(jobs: dict[str, Job]) -> None:
    assert compare([jobs["small-lora"]])["together"] == 1
