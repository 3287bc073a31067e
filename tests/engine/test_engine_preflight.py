"""What pre-flight warns of, and that a sound twin stays silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from regraft.backbones.roles import find_roles
from regraft.engine.adapted import build
from regraft.engine.optimiser import Optimiser
from regraft.events import Done, Failed, Preflight
from regraft.protocols.heads import linear
from small_jobs import (
    WIDTH,
    Net,
    assert_same,
    done,
    events_of,
    family_task,
    job,
    net_backbone,
    resolved,
    rows_task,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.backbones.backbone import Backbone
    from regraft.events import Event

UPPER = {"train": {"from_depth": 0.5}}
HEAD = {"train": {"from_depth": "none"}, "head": {"kind": "linear", "start": "centroid"}}
LORA = {"modules": [{"kind": "lora", "rank": 2}]}


class Block(nn.Module):
    """A mixer, perhaps with a query projection."""

    def __init__(self, *, attends: bool) -> None:
        super().__init__()
        self.mixer = nn.Linear(WIDTH, WIDTH)
        self.q_proj = nn.Linear(WIDTH, WIDTH) if attends else None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return values (B, 6)."""
        values = torch.tanh(self.mixer(values))
        return values if self.q_proj is None else values + self.q_proj(values)


class Hybrid(nn.Module):
    """Six blocks, of which the last ones attend."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(Block(attends=i >= 6 - n) for i in range(6))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 6)."""
        for part in self.parts:
            values = part(values)
        return values


class Leaking(Net):
    """Its items see the mean of their batch, also in evaluation."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 8)."""
        hidden = super().forward(values)
        return hidden + hidden.mean(dim=0)


def found(events: list[Event]) -> Preflight:
    """Return what pre-flight said."""
    (one,) = [event for event in events if isinstance(event, Preflight)]
    return one


@pytest.mark.parametrize(("n_attend", "said"), [(2, True), (3, False), (6, False)])
def test_lora_in_few_blocks_is_warned_of_and_runs(tmp_path: Any, n_attend: int, said: bool) -> None:
    backbone = net_backbone(lambda: Hybrid(n_attend))
    backbone.roles = find_roles(backbone.module)
    events = events_of(job(tmp_path, rows_task(), backbone, resolved("lora", **LORA)))
    assert isinstance(events[-1], Done)
    words = "lora sits in 2 of 6 blocks (33%), so that most of the backbone cannot adapt: name"
    assert [one.startswith(words) for one in found(events).warnings] == [True] * said


def test_layers_that_are_named_one_by_one_are_meant(tmp_path: Any) -> None:
    named = {"modules": [{"kind": "lora", "rank": 2, "layers": ["parts.5.q_proj"]}]}
    one = job(tmp_path, rows_task(), net_backbone(lambda: Hybrid(6)), resolved("lora", **named))
    assert found(events_of(one)).warnings == ()


@pytest.mark.parametrize("protocol", [UPPER, HEAD])
@pytest.mark.parametrize(("make", "said"), [(Leaking, True), (Net, False)])
def test_features_that_hang_on_the_batch_are_warned_of(
    tmp_path: Any, make: Any, said: bool, protocol: dict[str, Any]
) -> None:
    one = job(tmp_path, rows_task(), net_backbone(make), resolved("some", **protocol))
    words = "what training reads gives other features than the head was solved on (they differ by"
    assert [line.startswith(words) for line in found(events_of(one)).warnings] == [True] * said


def test_a_head_that_is_not_solved_has_no_features_to_differ_from(tmp_path: Any) -> None:
    protocol = resolved("upper", **UPPER, head={"kind": "linear", "start": "zero"})
    one = job(tmp_path, rows_task(), net_backbone(Leaking), protocol)
    assert found(events_of(one)).warnings == ()


@pytest.mark.parametrize("family", ["bert", "vit", "resnet", "convnext"])
@pytest.mark.parametrize("protocol", [UPPER, LORA, {"train": {"from_depth": 0, "stem": True}}])
def test_real_families_raise_no_alarm(
    tmp_path: Any, families: Mapping[str, Backbone], family: str, protocol: dict[str, Any]
) -> None:
    backbone = families[family]
    task = family_task(backbone.preprocess.kind)
    events = events_of(job(tmp_path, task, backbone, resolved("some", **protocol)))
    assert (found(events).problems, found(events).warnings) == ((), ())


def test_an_optimiser_of_other_parameters_is_a_problem(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Optimiser.__init__

    def misled(self: Optimiser, one: Any, stage: Any, model: Any, total: int) -> None:
        del model
        make(self, one, stage, build(one, stage), total)

    monkeypatch.setattr(Optimiser, "__init__", misled)
    events = events_of(job(tmp_path, rows_task(), net_backbone(), resolved("upper", **UPPER)))
    assert isinstance(events[-1], Failed)
    assert events[-1].reason.startswith("pre-flight: declared to train but did not move: backbone.")
    assert "head received no gradient" not in events[-1].reason


def test_a_head_off_the_graph_is_a_problem(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make = linear.build

    class Detached(nn.Linear):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return super().forward(features).detach()

    def detached(*given: Any, **settings: Any) -> nn.Linear:
        head = make(*given, **settings)
        head.__class__ = Detached
        return head

    monkeypatch.setattr(linear, "build", detached)
    events = events_of(job(tmp_path, rows_task(), net_backbone(), resolved("upper", **UPPER)))
    assert isinstance(events[-1], Failed)
    assert events[-1].reason.startswith("pre-flight: the head received no gradient")


def test_blocks_with_tiny_rates_still_move_in_pre_flight(tmp_path: Any) -> None:
    rate = {"kind": "constant", "peak": 1e-6, "decay_per_depth": 100.0}
    protocol = resolved("whole", train={"from_depth": 0, "stem": True}, rate=rate)
    events = events_of(job(tmp_path, rows_task(), net_backbone(), protocol))
    assert found(events).problems == ()


def test_a_run_is_the_same_whether_pre_flight_looked_or_not(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(), resolved("upper", **UPPER))
    looked = done(events_of(one))
    assert one.data.checked  # what was found is kept, so that the second run does not look
    assert_same(looked, done(events_of(one)))
