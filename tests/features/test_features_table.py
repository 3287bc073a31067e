from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizer

from regraft.backbones.backbone import Backbone
from regraft.backbones.blocks import find_blocks
from regraft.backbones.images import ImagePreprocess, image_spec
from regraft.backbones.preprocess import TextPreprocess
from regraft.errors import BackboneError
from regraft.features import passes
from regraft.features.store import Cache
from regraft.features.table import pooled_features, prefix_activations, prepare_inputs
from regraft.tasks.items import Items, items_from

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.backbones.preprocess import Preprocess

N = 70
WORDS = ("a", "film", "was", "good", "bad", "very")


def made(module: nn.Module, preprocess: Preprocess, raw: list[Any], pooling: Any) -> Backbone:
    backbone = Backbone(
        reference="test",
        module=module,
        preprocess=preprocess,
        blocks=find_blocks(module),
        roles={},
        pooling=pooling,
        by_keyword=preprocess.kind == "text",
        fresh=lambda: module,
    )
    backbone.set_probe(preprocess.collate(preprocess.prepare(raw[:2])))
    return backbone


def texts() -> tuple[Backbone, Items]:
    rng = np.random.default_rng(0)
    items = items_from([" ".join(rng.choice(WORDS, rng.integers(1, 12))) for _ in range(N)], "text")
    tokens = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
    tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate(tokens)})
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=8,
    )
    preprocess = TextPreprocess(tokenizer, max_length=16, digest="")
    module = BertModel(config, add_pooling_layer=False)
    return made(module, preprocess, list(items.inputs), "masked_mean"), items


def pictures() -> tuple[Backbone, Items]:
    rng = np.random.default_rng(0)
    items = items_from([rng.integers(0, 256, (9, 7, 3), dtype=np.uint8) for _ in range(N)], "image")
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3))
    preprocess = ImagePreprocess(image_spec({"size": [8, 8]}, where="test"))
    return made(module, preprocess, list(items.inputs), "output"), items


@pytest.mark.parametrize("kind", [texts, pictures])
def test_stored_features_are_those_of_each_item_alone(tmp_path: Path, kind: Any) -> None:
    backbone, items = kind()
    cache = Cache(tmp_path)
    prepared = prepare_inputs(cache, backbone.preprocess, items)
    features = pooled_features(cache, backbone, prepared, items=items)
    assert (features.shape, features.dtype) == ((N, backbone.width), np.float32)
    with torch.no_grad():
        alone = [backbone.features(backbone.preprocess.collate([one]))[0] for one in prepared]
    np.testing.assert_allclose(features, torch.stack(alone).numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", [texts, pictures])
@pytest.mark.parametrize("depth", [0, 1])
def test_from_the_stored_prefix_the_features_come_out(
    tmp_path: Path, kind: Any, depth: int
) -> None:
    backbone, items = kind()
    cache = Cache(tmp_path)
    prepared = prepare_inputs(cache, backbone.preprocess, items)
    features = pooled_features(cache, backbone, prepared, items=items)
    prefix = prefix_activations(cache, backbone, prepared, items=items, depth=depth)
    rows = np.array([40, 3, 69, 12])
    batch = backbone.preprocess.collate(prepared.gather(rows))
    with torch.no_grad():
        hidden = backbone.join_hidden(prefix.gather(rows))
        again = backbone.features_from(hidden, batch, depth=depth)
    np.testing.assert_allclose(again.numpy(), features[rows], atol=1e-5)


def test_texts_are_kept_without_padding(tmp_path: Path) -> None:
    backbone, items = texts()
    cache = Cache(tmp_path)
    prepared = prepare_inputs(cache, backbone.preprocess, items)
    prefix = prefix_activations(cache, backbone, prepared, items=items, depth=1)
    assert [len(prefix[i]) for i in range(N)] == [len(text.split()) + 2 for text in items.inputs]


def test_prepared_images_are_small(tmp_path: Path) -> None:
    backbone, items = pictures()
    prepared = prepare_inputs(Cache(tmp_path), backbone.preprocess, items)
    assert prepared[0].dtype == np.uint8
    assert prepared[0].shape == (3, 8, 8)


@pytest.mark.parametrize("kind", [texts, pictures])
def test_two_passes_give_identical_numbers(tmp_path: Path, kind: Any) -> None:
    found = []
    for name in ("one", "two"):
        backbone, items = kind()
        cache = Cache(tmp_path / name)
        prepared = prepare_inputs(cache, backbone.preprocess, items)
        found.append(pooled_features(cache, backbone, prepared, items=items))
    assert np.array_equal(*found)


def test_features_are_a_read_only_view_of_what_is_kept(tmp_path: Path) -> None:
    backbone, items = pictures()
    cache = Cache(tmp_path)
    prepared = prepare_inputs(cache, backbone.preprocess, items)
    features = pooled_features(cache, backbone, prepared, items=items)
    known = features.copy()
    assert not features.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        features[0] = 0.0
    cache.clear()
    assert np.array_equal(features, known)


def test_windows_do_not_mix_items_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, items = texts()
    prepared = prepare_inputs(Cache(tmp_path), backbone.preprocess, items)
    whole = pooled_features(Cache(tmp_path / "a"), backbone, prepared, items=items)
    monkeypatch.setattr(passes, "_WINDOW_TOKENS", 100)
    parts = pooled_features(Cache(tmp_path / "b"), backbone, prepared, items=items)
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_a_pass_evaluates_and_moves_nothing(tmp_path: Path) -> None:
    backbone, items = pictures()
    before = backbone.digest
    backbone.module.train()
    cache = Cache(tmp_path)
    prepared = prepare_inputs(cache, backbone.preprocess, items)
    pooled_features(cache, backbone, prepared, items=items)
    assert backbone.copy().digest == before
    assert not backbone.module.training


def test_another_backbone_or_other_items_are_not_read_from_the_cache(tmp_path: Path) -> None:
    backbone, items = pictures()
    cache = Cache(tmp_path)
    prepared = prepare_inputs(cache, backbone.preprocess, items)
    features = pooled_features(cache, backbone, prepared, items=items)
    other = backbone.copy()
    with torch.no_grad():
        next(other.module.parameters()).add_(1.0)
    assert not np.allclose(pooled_features(cache, other, prepared, items=items), features)
    fewer = items.subset([5, 6])
    some = pooled_features(
        cache, backbone, prepare_inputs(cache, backbone.preprocess, fewer), items=fewer
    )
    np.testing.assert_allclose(some, features[[5, 6]], atol=1e-5)


def test_code_of_ones_own_is_part_of_what_is_kept(tmp_path: Path) -> None:
    backbone, items = pictures()
    cache = Cache(tmp_path)
    prepared = prepare_inputs(cache, backbone.preprocess, items)
    pooled_features(cache, backbone, prepared, items=items)
    n_entries = len(list(tmp_path.iterdir()))
    edited = backbone.copy()
    edited.code = "another forward pass of the same tensors"
    assert edited.digest == backbone.digest
    assert edited.copy().identity == edited.identity != backbone.identity
    pooled_features(cache, edited, prepared, items=items)
    assert len(list(tmp_path.iterdir())) == n_entries + 1


@pytest.mark.parametrize("kind", [texts, pictures])
def test_features_of_each_precision_are_kept_apart_and_alike(tmp_path: Path, kind: Any) -> None:
    backbone, items = kind()
    cache = Cache(tmp_path)
    prepared = prepare_inputs(cache, backbone.preprocess, items)
    exact = pooled_features(cache, backbone, prepared, items=items)
    rough = pooled_features(cache, backbone, prepared, items=items, precision="bf16")
    assert rough.dtype == np.float32
    assert not np.array_equal(exact, rough)
    scale = np.abs(exact).max()
    np.testing.assert_allclose(rough, exact, atol=0.05 * scale)
    again = pooled_features(cache, backbone, prepared, items=items)
    assert np.array_equal(exact, again)
    prefix = prefix_activations(
        cache, backbone, prepared, items=items, depth=1, precision="bf16"
    ).gather([0, 1])
    assert all(one.dtype == np.float32 for one in prefix)


def test_no_items_have_no_features(tmp_path: Path) -> None:
    backbone, items = pictures()
    none = items.subset([])
    prepared = prepare_inputs(Cache(tmp_path), backbone.preprocess, none)
    assert pooled_features(Cache(tmp_path), backbone, prepared, items=none).shape == (0, 6)


def test_items_of_another_kind_are_refused(tmp_path: Path) -> None:
    backbone, _ = pictures()
    _, items = texts()
    with pytest.raises(BackboneError, match=r"takes inputs of kind 'image', .* of kind 'text'"):
        prepare_inputs(Cache(tmp_path), backbone.preprocess, items)
