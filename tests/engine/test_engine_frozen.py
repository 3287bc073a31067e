"""What a protocol does not train is the same, bit by bit, after training as before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from regraft.engine.adapted import build
from regraft.engine.fit import Fit
from regraft.engine.job import fold_stages
from regraft.engine.meter import Meter
from regraft.engine.randomness import RunRandomness
from regraft.events import Step
from regraft.search.foresight import prefix_depths
from small_jobs import (
    FAMILIES,
    PROTOCOLS,
    Net,
    done,
    events_of,
    family_task,
    job,
    net_backbone,
    resolved,
    rows_task,
)

if TYPE_CHECKING:
    from regraft.backbones.backbone import Backbone
    from regraft.engine.adapted import Adapted
    from regraft.engine.job import Job

TEMPLATES = ("lp-ft-upper", "finetune-upper", "gradual", "lora", "bottleneck", "full", "scratch")
GRADUAL_MODULES: dict[str, Any] = {
    "train": {"from_depth": 0},
    "modules": [{"kind": "bottleneck"}],
    "unfreeze": {"kind": "gradual"},
}


def tensors(model: Adapted) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def lowest_that_learns(model: Adapted) -> int:
    return min(
        (
            model.backbone.depth_of(name.partition(".")[2])
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and not name.startswith("head.")
        ),
        default=model.backbone.n_blocks,
    )


def assert_closed_parts_evaluate(model: Adapted) -> None:
    lowest = lowest_that_learns(model)
    for name, child in model.backbone.module.named_modules():
        keeps = getattr(child, "running_mean", None) is not None and not model.learns_statistics
        if not name or model.backbone.depth_of(name) < lowest or keeps:
            assert not child.training, name


def trained(one: Job) -> tuple[set[str], Adapted]:
    """Train the first stage of a job; return what ever moved, and the model."""
    stage = fold_stages(one.data, int(one.protocol["fit"]["epochs"]))[0]
    model = build(one, stage)
    before = {name: tensor.detach().clone() for name, tensor in tensors(model).items()}
    moved: set[str] = set()
    with RunRandomness(0, "cpu").active():
        for event in Fit(one, stage, model, Meter("cpu")).events(None):
            if isinstance(event, Step):
                assert_closed_parts_evaluate(model)
            now = tensors(model)
            assert before.keys() == now.keys()
            moved |= {n for n, tensor in now.items() if not torch.equal(before[n], tensor)}
    return moved, model


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=8)
@given(name=st.sampled_from([*TEMPLATES, "gradual modules"]), seed=st.integers(0, 2**30))
def test_the_frozen_stays_frozen(
    families: dict[str, Backbone],
    tmp_path_factory: pytest.TempPathFactory,
    family: str,
    name: str,
    seed: int,
) -> None:
    backbone = families[family]
    task = family_task(backbone.preprocess.kind)
    protocol = resolved(name, **(GRADUAL_MODULES if name == "gradual modules" else {}), epochs=3)
    protocol["rate"]["peak"] = 1e-2
    one = job(tmp_path_factory.mktemp("frozen"), task, backbone, protocol, seed=seed)
    source = {n: t.clone() for n, t in backbone.module.state_dict().items()}
    moved, model = trained(one)
    statistics = {n for n, _ in model.named_buffers()} if model.learns_statistics else set()
    assert moved <= model.trains.names | statistics
    assert any(n.startswith("head.") for n in moved)
    assert any(not n.startswith("head.") for n in moved)
    assert all(torch.equal(source[n], t) for n, t in backbone.module.state_dict().items())
    assert not any(p.requires_grad for p in backbone.module.parameters())


def test_frozen_blocks_run_in_evaluation_mode(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(), resolved("upper", train={"from_depth": 2}))
    model = build(one, fold_stages(one.data, 1)[0])
    model.set_modes(2)
    modes = {name: child.training for name, child in model.backbone.module.named_modules()}
    assert not modes["blocks_.0"]
    assert not modes["blocks_.1.3"]
    assert modes["blocks_.2.3"]
    assert not modes["blocks_.2.1"], "batch normalisation keeps evaluating"


class Late(Net):
    """Has dropout before its blocks, and a normalisation after them."""

    def __init__(self) -> None:
        super().__init__()
        self.noise, self.last = nn.Dropout(0.5), nn.LayerNorm(8)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 8)."""
        self.noise(values)
        return self.last(super().forward(values))


def test_while_the_head_trains_alone_all_else_rests(tmp_path: Any) -> None:
    what = {"train": {"from_depth": 0, "stem": True}, "unfreeze": "gradual"}
    one, two = (
        job(tmp_path, rows_task(), net_backbone(Late), resolved("late", **what, epochs=n))
        for n in (1, 2)
    )
    model = build(one, fold_stages(one.data, 1)[0])
    model.set_modes(3)
    assert not any(part.training for part in model.backbone.module.modules())
    assert {name.partition(".")[0] for name in trained(one)[0]} == {"head"}
    model.set_modes(2)
    modes = dict(model.backbone.module.named_modules())
    assert modes["last"].training
    assert not modes["noise"].training
    assert "backbone.last.weight" in trained(two)[0]


def test_what_follows_the_last_block_trains_with_it(tmp_path: Any) -> None:
    class Bare(Late):
        def __init__(self) -> None:
            super().__init__()
            self.blocks_[2] = nn.Sequential(nn.ReLU(), nn.Dropout(0.2))

    one = job(tmp_path, rows_task(), net_backbone(Bare), resolved("top", train={"from_depth": 2}))
    assert build(one, None).trains.lowest_depth == 2
    ended = done(events_of(one))
    assert ended.summary["activations"] == "cached"
    assert {name for name in ended.state if "backbone" in name} == {
        "backbone.last.weight",
        "backbone.last.bias",
    }
    assert not torch.equal(ended.state["backbone.last.weight"], torch.ones(8))


@pytest.mark.parametrize("family", ["bert", "vit", "convnext", "plain"])
@pytest.mark.parametrize("name", ["lp-ft-upper", "gradual", "gradual modules"])
def test_a_kept_prefix_changes_no_result(
    families: dict[str, Backbone], tmp_path: Any, family: str, name: str
) -> None:
    backbone = families[family]
    protocol = resolved(name, **(GRADUAL_MODULES if name == "gradual modules" else {}), epochs=4)
    one = job(tmp_path, family_task(backbone.preprocess.kind), backbone, protocol)
    asked: list[int] = []

    def prefix(depth: int) -> Any:
        asked.append(depth)
        return one.data.prefix(depth)

    kept = done(events_of(replace(one, data=replace(one.data, prefix=prefix))))
    assert asked
    foreseen = prefix_depths(protocol, backbone, kind=backbone.preprocess.kind)
    inner = {depth for depth in asked if depth < backbone.n_blocks}  # features are always kept
    assert sorted(inner, reverse=True) == list(foreseen)
    whole = done(events_of(replace(one, data=replace(one.data, prefix=lambda _: None))))
    assert np.allclose(kept.arrays["logits"], whole.arrays["logits"], atol=1e-5)
    histories = [ended.summary["stages"][0]["history"] for ended in (kept, whole)]
    for ours, theirs in zip(*histories, strict=True):
        assert ours["metrics"] == pytest.approx(theirs["metrics"], abs=1e-5)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_trained_is_counted_as_it_was_announced(tmp_path: Any, name: str) -> None:
    one = job(tmp_path, rows_task(), net_backbone(), resolved(name, **PROTOCOLS[name]))
    started, *_ = events = events_of(one)
    model = build(one, None)
    expected = sum(p.numel() for n, p in model.named_parameters() if n in model.trains.names)
    assert started.parameters_trained == expected
    assert done(events).summary["parameters_trained"] == expected
