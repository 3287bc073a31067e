"""The race: the worse drop out, on record; nobody starts again; a resumed race ends the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from regraft.commands.records import runs as list_runs
from regraft.events import Checkpoint, Done, Step
from regraft.ledger.decisions import Decision
from regraft.search.race import dropped_out
from regraft.study import Sitting, Study
from small_search import run_whole, small_study, with_a_short_scratch, write_lora

if TYPE_CHECKING:
    from pathlib import Path

EPOCHS = 12
UNFIT = """\
name: unfit
modules: [{kind: lora, rank: 2, on: [attention_in]}]
fit: {epochs: 12, least_steps: 1, batch_size: 16}
"""


def a_race(folder: Path, home: Path) -> Study:
    """Return a study of three rates that learn and three that cannot: there is no attention."""
    folder.mkdir(exist_ok=True)
    unfit = folder / "unfit.yaml"
    unfit.write_text(UNFIT, encoding="utf-8")
    protocols = [write_lora(folder, epochs=EPOCHS), str(unfit)]
    return with_a_short_scratch(small_study(home, protocols))


def told(record: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what must not depend on how often a study was interrupted."""
    keys = ("key", "status", "runs", "tuning_runs", "validation", "test", "reason")
    return [
        tuple(arm[key] for key in keys if key != "reason" or arm["status"] != "done")
        for arm in record["arms"]
    ]


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("race")
    study = a_race(folder / "protocols", folder / "home")
    events = list(study.events())
    return study, events, study.result().record


def test_the_worse_drop_out_early_and_the_best_ends(
    raced: tuple[Study, list[Any], dict[str, Any]],
) -> None:
    study, events, record = raced
    (rung,) = [d.value for d in study.ledger.decisions.all(study.id) if d.key.startswith("rung/")]
    ranked = sorted(rung["standings"], key=lambda one: (-one["value"], one["log_loss"]))
    assert rung["promoted"] == [ranked[0]["run"]]
    assert len(ranked) == 3  # those that failed are not compared
    dropped = {one["run"] for one in ranked[1:]}
    steps: dict[str, int] = {}
    for event in events:
        if isinstance(event, Step):
            steps[event.run] = event.step
    total = ranked[0]["total_steps"]
    assert {steps[run] for run in dropped} == {max(20, total // 9)}
    assert steps[rung["promoted"][0]] > total // 9
    ended = {event.run for event in events if isinstance(event, Done)}
    assert not dropped & ended
    arms = {arm["key"]: arm for arm in record["arms"]}
    assert arms["small-lora"]["status"] == "done"
    assert dropped < set(arms["small-lora"]["tuning_runs"])
    assert arms["unfit"]["status"] == "failed"
    assert "attention" in arms["unfit"]["reason"]
    assert all(a["status"] == "done" for a in record["arms"] if a["role"] != "candidate")


@pytest.mark.parametrize(
    "share", [0.45, *[pytest.param(s, marks=pytest.mark.slow) for s in (0.3, 0.7)]]
)
def test_a_race_that_was_interrupted_ends_the_same(
    raced: tuple[Study, list[Any], dict[str, Any]], tmp_path: Path, share: float
) -> None:
    _, events, record = raced
    study = a_race(tmp_path / "protocols", tmp_path / "home")
    running = study.events()
    for _ in range(int(share * len(events))):
        next(running)
    running.close()
    again = a_race(tmp_path / "protocols", tmp_path / "home")
    assert told(run_whole(again)) == told(record)


def raced_in_turn(study: Study) -> list[str]:
    """Return the runs of the race in their order."""
    (rung,) = [one for one in study.ledger.decisions.all(study.id) if one.key == "rung/0"]
    return [one["run"] for one in rung.value["standings"]]


def test_predicted_and_actual_costs_are_told_of_every_run_of_the_race(
    raced: tuple[Study, list[Any], dict[str, Any]],
) -> None:
    study, _, record = raced
    arm = next(one for one in record["arms"] if one["key"] == "small-lora")
    costs = {one["run"]: one for one in arm["costs"]}
    assert set(costs) == set(arm["tuning_runs"])
    by_run = dict(costs)
    ended = costs.pop(arm["run"])
    assert ended["dropped_at"] is None
    assert ended["peak_memory_bytes"] == arm["peak_memory_bytes"] > 0
    assert len(costs) == 2
    in_order = [by_run[run]["predicted_memory_bytes"] for run in raced_in_turn(study)]
    assert in_order == sorted(in_order)  # who runs later meets those that wait
    assert in_order[0] < in_order[-1]
    for one in costs.values():
        step, total = one["dropped_at"]
        assert step < total
        assert 0 < one["predicted_seconds"] < ended["predicted_seconds"]
        assert one["predicted_memory_bytes"] > 0
        assert (one["seconds"] > 0, one["peak_memory_bytes"]) == (True, None)


def test_candidates_that_wait_on_disk_end_the_same(
    raced: tuple[Study, list[Any], dict[str, Any]], tmp_path: Path
) -> None:
    _, _, record = raced
    study = a_race(tmp_path / "protocols", tmp_path / "home")
    cramped = Study.from_spec(
        study.spec, home=study.ledger.home, sitting=Sitting(memory_bytes=1, checkpoint_seconds=1e9)
    )
    assert cramped.id == study.id
    parked = [event for event in cramped.events() if isinstance(event, Checkpoint)]
    assert len({event.run for event in parked}) == 3
    assert told(cramped.result().record) == told(record)


def test_what_dropped_out_is_listed_with_its_reason(
    raced: tuple[Study, list[Any], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    study, _, _ = raced
    dropped = dropped_out(study.ledger.decisions.all(study.id), "accuracy")
    assert len(dropped) == 2
    list_runs(study.id, home=study.ledger.home, as_json=True)
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)["runs"]}
    for run, one in dropped.items():
        assert rows[run]["status"] == "eliminated"
        assert rows[run]["reason"] == one.reason
        assert one.reason.startswith("dropped out after 2")
        assert "the last to go on had" in one.reason
        assert "would have ended ahead of the best with a chance of" in one.reason


def test_what_the_time_left_did_not_hold_is_said_to_be_of_the_better_third() -> None:
    standings = [
        {"run": run, "value": value, "step": 20, "total_steps": 90, "seconds": 1.0, "ended": False}
        for run, value in (("a", 0.9), ("b", 0.8), ("c", 0.1))
    ]
    rung = {"promoted": ["a"], "standings": standings, "without_time": ["b"]}
    dropped = dropped_out([Decision(0, "rung/0", rung, "")], "accuracy")
    assert "the time left did not hold it" in dropped["b"].reason
    assert "the time left" not in dropped["c"].reason
