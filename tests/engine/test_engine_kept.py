"""Training from kept activations is training: the same losses, weights and predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from torch import nn

from regraft.events import Failed, Step
from small_jobs import (
    FAMILIES,
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
    import torch

    from regraft.backbones.backbone import Backbone
    from regraft.engine.job import Job
    from regraft.events import Done, Event

RATE = {"kind": "cosine", "peak": 1e-3}
RANDOM = {"kind": "linear", "start": "random"}
RECIPES: dict[str, dict[str, Any]] = {
    "head": {"train": {"from_depth": "none"}, "head": RANDOM, "rate": RATE},
    "upper": {"train": {"from_depth": 0.5}, "rate": RATE},
    "lora": {"rate": RATE},
    "gradual": {
        "train": {"from_depth": 1},
        "unfreeze": {"kind": "gradual"},
        "rate": {"kind": "slanted_triangular", "peak": 1e-3},
    },
}
AFRESH = {"augment": {"kind": "light"}}
FIT = {"batch_size": 6, "patience": 9, "least_steps": 1}


def recipe(name: str, backbone: Backbone) -> dict[str, Any]:
    """Return a recipe as it is for a backbone: LoRA in its upper half, the blocks frozen."""
    if name != "lora":
        return RECIPES[name]
    upper = [
        layer
        for layer, part in backbone.module.named_modules()
        if backbone.n_blocks > backbone.depth_of(layer) >= backbone.n_blocks / 2
        and (isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1))
    ]
    return {**RECIPES[name], "modules": [{"kind": "lora", "rank": 2, "layers": upper}]}


def uncached(one: Job) -> Job:
    """Return the job with nothing kept: every step computes the whole backbone."""
    data = replace(one.data, prefix=lambda _: None, view_prefix=lambda *_: None)
    return replace(one, data=data)


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Step)]


def assert_alike(one: list[Event], other: list[Event]) -> tuple[Done, Done]:
    """Compare two runs by the losses of every step, what they left, and what they predict."""
    ours, theirs = done(one), done(other)
    assert losses(one) == pytest.approx(losses(other), abs=1e-5)
    assert np.allclose(ours.arrays["logits"], theirs.arrays["logits"], rtol=0, atol=1e-5)
    assert ours.state.keys() == theirs.state.keys()
    for name, tensor in ours.state.items():
        assert np.allclose(tensor, theirs.state[name], rtol=0, atol=1e-5), name
    return ours, theirs


def noted(one: Job) -> tuple[Job, list[int]]:
    """Return the job, and a list to which it adds each depth whose kept states it reads."""
    read: list[int] = []

    def prefix(depth: int) -> Any:
        read.append(depth)
        return one.data.prefix(depth)

    return replace(one, data=replace(one.data, prefix=prefix)), read


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_three_epochs_from_kept_activations_equal_three_that_compute_all(
    families: dict[str, Backbone], tmp_path: Any, family: str, name: str
) -> None:
    backbone = families[family]
    protocol = resolved(name, epochs=3, **recipe(name, backbone), fit=FIT)
    one = job(tmp_path, family_task(backbone.preprocess.kind), backbone, protocol)
    reading, read = noted(one)
    kept, whole = assert_alike(events_of(reading), events_of(uncached(one)))
    assert (len(set(read)) > 1) == (name == "gradual")
    assert (backbone.n_blocks in read) == (name in {"head", "gradual"})
    assert min(read) > 0
    assert kept.summary["activations"] == "cached"
    assert whole.summary["activations"] == "computed: what it would keep is too large"
    assert len(kept.summary["stages"][0]["history"]) == 3


class Counting(Net):
    """Counts its forward passes."""

    passes = 0

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return features (B, 8)."""
        Counting.passes += 1
        return super().forward(values)


def test_where_the_head_alone_trains_no_step_or_evaluation_runs_the_backbone(tmp_path: Any) -> None:
    one = job(tmp_path, rows_task(), net_backbone(Counting), resolved("head", **RECIPES["head"]))
    one.data.features()
    assert not any(isinstance(event, Failed) for event in events_of(one))  # pre-flight runs it
    before = Counting.passes
    ended = done(events_of(one))
    assert Counting.passes == before
    validation = one.data.folds[0].validation
    features = one.data.features()[one.data.rows[validation]]
    assert np.array_equal(ended.arrays["features"], features)


@pytest.mark.parametrize("name", ["head", "upper", "gradual"])
@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_what_is_augmented_afresh_is_scored_from_kept_activations(
    families: dict[str, Backbone], tmp_path: Any, family: str, name: str
) -> None:
    backbone = families[family]
    protocol = resolved(name, epochs=3, **recipe(name, backbone), fit=FIT, data=AFRESH)
    one = job(tmp_path, family_task("image"), backbone, protocol)
    reading, read = noted(one)
    kept, whole = events_of(reading), events_of(uncached(one))
    assert losses(kept) == losses(whole)  # every step computes the same batches
    ours, theirs = assert_alike(kept, whole)
    assert (len(set(read)) > 1) == (name == "gradual")
    assert min(read) > 0
    histories = [ended.summary["stages"][0]["history"] for ended in (ours, theirs)]
    for one_look, other in zip(*histories, strict=True):
        assert one_look["metrics"] == pytest.approx(other["metrics"], abs=1e-5)
    for ended in (ours, theirs):
        assert ended.summary["activations"] == "computed: augmented afresh each epoch"
