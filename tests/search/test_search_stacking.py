"""Runs of an arm train together where a measurement says so; the race and its record hold."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from regraft.backbones.loading import load_backbone
from regraft.config.protocol import load_protocol, resolve_protocol
from regraft.engine.job import Job
from regraft.events import Step
from regraft.features.store import Cache
from regraft.search import stacking
from regraft.search.advisor import Admission
from regraft.search.bench import Bench
from regraft.search.ladder import Ladder
from regraft.search.stacking import compare
from regraft.study import Sitting, Study
from regraft.tasks.task import Task
from regraft.verbs import verify_run
from small_backbones import WORDS, save_all
from small_search import around, run_whole, small_study, with_a_short_scratch, write_lora

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from regraft.events import Event
    from regraft.verbs import Verification

EPOCHS, HALF = 6, 20
ALWAYS, NEVER = 0.0, 1e9
"""Gains from which runs train together; what is measured here would be chance."""


def decide_by(patch: pytest.MonkeyPatch, worth: float) -> None:
    """Let a gain decide, however busy a step keeps this machine."""
    patch.setitem(stacking._WORTH, "cpu", worth)
    patch.setitem(stacking._BUSY_SECONDS, "cpu", math.inf)


def a_study(folder: Path) -> Study:
    """Return a study of one arm's three rates.

    A solved head leaves a loss near 0, whose gradient is rounding that AdamW makes full steps of.
    """
    folder.mkdir(exist_ok=True)
    study = small_study(folder / "home", [write_lora(folder, epochs=EPOCHS, start="random")])
    ample = Sitting(memory_bytes=1 << 50)
    return Study.from_spec(study.spec, home=study.ledger.home, sitting=ample)


def a_race(study: Study, *, checkpoint_seconds: float = 10.0, seeds: int = 1) -> Iterator[Event]:
    """Race the arm of a study, without controls and final evaluation."""
    ladder = Ladder(around(study, checkpoint_seconds=checkpoint_seconds), study.task)
    return ladder.events([arm for arm in study.arms if arm.key == "small-lora"], seeds=seeds)


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[Event]]:
    """Return a study whose candidates trained together, and the events of its race."""
    with pytest.MonkeyPatch.context() as patch:
        decide_by(patch, ALWAYS)
        study = a_study(tmp_path_factory.mktemp("stacked"))
        return study, list(a_race(study))


def decided(study: Study, key: str) -> dict[str, Any]:
    """Return what was decided under a key."""
    (found,) = [d.value for d in study.ledger.decisions.all(study.id) if d.key == key]
    return found


def together(study: Study) -> dict[str, Any]:
    """Return whether it was decided that the arm's runs train together."""
    return decided(study, "stack/small-lora")


def winner(study: Study) -> Any:
    """Return the result of the rate that went on to the end."""
    return study.ledger.runs.result(decided(study, "rung/0")["promoted"][0])


def verified(study: Study, run: str) -> Verification:
    """Run a run again by itself and return what came of it."""
    events = verify_run(run, backbone=None, home=study.ledger.home)
    while True:
        try:
            next(events)
        except StopIteration as stop:
            found: Verification = stop.value
            return found


def told(study: Study) -> list[Any]:
    """Return what must not depend on how often a study was interrupted."""
    keys = ("run", "value", "log_loss", "step")
    standings = [[one[key] for key in keys] for one in decided(study, "rung/0")["standings"]]
    ended = winner(study)
    kept = {key: ended.summary.get(key) for key in ("metrics", "stacked", "stack", "examples_seen")}
    return [standings, kept, ended.arrays["logits"].tolist()]


def test_the_decision_has_both_figures_and_the_race_goes_on_in_turn(
    raced: tuple[Study, list[Event]],
) -> None:
    study, events = raced
    value = together(study)
    assert value["together"] == 3
    assert min(value["seconds_alone"], value["seconds_together"]) > 0
    gain = value["seconds_alone"] / value["seconds_together"]
    assert f"a step of 3 runs together is {gain:.2f} times as fast" in value["reason"]
    stands = dict.fromkeys(value["runs"], 0)
    for event in events:
        if isinstance(event, Step):
            stands[event.run] = event.step
            left = [step for step in stands.values() if step < 20]
            assert not left or max(stands.values()) - min(left) <= 1
    assert sorted(stands.values())[:2] == [20, 20]


def test_the_summary_says_with_how_many_a_run_trained(raced: tuple[Study, list[Event]]) -> None:
    study, _ = raced
    summary = winner(study).summary
    assert summary["stacked"] == 3
    assert summary["stack"]["runs"] == together(study)["runs"]
    dropped = set(together(study)["runs"]) - set(decided(study, "rung/0")["promoted"])
    assert summary["stack"]["ends"] == dict.fromkeys(dropped, 20)


def test_together_they_come_to_what_they_come_to_one_by_one(
    raced: tuple[Study, list[Event]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_by(monkeypatch, NEVER)
    study = a_study(tmp_path)
    list(a_race(study))
    value = together(study)
    assert (value["together"], winner(study).summary["stacked"]) == (1, 1)
    assert value["seconds_alone"] > 0
    for ours, theirs in zip(told(raced[0])[0], told(study)[0], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    ours, theirs = winner(raced[0]).arrays["logits"], winner(study).arrays["logits"]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("run", "step"),
    [(1, 10), *[pytest.param(*one, marks=pytest.mark.slow) for one in ((0, 1), (2, 19), (2, 20))]],
)
def test_a_stacked_race_that_was_killed_ends_with_the_same_numbers(
    raced: tuple[Study, list[Event]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: int,
    step: int,
) -> None:
    whole, _ = raced
    decide_by(monkeypatch, ALWAYS)
    running = a_race(a_study(tmp_path), checkpoint_seconds=0.0)
    stop = (together(whole)["runs"][run], step)
    for event in running:
        if isinstance(event, Step) and (event.run, event.step) == stop:
            break
    running.close()
    decide_by(monkeypatch, NEVER)  # what was decided is replayed
    again = a_study(tmp_path)
    list(a_race(again))
    assert together(again)["together"] == 3
    assert told(again) == told(whole)


def test_a_stacked_run_is_verified_by_itself_to_identical_numbers(
    raced: tuple[Study, list[Event]],
) -> None:
    study, _ = raced
    assert verified(study, decided(study, "rung/0")["promoted"][0]).same


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return a study whose winner's other seeds trained together."""
    with pytest.MonkeyPatch.context() as patch:
        decide_by(patch, ALWAYS)
        study = a_study(tmp_path_factory.mktemp("seeds"))
        list(a_race(study, seeds=3))
        return study


def seeds_of(study: Study) -> list[Any]:
    """Return the results of the winner's seeds, the first one's first."""
    rows = study.ledger.runs.of(study.id)
    chosen = next(row for row in rows if row.id == decided(study, "rung/0")["promoted"][0])
    peak = chosen.configuration["protocol"]["rate"]["peak"]
    own = [row for row in rows if row.configuration["protocol"]["rate"]["peak"] == peak]
    in_order = sorted(own, key=lambda row: int(row.configuration["repetition"]))
    return [(row.id, study.ledger.runs.result(row.id)) for row in in_order]


def losses(study: Study, run: str) -> list[float]:
    """Return the loss of every step of a run."""
    events = study.ledger.journal.events(run)
    return [float(one["loss"]) for one in events if one["kind"] == "step"]


def test_other_seeds_of_an_arm_train_together_too(repeated: Study) -> None:
    (_, first), *others = seeds_of(repeated)
    value = decided(repeated, "stack/small-lora/seeds")
    assert value["together"] == len(others) == 2
    assert value["runs"] == [run for run, _ in others]
    assert first.summary["stack"]["runs"] != value["runs"]
    for _, one in others:
        assert one.summary["stacked"] == 2
        assert one.summary["stack"]["apart"]
    assert not np.allclose(others[0][1].arrays["logits"], others[1][1].arrays["logits"], atol=1e-3)


@pytest.mark.slow
def test_seeds_come_together_to_what_they_come_to_one_by_one(
    repeated: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_by(monkeypatch, NEVER)
    study = a_study(tmp_path)
    list(a_race(study, seeds=3))
    assert decided(study, "stack/small-lora/seeds")["together"] == 1
    for run, _ in seeds_of(repeated):
        # later a value that lies between two branches (the larger of a pool) may fall to the other
        ours, theirs = (losses(one, run)[:HALF] for one in (repeated, study))
        assert len(ours) == HALF
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_seeds_that_were_killed_together_end_with_the_same_numbers(
    repeated: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_by(monkeypatch, ALWAYS)
    running = a_race(a_study(tmp_path), checkpoint_seconds=0.0, seeds=3)
    stop = (decided(repeated, "stack/small-lora/seeds")["runs"][1], 5)
    for event in running:
        if isinstance(event, Step) and (event.run, event.step) == stop:
            break
    running.close()
    decide_by(monkeypatch, NEVER)  # what was decided is replayed
    again = a_study(tmp_path)
    list(a_race(again, seeds=3))
    for (_, ours), (_, theirs) in zip(seeds_of(again), seeds_of(repeated), strict=True):
        assert ours.summary["stack"] == theirs.summary["stack"]
        assert np.array_equal(ours.arrays["logits"], theirs.arrays["logits"])


def test_a_seed_that_trained_with_others_is_verified_by_itself(repeated: Study) -> None:
    run, _ = seeds_of(repeated)[2]
    assert verified(repeated, run).same


def test_a_seed_that_there_is_no_time_for_takes_part_in_no_step(
    repeated: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_by(monkeypatch, ALWAYS)
    study = a_study(tmp_path)
    study.register()
    none_left = Admission(False, "decided before")
    study.ledger.decisions.decide(study.id, "seed/small-lora/2", none_left.to_json)
    list(a_race(study, seeds=3))
    whole = dict(seeds_of(repeated))
    (first, _), (second, ended) = seeds_of(study)
    assert [first, second] == list(whole)[:2]
    assert ended.summary["stack"]["ends"] == {list(whole)[2]: -1}
    assert ended.summary["stacked"] == 1
    np.testing.assert_allclose(
        losses(study, second)[:HALF], losses(repeated, second)[:HALF], rtol=0, atol=1e-5
    )
    assert verified(study, second).same


def test_seeds_of_texts_train_one_by_one(tmp_path: Path) -> None:
    backbone = load_backbone(save_all(tmp_path / "models")["bert"])
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, size)) for size in random.integers(1, 20, 60)]
    task = Task.read((texts, ["yes", "no"] * 30), metric="accuracy", seed=0)
    data = Bench(task.development, backbone, Cache(tmp_path / "cache")).run_data(task)
    protocol = resolve_protocol(load_protocol("lora"))
    found = compare([Job(f"run{i}", protocol, backbone, data, seed=i) for i in range(2)])
    assert (found["together"], found["seconds_together"]) == (1, None)
    assert "texts of other seeds differ in length" in found["reason"]


@pytest.mark.slow
def test_the_record_of_a_whole_study_says_what_trained_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_by(monkeypatch, ALWAYS)
    record = run_whole(with_a_short_scratch(a_study(tmp_path)))
    arms = {arm["key"]: arm for arm in record["arms"]}
    assert (arms["small-lora"]["stacked"], arms["scratch"]["stacked"]) == (3, 1)
    assert arms["small-lora"]["costs"] == []
    assert len(arms["scratch"]["costs"]) == 1


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


def test_long_steps_are_not_even_timed_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_by(monkeypatch, ALWAYS)
    monkeypatch.setitem(stacking._BUSY_SECONDS, "cpu", 0.0)
    study = a_study(tmp_path)
    list(a_race(study))
    keys = [one.key for one in study.ledger.decisions.all(study.id)]
    assert not [key for key in keys if key.startswith("stack/")]
    assert winner(study) is not None
