"""The embedded backbone comes from the committed recipe, and the demo from what is installed."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from regraft.backbones.loading import load_backbone
from regraft.demo import demo_study
from regraft.errors import ConfigError
from regraft.hashing import digest_arrays
from regraft.pretrain import (
    CHARACTERS,
    GlyphRecipe,
    glyph_batch,
    pretrain_glyphs,
    pretrain_named,
    rendered_glyphs,
)

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("matplotlib", reason="the recipe draws with the fonts that matplotlib ships")

ZOO = files("regraft.backbones.zoo")
SHORT = GlyphRecipe(steps=40, batch_size=64)


def test_the_shipped_weights_are_those_that_their_record_names() -> None:
    info = json.loads((ZOO / "glyphs.json").read_text(encoding="utf-8"))
    weights = load_file(str(ZOO / "glyphs.safetensors"))
    assert digest_arrays(weights) == info["digest"]
    assert info["recipe"] == asdict(GlyphRecipe())
    assert sum(array.nbytes for array in weights.values()) < 2_000_000


def test_a_shortened_recipe_learns_and_gives_the_same_weights_twice() -> None:
    outer = torch.get_rng_state()
    first, losses = pretrain_glyphs(SHORT)
    second, again = pretrain_glyphs(SHORT)
    assert torch.equal(torch.get_rng_state(), outer)
    assert losses == again
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])


def test_the_command_writes_weights_that_load_as_a_backbone(tmp_path: Path) -> None:
    info = pretrain_named("glyphs", tmp_path / "glyphs.safetensors", steps=2)
    weights = load_file(str(tmp_path / "glyphs.safetensors"))
    assert digest_arrays(weights) == info["digest"]
    reference = f"python:regraft.backbones.zoo.glyphs:build@{tmp_path}/glyphs.safetensors"
    backbone = load_backbone(reference)
    assert (backbone.n_blocks, backbone.width) == (6, 128)


def test_an_unknown_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recipe for 'digits'"):
        pretrain_named("digits", tmp_path / "out.safetensors")


def test_glyphs_are_drawn_as_digits_are_counted() -> None:
    masks = rendered_glyphs()
    assert masks.shape[1] == len(CHARACTERS) == 62
    draw = torch.Generator().manual_seed(0)
    images, labels = glyph_batch(masks, GlyphRecipe(batch_size=128), draw)
    assert images.shape == (128, 1, 8, 8)
    assert images.min() >= 0.0
    assert images.max() <= 1.0
    assert set(labels.tolist()) <= set(range(62))
    assert (images.flatten(1).max(dim=1).values > 0.5).all()


def test_the_demo_is_the_ladder_at_ten_labels_and_a_curve_over_five_budgets(
    tmp_path: Path,
) -> None:
    study = demo_study(home=tmp_path)
    assert (len(study.pool.development), len(study.pool.sealed)) == (1000, 797)
    assert len(study.task.development) == 100
    assert study.spec.label_budgets == [1, 2, 5, 10, 20]
    assert study.spec.protocols == ["ladder"]
    assert demo_study(home=tmp_path).id == study.id
