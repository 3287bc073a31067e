"""Runs that train together end as they do one by one, whoever leaves, stops or is resumed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from regraft.backbones.backbone import Backbone
from regraft.engine.fit import CHECKPOINT
from regraft.engine.run import execute
from regraft.engine.stack import Stack
from regraft.events import Adjusted, Checkpoint, Done, Failed, Started, Step
from regraft.search.arms import with_rate
from small_jobs import (
    Net,
    assert_same,
    done,
    events_of,
    family_task,
    job,
    net_backbone,
    resolved,
    rows_task,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from regraft.engine.job import Job
    from regraft.events import Event

RATES = (0.3, 1.0, 3.0)
FIT = {"batch_size": 7}
# A solved head leaves a loss near 0, whose gradient is rounding that AdamW makes full steps of.
COMMON = {"rate": {"kind": "cosine", "peak": 1e-3}, "head": {"kind": "linear", "start": "random"}}
SHAPES: dict[str, dict[str, Any]] = {
    "upper": {"train": {"from_depth": 1}, **COMMON},
    "lora": {"modules": [{"kind": "lora", "rank": 2}], **COMMON},
}


def still(backbone: Backbone) -> Backbone:
    """Return a copy without dropout."""
    found = backbone.copy()
    for part in found.module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return found


def stack_of(one: Job, *, seeds: Sequence[int] = ()) -> list[Job]:
    """Return a job at three rates, or with other seeds, as a stack."""
    jobs = [
        replace(one, run=f"run{i}", protocol=with_rate(one.protocol, rate))
        for i, rate in enumerate(RATES)
    ]
    if seeds:
        jobs = [replace(one, run=f"run{i}", seed=seed) for i, seed in enumerate(seeds)]
    stack = Stack([each.run for each in jobs], apart=bool(seeds))
    return [replace(each, stack=stack) for each in jobs]


def alone(one: Job) -> Done:
    """Return how a job ends outside its stack."""
    return done(events_of(replace(one, stack=None)))


def together(
    jobs: Sequence[Job],
    *,
    resume: Sequence[Checkpoint | None] | None = None,
    until: Callable[[Event], bool] = lambda _: False,
    answer: str | None = None,
) -> dict[str, list[Event]]:
    """Drive jobs in turn, who is behind first, until an event; answer every step alike."""
    starts = resume or [None] * len(jobs)
    flows = {
        each.run: execute(each, resume=start) for each, start in zip(jobs, starts, strict=True)
    }
    seen: dict[str, list[Event]] = {run: [] for run in flows}
    steps, answers = dict.fromkeys(flows, -1), dict.fromkeys(flows, None)
    while flows:
        run = min(flows, key=lambda one: steps[one])
        try:
            event = flows[run].send(answers[run])
        except StopIteration:
            del flows[run]
            continue
        seen[run].append(event)
        answers[run] = answer if isinstance(event, Step) else None
        if isinstance(event, Started):
            steps[run] = event.resumed_at_step
        elif isinstance(event, Step):
            steps[run] = event.step
        if until(event):
            break
    for flow in flows.values():
        flow.close()
    return seen


def assert_near(one: Done, other: Done) -> None:
    """Compare final parameters and validation logits to 1e-4."""
    assert one.state.keys() == other.state.keys()
    for name, value in one.state.items():
        assert torch.allclose(value, other.state[name], rtol=0, atol=1e-4), name
    assert np.allclose(one.arrays["logits"], other.arrays["logits"], rtol=0, atol=1e-4)


def assert_stacked(jobs: Sequence[Job]) -> dict[str, list[Event]]:
    """Run jobs together and one by one; return the events of the stack."""
    seen = together(jobs)
    for one in jobs:
        ended, single = done(seen[one.run]), alone(one)
        assert_near(ended, single)
        assert (ended.summary["stacked"], single.summary["stacked"]) == (len(jobs), 1)
    logits = [done(seen[one.run]).arrays["logits"] for one in jobs]
    assert not np.allclose(logits[0], logits[1], atol=1e-4)  # else equality would prove nothing
    return seen


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", ["bert", "resnet", "plain"])
def test_three_rates_together_end_as_one_by_one(
    families: dict[str, Backbone], tmp_path: Path, family: str, shape: str
) -> None:
    task = family_task("text" if family == "bert" else "image")
    one = job(tmp_path, task, still(families[family]), resolved(shape, **SHAPES[shape], fit=FIT))
    assert_stacked(stack_of(one))


class Counting(Net):
    """Has no dropout, and counts the forward passes that a backward pass can follow."""

    def __init__(self) -> None:
        super().__init__()
        for block in self.blocks_:
            block[3] = nn.Identity()
        self.passes: list[int] = []

    def __deepcopy__(self, memo: Any) -> Counting:
        """Return a copy that counts into the same list."""
        twin = type(self)()
        twin.load_state_dict(self.state_dict())
        twin.passes = self.passes
        return twin.eval()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 8)."""
        if torch.is_grad_enabled():
            self.passes.append(len(values))
        return super().forward(values)


def rows_jobs(folder: Path, *, seeds: Sequence[int] = (), **changes: Any) -> list[Job]:
    """Return a stack that trains two blocks of a small net on rows, three epochs."""
    protocol = resolved("upper", epochs=3, **{**SHAPES["upper"], "fit": FIT, **changes})
    one = job(folder, rows_task(), net_backbone(Counting), protocol)
    return stack_of(one, seeds=seeds)


def test_one_forward_pass_serves_all(tmp_path: Path) -> None:
    jobs = rows_jobs(tmp_path)
    passes = jobs[0].backbone.module.passes
    passes.clear()
    alone(jobs[0])
    once = len(passes)
    passes.clear()
    seen = assert_stacked(jobs)
    steps = sum(isinstance(event, Step) for event in seen["run0"])
    before = once - steps  # pre-flight's
    # Nobody else has begun when the first asks for its first gradient, nor when the second does.
    # Pre-flight looked at the first alone and serves all.
    assert len(passes) == 3 * (once - before) + steps + 2


def test_other_seeds_train_together_on_batches_of_their_own(tmp_path: Path) -> None:
    jobs = rows_jobs(tmp_path, seeds=(3, 4, 5))
    seen = assert_stacked(jobs)
    ended = [done(seen[one.run]) for one in jobs]
    assert not np.allclose(ended[0].arrays["logits"], ended[1].arrays["logits"], atol=1e-3)
    for one, whole in zip(jobs, ended, strict=True):
        assert whole.summary["stack"]["apart"]
        by_itself = replace(one, stack=Stack(**whole.summary["stack"]))
        assert_same(done(events_of(by_itself)), whole)


def test_runs_that_share_their_batches_have_one_seed(tmp_path: Path) -> None:
    first, second, _ = rows_jobs(tmp_path)
    seen = together([first, replace(second, seed=7)])
    assert isinstance(seen["run0"][-1], Done)
    assert isinstance(seen["run1"][-1], Failed)


@pytest.mark.parametrize(
    "changes",
    [
        {"unfreeze": {"kind": "gradual"}, "train": {"from_depth": 0}},
        {"data": {"rebalance": "balanced"}, "fit": {**FIT, "label_smoothing": 0.1}},
    ],
    ids=["gradual", "weighted"],
)
def test_what_a_protocol_asks_for_holds_in_the_stack(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert_stacked(rows_jobs(tmp_path, **changes))


def test_folds_that_stand_at_the_same_step_are_not_mixed(tmp_path: Path) -> None:
    protocol = resolved("upper", **SHAPES["upper"], fit=FIT)
    one = job(tmp_path, rows_task(18), net_backbone(Counting), protocol)
    assert len(one.data.folds) > 1
    assert_stacked(stack_of(one))


def test_bfloat16_holds_in_the_stack(tmp_path: Path) -> None:
    jobs = [replace(one, precision="bf16") for one in rows_jobs(tmp_path)]
    seen = together(jobs)
    for one in jobs:
        logits, single = done(seen[one.run]).arrays["logits"], alone(one).arrays["logits"]
        whole = alone(replace(one, precision="fp32")).arrays["logits"]
        assert np.allclose(logits, single, atol=0.02)
        assert not np.allclose(logits, whole, atol=1e-5)


def test_who_leaves_changes_nothing_for_the_others(tmp_path: Path) -> None:
    jobs = rows_jobs(tmp_path)
    stack, flows = jobs[0].stack, {one.run: execute(one) for one in jobs}
    assert stack is not None
    seen: dict[str, list[Event]] = {run: [] for run in flows}
    left = list(flows)
    while left:
        for run in list(left):
            for event in flows[run]:
                seen[run].append(event)
                if isinstance(event, Step):
                    break
            else:
                left.remove(run)
            if run == "run1" and isinstance(event, Step) and event.step == 7:
                flows[run].close()
                stack.end(run, 7)
                left.remove(run)
    for i in (0, 2):
        ended = done(seen[f"run{i}"])
        assert_near(ended, alone(jobs[i]))
        assert ended.summary["stack"] == {"runs": ["run0", "run1", "run2"], "ends": {"run1": 7}}


def test_a_stack_resumed_from_different_steps_ends_bit_by_bit_the_same(tmp_path: Path) -> None:
    jobs = rows_jobs(tmp_path)
    whole = together(jobs)
    asked = together(rows_jobs(tmp_path), answer=CHECKPOINT)
    for places in ((2, 6, 9), (None, 4, 4), (11, None, 1)):
        starts = [
            None if place is None else stored(checkpoints(asked[f"run{i}"])[place])
            for i, place in enumerate(places)
        ]
        resumed = together(rows_jobs(tmp_path), resume=starts)
        for run, events in whole.items():
            assert_same(done(resumed[run]), done(events))


def checkpoints(events: Sequence[Event]) -> list[Checkpoint]:
    """Return the checkpoints among events."""
    return [event for event in events if isinstance(event, Checkpoint)]


def test_a_run_of_a_stack_is_run_again_by_itself_to_the_same_bits(tmp_path: Path) -> None:
    jobs = rows_jobs(tmp_path)
    seen = together(jobs)
    for one in jobs:
        ended = done(seen[one.run])
        again = replace(one, stack=Stack(**ended.summary["stack"]))
        assert_same(done(events_of(again)), ended)


class Hungry(Counting):
    """Has memory for one model, and not for several at once."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 8)."""
        if not isinstance(self.blocks_[2][0].weight, nn.Parameter):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(values)


def test_what_has_no_memory_together_goes_on_alone_and_says_so(tmp_path: Path) -> None:
    protocol = resolved("upper", **SHAPES["upper"], fit=FIT)
    jobs = stack_of(job(tmp_path, rows_task(), net_backbone(Hungry), protocol))
    seen = together(jobs)
    for one in jobs:
        (adjusted,) = [event for event in seen[one.run] if isinstance(event, Adjusted)]
        assert (adjusted.key, adjusted.value["from_step"]) == ("alone/fit", 0)
        left = {adjusted.key: adjusted.value}
        again = events_of(replace(one, adjustments=left))
        assert not any(isinstance(event, Adjusted) for event in again)
        for ended in (done(seen[one.run]), done(again)):
            assert np.array_equal(ended.arrays["logits"], alone(one).arrays["logits"])


class Bursting(Counting):
    """Gives no numbers once a weight is large."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 8)."""
        largest = self.blocks_[2][0].weight.abs().max()
        return super().forward(values) / (largest < 2)


def test_who_diverges_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    protocol = resolved("upper", epochs=3, **SHAPES["upper"], fit=FIT)
    jobs = stack_of(job(tmp_path, rows_task(), net_backbone(Bursting), protocol))
    jobs[1] = replace(jobs[1], protocol=with_rate(jobs[1].protocol, 1e3))
    seen = together(jobs)
    assert isinstance(seen["run1"][-1], Failed)
    assert "diverged" in seen["run1"][-1].reason
    for i in (0, 2):
        assert_near(done(seen[f"run{i}"]), alone(jobs[i]))


def test_runs_of_another_shape_are_refused(tmp_path: Path) -> None:
    one, other, _ = rows_jobs(tmp_path)
    protocol = {**other.protocol, "fit": {**other.protocol["fit"], "batch_size": 5}}
    stranger = replace(one, run="stranger")
    seen = together([one, replace(other, protocol=protocol), stranger])
    assert isinstance(seen["run0"][-1], Done)
    for run, reason in (
        ("run1", "run1 differs in more than its rate or, where batches are apart, its seed."),
        ("stranger", "stranger has no slot in the stack of run0, run1, run2."),
    ):
        assert isinstance(seen[run][-1], Failed)
        assert reason in seen[run][-1].reason


def test_texts_of_other_seeds_are_refused(families: dict[str, Backbone], tmp_path: Path) -> None:
    one = job(
        tmp_path, family_task("text"), still(families["bert"]), resolved("upper", **SHAPES["upper"])
    )
    for events in together(stack_of(one, seeds=(3, 4))).values():
        assert isinstance(events[-1], Failed)
        assert "texts of other seeds differ in length" in events[-1].reason
