"""Baselines of a ranking from the ledger: a static order, and regret where the task is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from regraft.evidence.past_orders import past_of
from regraft.evidence.ranking import EstimatorView, Place, Ranking
from regraft.ledger.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a", "b", "c")
WHERE = {name: f"/models/{name}" for name in NAMES}


def ranking(order: str, probe: dict[str, float]) -> Ranking:
    """Return a ranking that puts the backbones in such an order."""
    places = tuple(Place(name, 1.0 + i, 1.0, 3.0, 0.9) for i, name in enumerate(order))
    view = EstimatorView("linear_probe", probe, {}, {}, {}, 1.0)
    return Ranking(places, (view,), 1.0, "firm", "", 100, 2, 30)


def study(
    ledger: Ledger, name: str, data: str, values: dict[str, float], *, metric: str = "accuracy"
) -> None:
    """Record a study of such backbones; a control without transfer is better than all."""

    def arm(key: str, role: str, value: float | None) -> dict[str, Any]:
        scores = None if value is None else {metric: {"value": value}}
        return {"key": key, "role": role, "validation": scores}

    arms = [arm("raw", "control_without_transfer", 1.0)]
    for backbone, value in values.items():
        at = f"@{WHERE[backbone]}" if len(values) > 1 else ""
        arms += [
            arm(f"lora{at}", "candidate", value),
            arm(f"knn{at}", "control_without_fine_tuning", value - 0.1),
            arm(f"full{at}", "candidate", None),
        ]
    about = {"data": data, "metric": metric, "backbones": [WHERE[one] for one in values]}
    ledger.studies.create(f"{name:0<16}", name=name, configuration={})
    record = {"verdict": {"sentence": "x"}, "study": about, "arms": arms}
    ledger.studies.save_record(f"{name:0<16}", record)


def test_without_a_past_there_is_nothing_to_beat(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    study(ledger, "partial", "other/", {"a": 0.9, "b": 0.8})
    found = past_of(ledger, ranking("abc", dict.fromkeys(NAMES, 0.5)), WHERE, "here/")
    assert (found.n_tasks, found.static_order, found.judged) == (0, None, ())
    assert "no static order to beat" in found.sentence
    assert "no regret" in found.sentence


def test_the_static_order_is_the_mean_rank_on_other_tasks(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    study(ledger, "one", "one/", {"a": 0.9, "b": 0.8, "c": 0.7})
    study(ledger, "two", "two/", {"a": 0.6, "b": 0.8, "c": 0.7})
    for name in NAMES:  # a task may be studied one backbone at a time
        study(ledger, f"three-{name}", "three/", {name: {"a": 0.1, "b": 0.3, "c": 0.2}[name]})
    found = past_of(ledger, ranking("cba", dict.fromkeys(NAMES, 0.5)), WHERE, "here/")
    assert found.n_tasks == 3
    assert found.static_order == {
        "a": pytest.approx(7 / 3),
        "b": pytest.approx(4 / 3),
        "c": pytest.approx(7 / 3),
    }
    assert "3 other tasks in the ledger puts b first" in found.sentence


def test_regret_is_known_where_the_task_was_studied(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    study(ledger, "past", "past/", {"a": 0.9, "b": 0.5, "c": 0.4})
    study(ledger, "here", "here/", {"a": 0.6, "b": 0.9, "c": 0.75})
    probe = {"a": 0.1, "b": 0.2, "c": 0.3}
    found = past_of(ledger, ranking("bca", probe), WHERE, "here/")
    regrets = {one.name: one.regret for one in found.judged}
    assert regrets == {
        "this ranking": pytest.approx(0.0),
        "linear probe": pytest.approx(0.15),
        "static order": pytest.approx(0.3),
        "chance": pytest.approx(0.15),
    }
    assert [one.regret for one in found.judged] == sorted(regrets.values())
    assert found.judged[0].weighted_tau == pytest.approx(1.0)
    assert "this ranking 0.000" in found.sentence


def test_data_studied_by_two_metrics_are_one_task_and_stand_by_the_newest(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    study(ledger, "one", "one/", {"a": 0.9, "b": 0.8, "c": 0.7})
    study(ledger, "loss", "one/", {"a": 0.3, "b": 0.1, "c": 0.2}, metric="log_loss")
    study(ledger, "part", "one/", {"a": 0.9, "c": 0.8}, metric="macro_f1")  # not all of them
    study(ledger, "here", "here/", {"a": 0.6, "b": 0.9, "c": 0.75})
    study(ledger, "here-loss", "here/", {"a": 0.1, "b": 0.5, "c": 0.2}, metric="log_loss")
    found = past_of(ledger, ranking("abc", dict.fromkeys(NAMES, 0.5)), WHERE, "here/")
    assert found.n_tasks == 1
    assert found.static_order == {"a": 3.0, "b": 1.0, "c": 2.0}
    assert "static order of 1 other task in the ledger puts b first" in found.sentence
    regrets = {one.name: one.regret for one in found.judged}
    assert (regrets["this ranking"], regrets["static order"]) == pytest.approx((0.0, 0.4))
