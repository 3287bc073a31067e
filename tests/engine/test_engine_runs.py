"""Runs: what is kept is the best, what is recorded is true, what was decided is replayed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from regraft.engine.adapted import build
from regraft.engine.batches import epoch_batches
from regraft.engine.fit import FINISH, GLIMPSE
from regraft.engine.job import fold_stages
from regraft.engine.outputs import looked_at
from regraft.engine.run import execute
from regraft.errors import DataError
from regraft.events import Checkpoint, Epoch, Evaluation, Glimpse, Step
from regraft.tasks.splits import Fold
from small_jobs import (
    PROTOCOLS,
    Net,
    assert_same,
    done,
    events_of,
    job,
    net_backbone,
    resolved,
    rows_task,
)

if TYPE_CHECKING:
    from regraft.events import Event
    from regraft.tasks.task import Task


class Still(Net):
    """Without dropout, so that a forward pass has a known value."""

    def __init__(self) -> None:
        super().__init__()
        for block in self.blocks_:
            block[3].p = 0.0


def test_finishing_keeps_the_best_so_far_and_is_replayed_at_its_step(tmp_path: Any) -> None:
    protocol = resolved("dropout", epochs=6, **PROTOCOLS["dropout"], fit={"batch_size": 7})
    one = job(tmp_path, rows_task(), net_backbone(), protocol, checkpoint_seconds=0.0)
    events, answer, seen = execute(one), None, []
    while True:
        try:
            event = events.send(answer)
        except StopIteration:
            break
        seen.append(event)
        answer = FINISH if isinstance(event, Checkpoint) and event.step >= 8 else None
    at_step = max(event.step for event in seen if isinstance(event, Step))
    assert at_step == 8
    assert done(seen).summary["stages"][0]["finished_early"]
    decided = {"finish/fit": {"at_step": at_step}}
    for seconds in (0.0, 1e9):
        replayed = job(
            tmp_path,
            rows_task(),
            net_backbone(),
            protocol,
            adjustments=decided,
            checkpoint_seconds=seconds,
        )
        assert_same(done(events_of(replayed)), done(seen))


def test_the_best_epoch_is_kept_and_the_record_counts_what_happened(tmp_path: Any) -> None:
    protocol = resolved("dropout", epochs=8, **PROTOCOLS["dropout"], fit={"patience": 2})
    one = job(tmp_path, rows_task(60), net_backbone(), protocol)
    events = events_of(one)
    ended = done(events)
    stage = ended.summary["stages"][0]
    evaluations = [event for event in events if isinstance(event, Evaluation)]
    ranks = [(e.metrics["accuracy"], -e.metrics["log_loss"]) for e in evaluations]
    best = ranks.index(max(ranks))
    assert stage["best_epoch"] == evaluations[best].epoch
    assert ended.summary["metrics"]["accuracy"] == evaluations[best].metrics["accuracy"]
    assert len(evaluations) <= best + 1 + 2
    steps = [event for event in events if isinstance(event, Step)]
    epochs = [event for event in events if isinstance(event, Epoch)]
    assert stage["step"] == len(steps)
    assert stage["examples_seen"] == len(epochs) * stage["n_train"]
    assert ended.summary["labels_used"] == 60
    assert ended.summary["n_validation"] == 60 - stage["n_train"]


def test_cross_validation_counts_every_fold_and_the_fit_on_all_rows(tmp_path: Any) -> None:
    protocol = resolved("dropout", epochs=3, **PROTOCOLS["dropout"], fit={"batch_size": 7})
    one = job(tmp_path, rows_task(18), net_backbone(), protocol)
    events = events_of(one)
    summary = done(events).summary
    n_folds = len(one.data.folds)
    names = [f"fold-{i}" for i in range(n_folds)] + ["refit"]
    assert [stage["name"] for stage in summary["stages"]] == names
    seen = 0
    for stage in summary["stages"]:
        epochs = [e for e in events if isinstance(e, Epoch) and e.stage == stage["name"]]
        n_train = stage["n_train"]
        per_epoch = -(-n_train // 7) - (n_train % 7 == 1)
        assert [e.step for e in epochs] == [per_epoch * (i + 1) for i in range(len(epochs))]
        assert stage["step"] == epochs[-1].step
        assert stage["examples_seen"] == n_train * len(epochs)
        found = [(e.epoch, e.step, e.metrics) for e in events_in(events, stage["name"])]
        assert [(h["epoch"], h["step"], h["metrics"]) for h in stage["history"]] == found
        seen += stage["examples_seen"]
    assert summary["examples_seen"] == seen
    best = [stage["best_epoch"] for stage in summary["stages"][:-1]]
    assert summary["stages"][-1]["epochs"] == max(1, round(float(np.mean(best))))
    assert summary["stages"][-1]["history"] == []
    assert summary["stages"][-1]["watched"] is None
    assert list(done(events).arrays["rows"]) == list(range(18))


def events_in(events: list[Event], stage: str) -> list[Evaluation]:
    """Return the evaluations of a stage."""
    return [event for event in events if isinstance(event, Evaluation) and event.stage == stage]


@pytest.mark.parametrize("size", [None, 3], ids=["whole", "in parts"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("rebalance", ["none", "balanced"])
def test_class_weights_and_label_smoothing_reach_the_loss(
    tmp_path: Any, size: int | None, smoothing: float, rebalance: str
) -> None:
    task = rows_task(80, n_classes=4)
    protocol = resolved(
        "upper",
        train={"from_depth": 2},
        data={"rebalance": rebalance},
        fit={"batch_size": 8, "label_smoothing": smoothing},
    )
    sizes = {} if size is None else {"micro_batch/fit/3": {"from_step": 0, "size": size}}
    one = job(tmp_path, task, net_backbone(Still), protocol, adjustments=sizes)
    given = np.array([0.5, 1.0, 2.0, 4.0])
    one = replace(one, data=replace(one.data, class_weights=given))

    stage = fold_stages(one.data, 1)[0]
    assert stage.name == "fit"
    rows = epoch_batches(stage.train, size=8, seed=one.seed, draw=(stage.name, 0))[0]
    model = build(one, stage)
    values = np.stack([task.development.inputs[row] for row in rows])
    with torch.no_grad():
        features = model.features({"values": torch.from_numpy(values)}, None, 0)
        logits = model.head(features).double().numpy()
    labels = one.data.labels[rows]
    counts = np.bincount(one.data.labels[stage.train], minlength=4)
    weights = given * (len(stage.train) / (4 * counts) if rebalance == "balanced" else 1.0)
    surprise = np.log(np.exp(logits).sum(axis=1, keepdims=True)) - logits  # −ln p, (B, C)
    targets = (1 - smoothing) * np.eye(4)[labels] + smoothing / 4
    expected = (targets * weights * surprise).sum() / weights[labels].sum()

    (first, *_) = [event for event in events_of(one) if isinstance(event, Step)]
    assert first.loss == pytest.approx(expected, rel=1e-5)


def test_bfloat16_is_used_where_asked_and_recorded_logits_are_float32(tmp_path: Any) -> None:
    protocol = resolved("dropout", **PROTOCOLS["dropout"])
    plain = done(events_of(job(tmp_path, rows_task(), net_backbone(), protocol)))
    half = done(events_of(job(tmp_path, rows_task(), net_backbone(), protocol, precision="bf16")))
    assert half.arrays["logits"].dtype == np.float32
    assert not np.array_equal(half.arrays["logits"], plain.arrays["logits"])
    assert np.allclose(half.arrays["logits"], plain.arrays["logits"], atol=0.2)


def one_class_fold(task: Task, label: int, start: int) -> Fold:
    """Return a fold that validates on six items of one class."""
    chosen = np.flatnonzero(task.development.labels == label)[start : start + 6]
    return Fold(np.setdiff1d(np.arange(len(task.development)), chosen), chosen)


def test_a_metric_that_is_not_defined_on_a_fold_leaves_the_choice_to_the_log_loss(
    tmp_path: Any,
) -> None:
    task = rows_task(44, metric="auroc")
    folds = (one_class_fold(task, 1, 0), one_class_fold(task, 0, 0))
    one = job(tmp_path, task, net_backbone(), resolved("dropout", epochs=4, **PROTOCOLS["dropout"]))
    one = replace(one, data=replace(one.data, folds=folds))
    events = events_of(one)
    ended = done(events)
    for i, stage in enumerate(ended.summary["stages"][:2]):
        mine = [e for e in events if isinstance(e, Evaluation) and e.stage == f"fold-{i}"]
        assert stage["best_epoch"] == 1 + int(np.argmin([e.metrics["log_loss"] for e in mine]))
        assert stage["watched"] == "log_loss"
    assert ended.summary["convergence"] is None
    assert 0.0 <= ended.summary["metrics"]["auroc"] <= 1.0  # over both folds it is defined


@pytest.mark.parametrize("name", ["dropout", "linear-probe"])
def test_a_metric_that_is_defined_nowhere_is_refused(tmp_path: Any, name: str) -> None:
    task = rows_task(44, metric="auroc")
    one = job(tmp_path, task, net_backbone(), resolved(name, **PROTOCOLS.get(name, {})))
    one = replace(one, data=replace(one.data, folds=(one_class_fold(task, 1, 0),)))
    with pytest.raises(DataError, match="auroc is not defined on the 6 validation items"):
        events_of(one)


@pytest.mark.parametrize("name", ["dropout", "gradual"])
def test_a_look_in_passing_changes_nothing(tmp_path: Any, name: str) -> None:
    protocol = resolved(name, epochs=4, **PROTOCOLS[name], fit={"batch_size": 7})
    one = job(tmp_path, rows_task(), net_backbone(), protocol)
    events, answer, seen = execute(one), None, []
    while True:
        try:
            event = events.send(answer)
        except StopIteration:
            break
        seen.append(event)
        answer = GLIMPSE if isinstance(event, Step) and event.step % 3 == 1 else None
    looks = [event for event in seen if isinstance(event, Glimpse)]
    assert len(looks) > 3
    assert {event.n_items for event in looks} == {len(one.data.folds[0].validation)}
    assert_same(done(seen), done(events_of(one)))


def test_a_look_takes_as_many_items_as_were_trained_on() -> None:
    rows = np.arange(10, 1010)
    few, more = looked_at(rows, 8), looked_at(rows, 400)
    assert (len(few), len(more), len(looked_at(rows, 9999))) == (256, 400, 1000)
    assert set(few) <= set(more) <= set(rows)  # all candidates on the same, and more of them later
    np.testing.assert_array_equal(looked_at(rows, 8), few)
    assert 400 < few.mean() - 10 < 600  # wherever a class sits in the order
