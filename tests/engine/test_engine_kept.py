"""Training from kept activations is training: the same losses, weights and predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from torch import nn

from regraft.events import Step
from small_jobs import FAMILIES, done, events_of, family_task, job, resolved

if TYPE_CHECKING:
    from regraft.backbones.backbone import Backbone
    from regraft.engine.job import Job
    from regraft.events import Done, Event

RATE = {"kind": "cosine", "peak": 1e-3}
RECIPES: dict[str, dict[str, Any]] = {
    "upper": {"train": {"from_depth": 0.5}, "rate": RATE},
    "lora": {"rate": RATE},
    "gradual": {
        "train": {"from_depth": 1},
        "unfreeze": {"kind": "gradual", "head_first": False},
        "rate": {"kind": "slanted_triangular", "peak": 1e-3},
    },
}
LIGHT = {"augment": {"kind": "light"}, "views": 2}
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


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_three_epochs_from_kept_activations_equal_three_that_compute_all(
    families: dict[str, Backbone], tmp_path: Any, family: str, name: str
) -> None:
    backbone = families[family]
    protocol = resolved(name, epochs=3, **recipe(name, backbone), fit=FIT)
    one = job(tmp_path, family_task(backbone.preprocess.kind), backbone, protocol)
    read: set[int] = set()

    def prefix(depth: int) -> Any:
        read.add(depth)
        return one.data.prefix(depth)

    noted = replace(one, data=replace(one.data, prefix=prefix))
    kept, whole = assert_alike(events_of(noted), events_of(uncached(one)))
    assert (len(read) > 1) == (name == "gradual")
    assert min(read) > 0
    assert kept.summary["activations"] == "cached"
    assert whole.summary["activations"] == "computed: what it would keep is too large"
    assert len(kept.summary["stages"][0]["history"]) == 3
