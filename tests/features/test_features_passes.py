"""A pass over all items: in item order, each as if alone, each block run once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regraft.backbones.backbone import Backbone
from regraft.backbones.blocks import find_blocks
from regraft.backbones.loading import load_backbone
from regraft.backbones.precision import autocast
from regraft.backbones.preprocess import ArrayPreprocess
from regraft.errors import DataError, ShapeError
from regraft.features import passes
from regraft.features.passes import Wanted, passed
from regraft.features.store import Cache
from regraft.features.table import (
    features_and_prefixes,
    pooled_features,
    prefix_activations,
    prepare_inputs,
)
from regraft.search.bench import Bench
from regraft.tasks.items import Items, items_from
from small_backbones import WORDS, save_all

if TYPE_CHECKING:
    from pathlib import Path

N = 41
FAMILIES = ("bert", "vit", "resnet", "plain")
FEW = 4 * 8 * 12 * 12 * 3 * 3
"""Bytes by which three small images share a batch, and texts of some dozen tokens."""


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    saved = save_all(tmp_path_factory.mktemp("backbones"))
    return {family: load_backbone(saved[family]) for family in FAMILIES}


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_ACTIVATION_BYTES", {"cpu": FEW})
    monkeypatch.setattr(passes, "_WINDOW_TOKENS", 150)


def some_items(kind: str, n: int = N) -> Items:
    rng = np.random.default_rng(0)
    if kind == "text":
        return items_from(
            [" ".join(rng.choice(WORDS, rng.integers(0, 25))) for _ in range(n)], kind
        )
    return items_from([rng.integers(0, 256, (17, 20, 3), dtype=np.uint8) for _ in range(n)], kind)


def alone(backbone: Backbone, prepared: Any, depth: int) -> tuple[list[Any], list[Any]]:
    """Return each item's features, and what a block receives of it, in a batch of its own."""
    features, hidden = [], []
    with torch.no_grad():
        for one in prepared:
            batch = backbone.preprocess.collate([one])
            features.append(backbone.features(batch)[0].numpy())
            hidden.append(backbone.hidden(batch, depth=depth)[0].numpy())
    return features, hidden


@pytest.mark.parametrize("family", FAMILIES)
def test_each_item_is_computed_as_if_it_were_alone_and_kept_in_its_place(
    backbones: dict[str, Backbone], tmp_path: Path, family: str
) -> None:
    backbone = backbones[family]
    items = some_items(backbone.preprocess.kind)
    cache = Cache(tmp_path)
    prepared = prepare_inputs(cache, backbone.preprocess, items)
    found, prefixes = features_and_prefixes(cache, backbone, prepared, items=items, depths=[1])
    features, hidden = alone(backbone, prepared, 1)
    scale = max(1.0, np.abs(features).max())
    np.testing.assert_allclose(found, features, atol=1e-6 * scale, rtol=1e-6)
    for ours, own in zip(prefixes[1], hidden, strict=True):
        scale = max(1.0, np.abs(own).max())
        np.testing.assert_allclose(ours, own, atol=1e-6 * scale, rtol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_for_several_depths_equals_a_pass_for_each_bit_for_bit(
    backbones: dict[str, Backbone], tmp_path: Path, family: str, precision: Any
) -> None:
    backbone = backbones[family]
    items = some_items(backbone.preprocess.kind)
    prepared = prepare_inputs(Cache(tmp_path), backbone.preprocess, items)
    depths = range(backbone.n_blocks)
    together, prefixes = features_and_prefixes(
        Cache(tmp_path / "a"), backbone, prepared, items=items, depths=depths, precision=precision
    )
    cache = Cache(tmp_path / "b")
    apart = pooled_features(cache, backbone, prepared, items=items, precision=precision)
    assert np.array_equal(together, apart)
    for depth in depths:
        own = prefix_activations(
            cache, backbone, prepared, items=items, depth=depth, precision=precision
        )
        for ours, theirs in zip(prefixes[depth], own, strict=True):
            assert np.array_equal(ours, theirs)
    names = [sorted(one.name for one in (tmp_path / which).iterdir()) for which in "ab"]
    assert names[0] == names[1]


def item_counts(backbone: Backbone) -> tuple[list[int], list[Any]]:
    """Return how many items each block has seen, counted from now on, and the hooks that count."""
    counts = [0] * backbone.n_blocks

    def count(at: int) -> Any:
        def hook(_: Any, arguments: tuple[Any, ...], __: Any) -> None:
            counts[at] += len(arguments[0])

        return hook

    blocks = [backbone.module.get_submodule(name) for name in backbone.blocks]
    return counts, [b.register_forward_hook(count(at)) for at, b in enumerate(blocks)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pass_runs_each_block_once_and_only_for_what_is_missing(
    backbones: dict[str, Backbone], tmp_path: Path, family: str
) -> None:
    backbone = backbones[family].copy()
    items = some_items(backbone.preprocess.kind)
    cache = Cache(tmp_path)
    prepared = prepare_inputs(cache, backbone.preprocess, items)
    counts, _ = item_counts(backbone)
    first, last = 1, backbone.n_blocks - 1
    prefix_activations(cache, backbone, prepared, items=items, depth=first)
    assert counts == [N] * first + [0] * (backbone.n_blocks - first)
    features_and_prefixes(cache, backbone, prepared, items=items, depths=[last, first, last])
    assert counts == [2 * N] * first + [N] * (backbone.n_blocks - first)
    features_and_prefixes(cache, backbone, prepared, items=items, depths=[first, last])
    pooled_features(cache, backbone, prepared, items=items)
    assert counts == [2 * N] * first + [N] * (backbone.n_blocks - first)


def test_a_bench_keeps_what_is_expected_of_a_pass_that_is_needed_anyway(
    backbones: dict[str, Backbone], tmp_path: Path
) -> None:
    backbone = backbones["bert"].copy()
    items = some_items("text")
    counts, _ = item_counts(backbone)
    bench = Bench(items, backbone, Cache(tmp_path))
    bench.expect([2])
    bench.expect([1, 2])
    before = list(counts)
    features = bench.features
    assert len(features) == N
    passed_now = [now - then for now, then in zip(counts, before, strict=True)]
    assert passed_now == [N + 1, N + 1, N]  # one item tells how large a prefix will be
    prefixes = [bench.prefix(depth) for depth in (1, 2)]
    assert all(one is not None and len(one) == N for one in prefixes)
    again = Bench(items, backbone, Cache(tmp_path))
    again.expect([0])
    assert np.array_equal(again.features, features)
    assert [now - then for now, then in zip(counts, before, strict=True)] == passed_now
    assert len(list(tmp_path.glob("*.arrays"))) == 4  # prepared, features, two prefixes


def prefix_bytes(backbone: Backbone, items: Items, folder: Path) -> int:
    """Return the bytes of one prefix of the small BERT, every text as long as the longest."""
    lengths = prepare_inputs(Cache(folder), backbone.preprocess, items).lengths()
    return N * int(lengths.max()) * backbone.width * 4


def test_no_more_is_kept_of_a_pass_than_a_quarter_of_the_caches_budget(
    backbones: dict[str, Backbone], tmp_path: Path
) -> None:
    items, backbone = some_items("text"), backbones["bert"]
    one = prefix_bytes(backbone, items, tmp_path)
    bench = Bench(items, backbone, Cache(tmp_path, most_bytes=4 * 2 * one))
    bench.expect([2, 0, 1])
    assert len(bench.features) == N
    entries = len(list(tmp_path.glob("*.arrays")))
    assert entries == 4  # prepared, features, two of three prefixes
    bench.prefix(2)
    bench.prefix(0)
    assert len(list(tmp_path.glob("*.arrays"))) == entries
    assert bench.prefix(1) is not None  # alone it fits
    assert len(list(tmp_path.glob("*.arrays"))) == entries + 1


@pytest.mark.parametrize(("lacking", "is_kept"), [(0, True), (1, False)])
def test_a_prefix_is_kept_up_to_a_quarter_of_the_caches_budget(
    backbones: dict[str, Backbone], tmp_path: Path, lacking: int, is_kept: bool
) -> None:
    items, backbone = some_items("text"), backbones["bert"]
    most = 4 * prefix_bytes(backbone, items, tmp_path) - lacking
    bench = Bench(items, backbone, Cache(tmp_path, most_bytes=most))
    entries = len(list(tmp_path.glob("*.arrays")))
    assert (bench.prefix(1) is not None) == is_kept
    assert len(list(tmp_path.glob("*.arrays"))) == entries + is_kept


def test_the_features_are_what_is_kept_beyond_the_last_block_by_one_pass(
    backbones: dict[str, Backbone], tmp_path: Path
) -> None:
    backbone = backbones["bert"].copy()
    bench = Bench(some_items("text"), backbone, Cache(tmp_path))
    bench.expect([2])
    kept = bench.prefix(backbone.n_blocks)
    assert kept is not None
    counts, _ = item_counts(backbone)
    assert np.array_equal(np.stack(kept.gather(range(N))), bench.features)
    assert bench.prefix(2) is not None
    assert not any(counts)
    other = Bench(some_items("text"), backbone, Cache(tmp_path / "other", most_bytes=1))
    assert other.prefix(backbone.n_blocks) is not None  # every solved head reads them anyway


def test_a_block_that_writes_over_its_input_does_not_change_what_is_kept(
    backbones: dict[str, Backbone], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = backbones["plain"].copy()
    items = some_items("image", 7)
    prepared = prepare_inputs(Cache(tmp_path), backbone.preprocess, items)
    block = backbone.module.get_submodule(backbone.blocks[2])
    forward = block.forward
    monkeypatch.setattr(block, "forward", lambda maps: forward(maps.zero_()))
    ((hidden, *_),) = zip(*passed(backbone, prepared, Wanted((2,)), "fp32"), strict=True)
    ((kept, _), *_) = passed(backbone, prepared, Wanted((2,), pooled=True), "fp32")
    assert np.abs(kept[0]).max() > 0
    assert np.array_equal(kept[0], hidden[0])


class TypedByItsWeight(torch.nn.Module):
    """Computes all in the type of its layer's weight, which autocast would not."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks_ = torch.nn.ModuleList([torch.nn.Linear(9, 9), torch.nn.Linear(9, 9)])

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values = values.to(self.blocks_[0].weight.dtype).exp()
        for block in self.blocks_:
            values = values + block(values)
        return values


@pytest.mark.parametrize("family", [*FAMILIES, "typed"])
def test_weights_in_bf16_change_no_number_and_are_put_back(
    backbones: dict[str, Backbone], tmp_path: Path, family: str
) -> None:
    if family == "typed":
        backbone, items = array_backbone(TypedByItsWeight()), array_items()
    else:
        backbone = backbones[family]
        items = some_items(backbone.preprocess.kind)
    before = backbone.copy().digest
    prepared = prepare_inputs(Cache(tmp_path), backbone.preprocess, items)
    batches = list(passed(backbone, prepared, Wanted(pooled=True), "bf16"))
    found = np.concatenate([one for (batch,) in batches for one in [np.stack(batch)]])
    assert backbone.copy().digest == before
    assert all(one.dtype == torch.float32 for one in backbone.module.parameters())
    rows = np.flatnonzero(prepared.lengths() == prepared.lengths()[0])[:2]
    with torch.no_grad(), autocast("bf16", "cpu"):
        plain = backbone.features(backbone.preprocess.collate(prepared.gather(rows))).float()
    np.testing.assert_allclose(found[rows], plain.numpy(), atol=0.01, rtol=0.01)
    assert bool(passes.lowered(backbone, "cpu")) == (family != "typed")


def array_backbone(module: torch.nn.Module) -> Backbone:
    backbone = Backbone(
        reference="test",
        module=module,
        preprocess=ArrayPreprocess({"shape": [9]}, where="test"),
        blocks=find_blocks(module),
        roles={},
        pooling="output",
        by_keyword=False,
        fresh=lambda: module,
    )
    backbone.set_probe({"values": torch.randn(3, 9, generator=torch.Generator().manual_seed(0))})
    return backbone


def array_items() -> Items:
    rng = np.random.default_rng(0)
    return items_from(list(rng.normal(size=(N, 9)).astype(np.float32)), "array")


def test_a_depth_beyond_the_blocks_is_refused_and_leaves_nothing(
    backbones: dict[str, Backbone], tmp_path: Path
) -> None:
    backbone = backbones["bert"]
    items = some_items("text")
    prepared = prepare_inputs(Cache(tmp_path / "a"), backbone.preprocess, items)
    with pytest.raises(ShapeError, match=r"depth 3 is beyond the backbone's 3 blocks"):
        features_and_prefixes(Cache(tmp_path / "b"), backbone, prepared, items=items, depths=[1, 3])
    assert list((tmp_path / "b").iterdir()) == []


def test_an_image_that_cannot_be_decoded_is_named(
    backbones: dict[str, Backbone], tmp_path: Path
) -> None:
    items = some_items("image")
    inputs = [*items.inputs[:30], np.frombuffer(b"no image", np.uint8), *items.inputs[31:]]
    broken = Items("image", inputs, items.labels, items.ids, items.digests)
    with pytest.raises(DataError, match="not an image that can be read"):
        prepare_inputs(Cache(tmp_path), backbones["plain"].preprocess, broken)
    assert list(tmp_path.iterdir()) == []


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60), most=st.integers(1, 200))
def test_batches_hold_every_item_once_and_no_more_than_fits(sizes: list[int], most: int) -> None:
    values = np.array(sizes)
    rows = np.argsort(-values, kind="stable")
    batches = list(passes._batches(rows, values, most))
    assert np.concatenate(batches).tolist() == rows.tolist()
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        largest = values[batch].max()
        assert len(batch) == 1 or len(batch) * largest <= most
        if following is not None:
            is_full = (len(batch) + 1) * largest > most
            is_half = len(batch) >= most // (2 * largest)
            assert is_full or (is_half and values[following[0]] < values[batch[-1]])


@given(lengths=st.lists(st.integers(0, 400), min_size=1, max_size=60))
def test_windows_are_whole_stretches_of_items(lengths: list[int]) -> None:
    windows = [np.sort(one) for one in passes._windows(np.array(lengths))]
    assert np.concatenate(windows).tolist() == list(range(len(lengths)))
    for one in windows:
        assert sum(lengths[row] for row in one[1:-1]) <= passes._WINDOW_TOKENS
