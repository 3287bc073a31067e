"""What goes wrong in a run ends that run with its reason, or is worked around and recorded."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from regraft.engine.adapted import build
from regraft.engine.fit import DivergedError, Fit
from regraft.engine.job import fold_stages
from regraft.engine.meter import Meter
from regraft.engine.preflight import preflight
from regraft.events import Adjusted, Failed, Preflight, Step
from small_jobs import (
    PROTOCOLS,
    WHOLE,
    Net,
    done,
    events_of,
    job,
    net_backbone,
    resolved,
    rows_task,
)

if TYPE_CHECKING:
    from regraft.events import Event

BATCHES_OF_8 = {**WHOLE, "fit": {"batch_size": 8, "least_steps": 1}}


MEGABYTES = 24


class Plain(nn.Module):
    """Two blocks whose items do not look at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(2))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 6)."""
        for part in self.parts:
            values = part(values)
        return values


class Bursting(Plain):
    """Holds some megabytes an item for the time of a forward pass."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 6)."""
        held = torch.ones(len(values), MEGABYTES << 18)
        return super().forward(values) + 0 * held[:, :1]


class Hungry(Plain):
    """Runs out of memory where more than `most` items train at once."""

    most = 3

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 6)."""
        if torch.is_grad_enabled() and len(values) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(values)


class Starving(Hungry):
    """Has no memory for a single item."""

    most = 0


class Shrinking(Plain):
    """Has memory for pre-flight, and for nothing after it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 6)."""
        self.seen += torch.is_grad_enabled()
        if torch.is_grad_enabled() and self.seen > 3:
            raise torch.OutOfMemoryError("CUDA out of memory\nTried to allocate")
        return super().forward(values)


class Poisoned(Plain):
    """Gives NaN from its fourth training batch on, which pre-flight does not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 6)."""
        self.seen += torch.is_grad_enabled()
        values = super().forward(values)
        return values * float("nan") if self.seen > 3 else values


class Unused(Plain):
    """Its second block is never called in training."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 6)."""
        values = self.parts[0](values)
        return values if torch.is_grad_enabled() else self.parts[1](values)


class Restless(Plain):
    """Changes a weight by itself whenever it runs with gradients on."""

    def __init__(self) -> None:
        super().__init__()
        self.drift = nn.Parameter(torch.zeros(6))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 6)."""
        if torch.is_grad_enabled():
            with torch.no_grad():
                self.drift.add_(1.0)
        return super().forward(values + 0 * self.drift)


class Idle(Plain):
    """One of its parameters is on the forward path but changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(6))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 6)."""
        return super().forward(values + 0 * self.idle)


class Unseeded(Plain):
    """Draws its weights from a generator that no seed reaches."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.parts[0][0].weight.normal_(generator=_UNSEEDED)


_UNSEEDED = torch.Generator().manual_seed(1)


class Vast(Plain):
    """Has a weight that overflows when it is multiplied by a hundred."""

    def __init__(self) -> None:
        super().__init__()
        self.vast = nn.Parameter(torch.full((6, 6), 1e37))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 6)."""
        return super().forward(values * 1e-37 @ self.vast)


class Fragile(Plain):
    """Gives NaN in evaluation once its weights have moved."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.parts[0][0].weight.detach().clone()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 6)."""
        has_moved = not torch.equal(self.first, self.parts[0][0].weight)
        values = super().forward(values)
        return values * float("nan") if has_moved and not torch.is_grad_enabled() else values


def failure(events: list[Event]) -> str:
    """Return the reason of a run that failed."""
    assert isinstance(events[-1], Failed), events[-1]
    return events[-1].reason


def reason_of(tmp_path: Any, make: Any, protocol: dict[str, Any], **settings: Any) -> str:
    """Return why a run of a module fails."""
    return failure(events_of(job(tmp_path, rows_task(), net_backbone(make), protocol, **settings)))


def test_out_of_memory_halves_the_batch_and_adds_the_gradients_up(tmp_path: Any) -> None:
    protocol = resolved("whole", **BATCHES_OF_8)
    hungry = job(tmp_path, rows_task(), net_backbone(Hungry), protocol)
    events = events_of(hungry)
    adjusted = [event for event in events if isinstance(event, Adjusted)]
    assert [event.key for event in adjusted] == ["micro_batch/fit/4", "micro_batch/fit/2"]
    assert all("out of memory" in event.reason for event in adjusted)
    plain = done(events_of(job(tmp_path, rows_task(), net_backbone(Plain), protocol)))
    assert np.allclose(done(events).arrays["logits"], plain.arrays["logits"], atol=1e-5)
    assert done(events).summary["stages"][0]["step"] == plain.summary["stages"][0]["step"]

    replayed = job(
        tmp_path,
        rows_task(),
        net_backbone(Hungry),
        protocol,
        adjustments={event.key: event.value for event in adjusted},
    )
    again = events_of(replayed)
    assert not any(isinstance(event, Adjusted) for event in again)
    assert np.array_equal(done(again).arrays["logits"], done(events).arrays["logits"])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no peak memory to read")
def test_a_step_that_takes_more_memory_than_allowed_is_taken_in_parts(tmp_path: Any) -> None:
    protocol = resolved("whole", **BATCHES_OF_8)
    bounded = job(tmp_path, rows_task(), net_backbone(Bursting), protocol, memory_bytes=1)
    events = events_of(bounded)
    adjusted = [event for event in events if isinstance(event, Adjusted)]
    # Parts of 8 and 4 items hold over 64 MB, less than which no smaller part would free.
    assert [event.key for event in adjusted] == ["micro_batch/fit/4", "micro_batch/fit/2"]
    assert all(event.reason.startswith("more memory than allowed at") for event in adjusted)
    plain = done(events_of(job(tmp_path, rows_task(), net_backbone(Plain), protocol)))
    assert np.allclose(done(events).arrays["logits"], plain.arrays["logits"], atol=1e-5)
    whole = done(events_of(job(tmp_path, rows_task(), net_backbone(Bursting), protocol)))
    grown = whole.summary["peak_memory_bytes"] - done(events).summary["peak_memory_bytes"]
    assert abs(grown) < 2 * 8 * MEGABYTES << 20  # both saw a batch of eight once
    assert whole.summary["peak_memory_bytes"] > 8 * MEGABYTES << 20


def test_no_memory_for_a_single_item_ends_the_run_with_its_reason(tmp_path: Any) -> None:
    reason = reason_of(tmp_path, Starving, resolved("whole", **BATCHES_OF_8))
    assert reason == "out of memory: CUDA out of memory"  # pre-flight has not even two


def test_memory_that_shrinks_to_nothing_ends_the_run_with_what_to_do(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(Shrinking), resolved("whole", **BATCHES_OF_8))
    events = events_of(one)
    keys = [event.key for event in events if isinstance(event, Adjusted)]
    assert keys == [f"micro_batch/fit/{size}" for size in (4, 2, 1)]
    expected = (
        "out of memory: not even one item at a time fits .CUDA out of memory.. Take a smaller"
    )
    assert re.match(expected, failure(events))


def test_statistics_of_a_single_item_end_the_run_with_what_to_do(tmp_path: Any) -> None:
    scratch = resolved("scratch", **PROTOCOLS["scratch"], fit={"batch_size": 1, "least_steps": 1})
    assert reason_of(tmp_path, Net, scratch).startswith(
        "a batch of 1: batch normalisation cannot learn from a single item. Raise fit.batch_size"
    )


def test_a_loss_that_is_no_number_ends_the_run_as_diverged(tmp_path: Any) -> None:
    reason = reason_of(tmp_path, Poisoned, resolved("whole", **WHOLE))
    assert reason == (
        "diverged: loss nan, gradient norm nan at step 4 of 4 (learning rate 0.00179)"
    )


def test_a_rate_and_a_decay_far_too_high_end_the_run_as_diverged(tmp_path: Any) -> None:
    # Each step multiplies every weight by 1 − 10 · 10, which no float32 bears for long.
    rate = {"kind": "constant", "peak": 10.0}
    fit = {"batch_size": 7, "least_steps": 1, "weight_decay": 10.0, "patience": 50}
    absurd = resolved("absurd", epochs=20, **{**WHOLE, "rate": rate}, fit=fit)
    reason = reason_of(tmp_path, Net, absurd)
    assert re.match(r"diverged: .* at step \d+ of 100 .learning rate 10.$", reason)


def test_outputs_that_are_no_numbers_end_the_run_as_diverged(tmp_path: Any) -> None:
    reason = reason_of(tmp_path, Fragile, resolved("whole", **WHOLE))
    assert reason.startswith("diverged: logits of validation items are not finite at step 2 of 4")


def test_weights_that_are_no_numbers_are_never_a_result(tmp_path: Any) -> None:
    rate, fit = {"kind": "constant", "peak": 10.0}, {"weight_decay": 10.0, "batch_size": 64}
    absurd = resolved("absurd", epochs=1, **{**WHOLE, "rate": rate}, fit=fit)
    one = job(tmp_path, rows_task(), net_backbone(Vast), absurd)
    one = replace(one, data=replace(one.data, folds=()))
    stage = fold_stages(one.data, 1)[0]
    fit_of_one_step = Fit(one, stage, build(one, stage), Meter("cpu"))
    expected = "weights are not finite at step 1 of 1 .learning rate 10."
    with pytest.raises(DivergedError, match=expected):
        list(fit_of_one_step.events(None))


def test_features_that_are_no_numbers_are_never_a_probe(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(Plain), resolved("linear-probe"))
    features = np.full((44, 6), np.nan, np.float32)
    one = replace(one, data=replace(one.data, features=lambda: features))
    assert failure(events_of(one)).startswith("6 of 6 features are not finite. Look for infinite")


def test_a_parameter_that_gets_no_gradient_is_left_out_and_said(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(Unused), resolved("whole", **WHOLE))
    (found,) = [event for event in events_of(one) if isinstance(event, Preflight)]
    assert any("not on the forward path" in line and "parts.1" in line for line in found.lines)


def test_an_inserted_module_off_the_forward_path_is_a_problem(tmp_path: Any) -> None:
    off = resolved("lora", modules=[{"kind": "lora", "rank": 2, "layers": ["parts.1.0"]}])
    reason = reason_of(tmp_path, Unused, off)
    assert "inserted but not on the forward path: parts.1.0.lora_A" in reason
    assert reason.endswith("The run was not started.")


def test_a_declared_parameter_that_learns_nothing_is_a_problem(tmp_path: Any) -> None:
    reason = reason_of(tmp_path, Idle, resolved("whole", **WHOLE))
    assert "pre-flight: declared to train but did not move: backbone.idle. The run" in reason


@pytest.mark.parametrize("on", ["auto", ["attention_in"]])
def test_lora_that_finds_no_layer_is_a_problem(tmp_path: Any, on: Any) -> None:
    reason = reason_of(tmp_path, Plain, resolved("lora", modules=[{"kind": "lora", "on": on}]))
    assert re.match("module 'lora': it fits nowhere in test: no layer of role", reason)


def test_weights_drawn_without_the_seed_are_a_problem(tmp_path: Any) -> None:
    reason = reason_of(tmp_path, Unseeded, resolved("scratch", **PROTOCOLS["scratch"]))
    assert "built twice from one seed, these differ: backbone.parts.0.0.weight" in reason


def test_a_frozen_weight_that_moves_is_a_problem(tmp_path: Any) -> None:
    protocol = resolved("upper", train={"from_depth": 1})
    one = job(tmp_path, rows_task(), net_backbone(Restless), protocol)
    events = events_of(one)
    assert isinstance(events[-1], Failed)
    assert "frozen but moved: backbone.drift" in events[-1].reason
    assert not any(isinstance(event, Step) for event in events)


def test_pre_flight_leaves_model_data_and_generators_alone(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(Net), resolved("whole", **WHOLE))
    stage = fold_stages(one.data, 1)[0]
    model = build(one, stage)
    before = {n: t.detach().clone() for n, t in model.backbone.module.state_dict().items()}
    head = {n: t.detach().clone() for n, t in model.head.state_dict().items()}
    generator = torch.get_rng_state()
    findings = preflight(one, stage, model)
    assert findings.problems == ()
    assert torch.equal(torch.get_rng_state(), generator)
    now = model.backbone.module.state_dict()
    assert all(torch.equal(before[n], now[n]) for n in before)
    assert all(torch.equal(head[n], t) for n, t in model.head.state_dict().items())
    assert all(p.grad is None for _, p in model.named_parameters())
    assert any("identical" in line for line in findings.lines)


def test_a_head_that_separates_its_rows_perfectly_passes_pre_flight(tmp_path: Any) -> None:
    task = rows_task()
    for row, label in enumerate(task.development.labels):
        task.development.inputs[row][:] = float(2 * label - 1)
    one = job(tmp_path, task, net_backbone(Plain), resolved("whole", **WHOLE))
    (found,) = [event for event in events_of(one) if isinstance(event, Preflight)]
    assert found.problems == ()
