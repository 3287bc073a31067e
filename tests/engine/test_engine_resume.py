"""A run that was stopped and resumed, or run again, ends bit by bit as an undisturbed one."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from regraft.engine.fit import CHECKPOINT
from regraft.engine.run import execute
from regraft.events import Adjusted, Checkpoint, Preflight, Step
from small_jobs import (
    PROTOCOLS,
    Net,
    assert_same,
    done,
    driven,
    events_of,
    family_task,
    job,
    net_backbone,
    resolved,
    rows_task,
    stored,
)

if TYPE_CHECKING:
    from regraft.backbones.backbone import Backbone
    from regraft.engine.job import Job
    from regraft.events import Event


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Step)]


def assert_resumes_anywhere(one: Job) -> None:
    """Resume from each checkpoint that a run gives when asked after every step."""
    whole = events_of(one)
    asked = driven(one)
    assert_same(done(asked), done(whole))
    checkpoints = [event for event in asked if isinstance(event, Checkpoint)]
    steps = [event.step for event in whole if isinstance(event, Step)]
    assert [checkpoint.step for checkpoint in checkpoints] == steps
    for place, checkpoint in enumerate(checkpoints):
        resumed = events_of(one, resume=stored(checkpoint))
        assert not any(isinstance(event, Preflight) for event in resumed)
        assert losses(resumed) == losses(whole)[place + 1 :]
        assert_same(done(resumed), done(whole))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_run_resumed_after_any_step_ends_as_one_that_was_not_stopped(
    tmp_path: Any, name: str
) -> None:
    protocol = resolved(name, epochs=3, **PROTOCOLS[name], fit={"batch_size": 9})
    assert_resumes_anywhere(job(tmp_path, rows_task(), net_backbone(), protocol))


@pytest.mark.parametrize("name", ["dropout", "gradual"])
def test_cross_validation_resumes_in_any_fold(tmp_path: Any, name: str) -> None:
    task = rows_task(18)
    assert len(task.folds) > 1
    protocol = resolved(name, epochs=2, **PROTOCOLS[name], fit={"batch_size": 9})
    assert_resumes_anywhere(job(tmp_path, task, net_backbone(), protocol))


def test_a_run_without_validation_resumes_anywhere(tmp_path: Any) -> None:
    protocol = resolved("whole", epochs=3, **PROTOCOLS["dropout"], fit={"batch_size": 20})
    one = job(tmp_path, rows_task(), net_backbone(), protocol)
    assert_resumes_anywhere(replace(one, data=replace(one.data, folds=())))


def test_augmented_images_resume_anywhere(families: dict[str, Backbone], tmp_path: Any) -> None:
    light = {"augment": {"kind": "light"}, "rebalance": "balanced"}
    fit = {"batch_size": 7, "label_smoothing": 0.1}
    protocol = resolved("light", epochs=2, **PROTOCOLS["dropout"], data=light, fit=fit)
    assert_resumes_anywhere(job(tmp_path, family_task("image"), families["plain"], protocol))


@pytest.mark.parametrize("name", ["upper", "gradual"])
def test_views_of_images_resume_anywhere(
    families: dict[str, Backbone], tmp_path: Any, name: str
) -> None:
    recipe = {"upper": {"train": {"from_depth": 2}}, "gradual": PROTOCOLS["gradual"]}[name]
    data = {"augment": "light", "views": 2}
    protocol = resolved(name, epochs=3, **recipe, data=data, fit={"batch_size": 9})
    assert_resumes_anywhere(job(tmp_path, family_task("image"), families["plain"], protocol))


def test_dropped_after_its_checkpoint_and_executed_twice(tmp_path: Any) -> None:
    protocol = resolved("dropout", epochs=2, **PROTOCOLS["dropout"], fit={"batch_size": 9})
    one = job(tmp_path, rows_task(), net_backbone(), protocol)
    whole = done(events_of(one))
    assert_same(done(events_of(one)), whole)
    events = execute(one)
    event = next(events)
    while not isinstance(event, Checkpoint):
        event = events.send(CHECKPOINT if isinstance(event, Step) else None)
    events.close()
    assert_same(done(events_of(one, resume=stored(event))), whole)


class HungryNet(Net):
    """Draws its dropout and moves its statistics, and only then runs out of memory."""

    most = 4

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 8)."""
        hidden = super().forward(values)
        if torch.is_grad_enabled() and len(values) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return hidden


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_batch_halved_for_memory_is_replayed_exactly(tmp_path: Any, name: str) -> None:
    protocol = resolved(name, epochs=2, **PROTOCOLS[name], fit={"batch_size": 8})
    task = rows_task(50)  # 40 train: no batch leaves a single item
    hungry = job(tmp_path, task, net_backbone(HungryNet), protocol)
    events = driven(hungry)
    adjusted = {event.key: event.value for event in events if isinstance(event, Adjusted)}
    assert list(adjusted) == ["micro_batch/fit/4"]

    # As the ledger replays it, and as a machine with memory enough is told to do it.
    for make in (HungryNet, Net):
        replayed = job(tmp_path, task, net_backbone(make), protocol, adjustments=adjusted)
        again = events_of(replayed)
        assert not any(isinstance(event, Adjusted) for event in again)
        assert losses(again) == losses(events)
        assert_same(done(again), done(events))
    for checkpoint in [event for event in events if isinstance(event, Checkpoint)][::3]:
        resumed = events_of(replace(hungry, adjustments=adjusted), resume=stored(checkpoint))
        assert_same(done(resumed), done(events))


@pytest.mark.parametrize("name", [*PROTOCOLS, "linear-probe", "raw-logistic"])
def test_a_run_leaves_the_generators_of_others_alone(tmp_path: Any, name: str) -> None:
    one = job(tmp_path, rows_task(), net_backbone(), resolved(name, **PROTOCOLS.get(name, {})))
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002 the state that must not move
    ours = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())  # noqa: NPY002
    for _ in execute(one):
        assert torch.equal(torch.get_rng_state(), ours[0])
    assert random.getstate() == ours[1]
    assert np.array_equal(np.random.get_state()[1], ours[2])  # noqa: NPY002


def test_random_numbers_drawn_between_events_change_nothing(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(), resolved("dropout", **PROTOCOLS["dropout"]))
    alone = done(events_of(one))
    disturbed = []
    for event in execute(one):
        torch.rand(7)
        disturbed.append(event)
    assert_same(done(disturbed), alone)


class Frugal(Net):
    """Has memory for two items in pre-flight, and for all that a run asks of it afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = nn.Parameter(torch.zeros(()), requires_grad=False)
        self.times = 0

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 8)."""
        if torch.is_grad_enabled() and len(values) == 8:  # what pre-flight tries first
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(values)


def test_pre_flight_decides_nothing_of_what_a_run_draws(tmp_path: Any) -> None:
    protocol = resolved("upper", train={"from_depth": 1}, fit={"batch_size": 9}, epochs=2)
    runs = [
        events_of(job(tmp_path, rows_task(), net_backbone(make), protocol))
        for make in (Net, Frugal)
    ]
    assert losses(runs[0]) == losses(runs[1])
