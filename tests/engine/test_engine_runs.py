"""Runs: what is frozen stays frozen, what is resumed ends the same, what is recorded is true."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.backbones.loading import load_backbone
from regraft.engine.adapted import build
from regraft.engine.fit import CHECKPOINT, FINISH
from regraft.engine.job import fold_stages
from regraft.engine.run import execute
from regraft.errors import DataError
from regraft.events import Checkpoint, Done, Epoch, Evaluation, Step
from regraft.ledger.tensors import pack, unpack
from regraft.tasks.items import items_from
from regraft.tasks.splits import Fold
from regraft.tasks.unsealed import unsealed_task
from small_backbones import save_all
from small_jobs import events_of, job, net_backbone, resolved, rows_task

if TYPE_CHECKING:
    from regraft.backbones.backbone import Backbone
    from regraft.engine.job import Job
    from regraft.events import Event
    from regraft.tasks.task import Task

FAMILIES = ("bert", "vit", "dinov2", "resnet", "convnext", "plain")
TRAINED = ("lp-ft-upper", "gradual", "lora", "bottleneck", "full")
TIMES = {"seconds", "device_seconds", "peak_memory_bytes", "joules"}


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    saved = save_all(tmp_path_factory.mktemp("families"))
    return {family: load_backbone(reference) for family, reference in saved.items()}


def family_task(kind: str) -> Task:
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    inputs: list[Any]
    if kind == "text":
        inputs = [f"one film was {('good', 'bad')[i % 2]} and {i}" for i in range(24)]
    else:
        inputs = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in labels]
    items = items_from(inputs, kind)
    items = type(items)(items.kind, items.inputs, labels, items.ids, items.digests)
    return unsealed_task(items, ["a", "b"], metric="accuracy", validation=0.25, seed=0)


def timeless(value: Any) -> Any:
    """Return plain data without what depends on time."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in TIMES}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def done(events: list[Event]) -> Done:
    assert isinstance(events[-1], Done), events[-1]
    return events[-1]


def assert_same(one: Done, other: Done) -> None:
    assert timeless(one.summary) == timeless(other.summary)
    for ours, theirs in ((one.state, other.state), (one.arrays, other.arrays)):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(np.asarray(ours[k]), np.asarray(theirs[k])) for k in ours)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=5)
@given(name=st.sampled_from(TRAINED), seed=st.integers(0, 2**30))
def test_the_frozen_stays_frozen(
    backbones: dict[str, Backbone],
    tmp_path_factory: pytest.TempPathFactory,
    family: str,
    name: str,
    seed: int,
) -> None:
    backbone = backbones[family]
    task = family_task(backbone.preprocess.kind)
    protocol = resolved(name)
    protocol["rate"]["peak"] = 1e-2
    one = job(tmp_path_factory.mktemp("frozen"), task, backbone, protocol, seed=seed)
    source = {n: t.clone() for n, t in backbone.module.state_dict().items()}
    before = build(one, fold_stages(one.data, 1)[0])
    ended = done(events_of(one))
    assert all(torch.equal(source[n], t) for n, t in backbone.module.state_dict().items())
    # The state of a run is what was trained; put on a fresh copy it leaves all else as it was.
    assert set(ended.state) <= before.trains.names
    after = build(one, None)
    after.load_state(ended.state)
    names = {n for n, _ in after.named_parameters()}
    assert names - set(ended.state) == names - before.trains.names
    moved = {
        name
        for (name, ours), (_, theirs) in zip(
            before.named_parameters(), after.named_parameters(), strict=True
        )
        if not torch.equal(ours, theirs)
    }
    assert moved <= before.trains.names


def test_frozen_blocks_run_in_evaluation_mode(tmp_path: Any) -> None:
    backbone = net_backbone()
    one = job(tmp_path, rows_task(), backbone, resolved("upper", train={"from_depth": 2}))
    model = build(one, fold_stages(one.data, 1)[0])
    model.set_modes(2)
    modes = {name: child.training for name, child in model.backbone.module.named_modules()}
    assert not modes["blocks_.0"]
    assert not modes["blocks_.1.3"]
    assert modes["blocks_.2.3"]
    assert not modes["blocks_.2.1"], "batch normalisation keeps evaluating"
    statistics = backbone.module.state_dict()["blocks_.2.1.running_mean"].clone()
    done(events_of(one))
    assert torch.equal(backbone.module.state_dict()["blocks_.2.1.running_mean"], statistics)


PROTOCOLS = {
    "dropout": {"train": {"from_depth": 0, "stem": True}, "rate": {"kind": "cosine", "peak": 1e-2}},
    "gradual": {
        "train": {"from_depth": 0},
        "unfreeze": {"kind": "gradual"},
        "rate": {"kind": "slanted_triangular", "peak": 1e-2},
    },
    "scratch": {
        "backbone": "random",
        "head": {"kind": "linear", "start": "random"},
        "train": {"from_depth": 0, "stem": True},
    },
}


def stored(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint as it comes back from the ledger."""
    progress = json.loads(json.dumps(checkpoint.progress))
    return Checkpoint(checkpoint.run, checkpoint.step, progress, unpack(pack(checkpoint.state)))


def stopped_at(one: Job, step: int) -> Checkpoint:
    """Run until a step, ask for a checkpoint, and drop the run."""
    events = execute(one)
    answer, asked = None, False
    while True:
        event = events.send(answer)
        answer = None
        if isinstance(event, Checkpoint):
            return event
        if isinstance(event, Step):
            asked = asked or event.step >= step
            answer = CHECKPOINT if asked else None


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("n", [44, 18], ids=["hold-out", "folds"])
def test_a_run_resumed_anywhere_ends_as_one_that_was_not_stopped(
    tmp_path: Any, name: str, n: int
) -> None:
    task = rows_task(n)
    protocol = resolved(name, epochs=3, **PROTOCOLS[name], fit={"batch_size": 7})
    one = job(tmp_path, task, net_backbone(), protocol)
    whole = events_of(one)
    steps = [event.step for event in whole if isinstance(event, Step)]
    last = max(steps)
    for step in range(1, last - 3, 2):
        resumed = events_of(one, resume=stored(stopped_at(one, step)))
        assert_same(done(resumed), done(whole))


def test_a_run_leaves_the_generators_of_others_alone(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(), resolved("dropout", **PROTOCOLS["dropout"]))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for _ in execute(one):
        pass
    assert torch.equal(torch.rand(3), expected)


def test_random_numbers_drawn_between_events_change_nothing(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(), resolved("dropout", **PROTOCOLS["dropout"]))
    alone = done(events_of(one))
    disturbed = []
    for event in execute(one):
        torch.rand(7)
        disturbed.append(event)
    assert_same(done(disturbed), alone)


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
