from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from regraft.backbones.backbone import Backbone
from regraft.backbones.blocks import find_blocks
from regraft.backbones.loading import load_backbone
from regraft.backbones.preprocess import ArrayPreprocess
from regraft.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Mapping

FAMILIES = ("bert", "vit", "dinov2", "resnet", "convnext", "plain")

loaded = cache(load_backbone)


def some_batch(backbone: Backbone, sizes: list[int], seed: int) -> dict[str, torch.Tensor]:
    """Return a batch of one item per size: texts of that many tokens, images of that many rows."""
    rng = np.random.default_rng(seed)
    if backbone.preprocess.kind == "text":
        ids = [rng.integers(5, 20, size).astype(np.int32) for size in sizes]
        return backbone.preprocess.collate(ids)
    images = [rng.integers(0, 256, (8 + size, 17, 3), dtype=np.uint8) for size in sizes]
    return backbone.preprocess.collate(backbone.preprocess.prepare(images))


def array_backbone(module: nn.Module, width: int = 4) -> Backbone:
    backbone = Backbone(
        reference="test",
        module=module,
        preprocess=ArrayPreprocess({"shape": [width]}, where="test"),
        blocks=find_blocks(module),
        roles={},
        pooling="output",
        by_keyword=False,
        fresh=lambda: module,
    )
    backbone.set_probe(
        {"values": torch.randn(2, width, generator=torch.Generator().manual_seed(0))}
    )
    return backbone


@pytest.mark.parametrize("family", FAMILIES)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    depth=st.integers(0, 2),
    seed=st.integers(0, 2**16),
)
def test_prefix_then_suffix_is_exactly_the_whole_on_the_same_batch(
    references: Mapping[str, str], family: str, sizes: list[int], depth: int, seed: int
) -> None:
    backbone = loaded(references[family])
    batch = some_batch(backbone, sizes, seed)
    with torch.no_grad():
        whole = backbone.features(batch)
        hidden = backbone.hidden(batch, depth=depth)
        parts = backbone.features_from(hidden, batch, depth=depth)
    assert whole.shape == (len(sizes), backbone.width)
    assert (whole - parts).abs().max().item() == 0.0


@pytest.mark.parametrize("family", FAMILIES)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=6),
    depth=st.integers(0, 2),
    seed=st.integers(0, 2**16),
)
def test_hidden_states_kept_by_item_serve_in_any_other_batch(
    references: Mapping[str, str], family: str, sizes: list[int], depth: int, seed: int
) -> None:
    backbone = loaded(references[family])
    rng = np.random.default_rng(seed)
    whole_batch = some_batch(backbone, sizes, seed)
    order = rng.permutation(len(sizes))[: max(1, len(sizes) // 2)]
    smaller = {name: tensor[order] for name, tensor in whole_batch.items()}
    if backbone.preprocess.kind == "text":
        longest = int(smaller["attention_mask"].sum(1).max())
        smaller = {name: tensor[:, :longest] for name, tensor in smaller.items()}
    with torch.no_grad():
        kept = backbone.split_hidden(backbone.hidden(whole_batch, depth=depth), whole_batch)
        joined = backbone.join_hidden([kept[row] for row in order])
        parts = backbone.features_from(joined, smaller, depth=depth)
        whole = backbone.features(smaller)
    assert torch.allclose(whole, parts, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_suffix_sends_gradient_to_its_own_blocks_alone(
    references: Mapping[str, str], family: str
) -> None:
    backbone = loaded(references[family]).copy()
    backbone.module.requires_grad_(requires_grad=True)
    batch = some_batch(backbone, [3, 9], 0)
    with torch.no_grad():
        hidden = backbone.hidden(batch, depth=1)
    backbone.features_from(hidden, batch, depth=1).square().sum().backward()
    reached = {
        backbone.depth_of(name)
        for name, parameter in backbone.module.named_parameters()
        if parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
    }
    assert max(reached) >= backbone.n_blocks - 1
    assert min(reached) >= 1


def test_a_pass_leaves_neither_hooks_nor_replaced_blocks_behind(
    references: Mapping[str, str],
) -> None:
    backbone = loaded(references["vit"]).copy()
    batch = some_batch(backbone, [3, 4], 0)
    before = [type(part) for part in backbone.module.modules()]
    hidden = backbone.hidden(batch, depth=2)
    with pytest.raises((RuntimeError, ValueError)):
        backbone.features_from(hidden[:, :, :3], batch, depth=2)
    backbone.features_from(hidden, batch, depth=2)
    assert [type(part) for part in backbone.module.modules()] == before
    assert not any(part._forward_pre_hooks for part in backbone.module.modules())


def test_the_prefix_stops_at_its_block(references: Mapping[str, str]) -> None:
    backbone = loaded(references["bert"]).copy()
    calls: list[str] = []
    for name in backbone.blocks:
        block = backbone.module.get_submodule(name)
        block.register_forward_hook(lambda *_, name=name: calls.append(name))
    backbone.hidden(some_batch(backbone, [3, 4], 0), depth=1)
    assert calls == [backbone.blocks[0]]


class SkipOver(nn.Module):
    """Its second block reads what the first received, past the hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        first = self.layers[0](values)
        return self.layers[1](first) + first


class AsksItsBlocks(nn.Module):
    """Reads an attribute of each block, as families with several kinds of attention do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            values = layer(values) * layer.out_features
        return values


class Shared(nn.Module):
    """Runs its one stack of layers twice, so that no cut divides it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        for layer in [*self.layers, *self.layers]:
            values = layer(values).tanh()
        return values


@pytest.mark.parametrize(
    ("make", "is_cut"), [(SkipOver, False), (AsksItsBlocks, True), (Shared, False)]
)
def test_only_what_is_exact_is_cut(make: Any, is_cut: bool) -> None:
    torch.manual_seed(0)
    assert array_backbone(make()).can_cut is is_cut


class LateStem(nn.Module):
    """Defines after its blocks what runs before them, and a part between two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.last = nn.LayerNorm(4)
        self.first = nn.Linear(4, 4)
        self.between = nn.Linear(4, 4)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values = self.between(self.layers[0](self.first(values)))
        return self.last(self.layers[2](self.layers[1](values)))


def test_depths_follow_the_order_of_execution_not_of_definition() -> None:
    backbone = array_backbone(LateStem())
    names = ("first.weight", "layers.0.bias", "between.weight", "layers.2", "last.weight", "")
    assert [backbone.depth_of(name) for name in names] == [-1, 0, 0, 2, 3, -1]


def test_a_depth_beyond_the_blocks_is_named() -> None:
    with pytest.raises(ShapeError, match=r"depth 4 is beyond the backbone's 3 blocks \(0 … 2\)"):
        array_backbone(LateStem()).hidden({"values": torch.zeros(1, 4)}, depth=4)


def test_a_block_off_the_forward_path_is_named() -> None:
    module = LateStem()
    module.layers.append(nn.Linear(4, 4))
    backbone = array_backbone(module)
    assert not backbone.can_cut
    with pytest.raises(ShapeError, match=r"block layers.3 is not on the forward path"):
        backbone.hidden({"values": torch.zeros(1, 4)}, depth=3)


def test_an_output_that_is_not_features_is_refused() -> None:
    class Scalar(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.layers[1](self.layers[0](values)).sum(dim=1)

    with pytest.raises(ShapeError, match=r"pools to shape \(2,\)"):
        array_backbone(Scalar())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_suffix_runs_only_its_own_blocks_and_on_what_it_is_given(
    references: Mapping[str, str], family: str
) -> None:
    backbone = loaded(references[family]).copy()
    calls: list[str] = []
    for name in backbone.blocks:
        block = backbone.module.get_submodule(name)
        block.register_forward_hook(lambda *_, name=name: calls.append(name))
    batch = some_batch(backbone, [3, 9], 0)
    hidden = backbone.hidden(batch, depth=1)
    calls.clear()
    own = backbone.features_from(hidden, batch, depth=1)
    assert calls == list(backbone.blocks[1:])
    other = backbone.features_from(torch.randn_like(hidden), batch, depth=1)
    assert not torch.allclose(own, other)


def test_a_suffix_skips_the_stem_of_images(references: Mapping[str, str]) -> None:
    for family, stem in (("vit", "embeddings"), ("resnet", "embedder"), ("plain", "parts.0")):
        backbone = loaded(references[family]).copy()
        calls: list[str] = []
        part = backbone.module.get_submodule(stem)
        part.register_forward_hook(lambda *_, calls=calls: calls.append("stem"))
        batch = some_batch(backbone, [3, 9], 0)
        backbone.features_from(backbone.hidden(batch, depth=1), batch, depth=1)
        assert calls == ["stem"]


def test_a_stem_that_is_needed_again_after_the_blocks_is_not_skipped() -> None:
    class Recalls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(4, 4)
            self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            start = self.stem(values)
            return self.layers[1](self.layers[0](start)) + start

    torch.manual_seed(0)
    backbone = array_backbone(Recalls())
    assert backbone.can_cut
    batch = {"values": torch.randn(3, 4)}
    hidden = backbone.hidden(batch, depth=1)
    whole = backbone.features(batch)
    assert torch.equal(backbone.features_from(hidden, batch, depth=1), whole)
