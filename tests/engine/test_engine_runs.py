"""Runs: what is kept is the best, what is recorded is true, what was decided is replayed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from regraft.engine.fit import FINISH
from regraft.engine.run import execute
from regraft.errors import DataError
from regraft.events import Checkpoint, Epoch, Evaluation, Step
from regraft.tasks.splits import Fold
from small_jobs import (
    PROTOCOLS,
    assert_same,
    done,
    events_of,
    job,
    net_backbone,
    resolved,
    rows_task,
)

if TYPE_CHECKING:
    from regraft.tasks.task import Task


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
