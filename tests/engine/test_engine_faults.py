"""What goes wrong in a run ends that run with its reason, or is worked around and recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from regraft.engine.adapted import build
from regraft.engine.job import fold_stages
from regraft.engine.preflight import preflight
from regraft.events import Adjusted, Done, Failed, Preflight, Step
from small_jobs import Net, events_of, job, net_backbone, resolved, rows_task

if TYPE_CHECKING:
    from regraft.events import Event

WHOLE = {"train": {"from_depth": 0, "stem": True}, "rate": {"kind": "cosine", "peak": 1e-2}}
BATCHES_OF_8 = {**WHOLE, "fit": {"batch_size": 8, "least_steps": 1}}


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


def ended(events: list[Event]) -> Done:
    assert isinstance(events[-1], Done), events[-1]
    return events[-1]


def test_out_of_memory_halves_the_batch_and_adds_the_gradients_up(tmp_path: Any) -> None:
    protocol = resolved("whole", **BATCHES_OF_8)
    hungry = job(tmp_path, rows_task(), net_backbone(Hungry), protocol)
    events = events_of(hungry)
    adjusted = [event for event in events if isinstance(event, Adjusted)]
    assert [event.key for event in adjusted] == ["micro_batch/fit/4", "micro_batch/fit/2"]
    assert all("out of memory" in event.reason for event in adjusted)
    plain = ended(events_of(job(tmp_path, rows_task(), net_backbone(Plain), protocol)))
    assert np.allclose(ended(events).arrays["logits"], plain.arrays["logits"], atol=1e-5)
    assert ended(events).summary["stages"][0]["step"] == plain.summary["stages"][0]["step"]

    replayed = job(
        tmp_path,
        rows_task(),
        net_backbone(Hungry),
        protocol,
        adjustments={event.key: event.value for event in adjusted},
    )
    again = events_of(replayed)
    assert not any(isinstance(event, Adjusted) for event in again)
    assert np.array_equal(ended(again).arrays["logits"], ended(events).arrays["logits"])


def test_no_memory_for_a_single_item_ends_the_run_with_its_reason(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(Starving), resolved("whole", **BATCHES_OF_8))
    last = events_of(one)[-1]
    assert isinstance(last, Failed)
    assert "out of memory" in last.reason.lower()


def test_a_rate_far_too_high_ends_the_run_as_diverged(tmp_path: Any) -> None:
    task, backbone = rows_task(), net_backbone(Poisoned)
    last = events_of(job(tmp_path, task, backbone, resolved("whole", **WHOLE)))[-1]
    assert isinstance(last, Failed)
    assert last.reason.startswith("diverged: loss nan")
    assert "learning rate" in last.reason


def test_a_parameter_that_gets_no_gradient_is_left_out_and_said(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(Unused), resolved("whole", **WHOLE))
    (found,) = [event for event in events_of(one) if isinstance(event, Preflight)]
    assert any("not on the forward path" in line and "parts.1" in line for line in found.lines)


def test_a_frozen_weight_that_moves_is_a_problem(tmp_path: Any) -> None:
    protocol = resolved("upper", train={"from_depth": 1})
    one = job(tmp_path, rows_task(), net_backbone(Restless), protocol)
    events = events_of(one)
    assert isinstance(events[-1], Failed)
    assert "frozen but moved: backbone.drift" in events[-1].reason
    assert not any(isinstance(event, Step) for event in events)


def test_an_initialisation_without_seed_is_a_problem(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(), resolved("whole", **WHOLE))
    stage = fold_stages(one.data, 1)[0]
    model = build(one, stage)
    with torch.no_grad():
        next(model.head.parameters()).add_(1e-3)
    findings = preflight(one, stage, model)
    assert any("built twice from one seed, these differ: head" in p for p in findings.problems)


def test_pre_flight_leaves_model_data_and_generators_alone(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(Net), resolved("whole", **WHOLE))
    stage = fold_stages(one.data, 1)[0]
    model = build(one, stage)
    before = {n: t.detach().clone() for n, t in model.named_parameters()}
    findings = preflight(one, stage, model)
    assert findings.problems == ()
    assert all(torch.equal(before[n], t) for n, t in model.named_parameters())
    assert any("identical" in line for line in findings.lines)


def test_a_head_that_separates_its_rows_perfectly_passes_pre_flight(tmp_path: Any) -> None:
    task = rows_task()
    for row, label in enumerate(task.development.labels):
        task.development.inputs[row][:] = float(2 * label - 1)
    one = job(tmp_path, task, net_backbone(Plain), resolved("whole", **WHOLE))
    (found,) = [event for event in events_of(one) if isinstance(event, Preflight)]
    assert found.problems == ()


def test_class_weights_and_label_smoothing_reach_the_loss(tmp_path: Any) -> None:
    # With a head at zero every probability is 1/2, so the first loss is log 2 whatever the weights;
    # after one step the weighted run leans to the heavier class.
    head = {"kind": "linear", "start": "zero"}
    fit = {"batch_size": 64, "least_steps": 1}
    plain = resolved("whole", **WHOLE, head=head, fit=fit)
    one = job(tmp_path, rows_task(), net_backbone(Plain), plain)
    (first, *_) = [event for event in events_of(one) if isinstance(event, Step)]
    assert first.loss == pytest.approx(float(np.log(2.0)), abs=1e-6)

    def mean_of_second_class(weights: Any) -> float:
        weighted = replace(one, data=replace(one.data, class_weights=weights))
        logits = ended(events_of(weighted)).arrays["logits"]
        return float((logits[:, 1] - logits[:, 0]).mean())

    assert mean_of_second_class(np.array([0.1, 1.9])) > mean_of_second_class(None)
