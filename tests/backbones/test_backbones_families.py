from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoImageProcessor, ViTConfig, ViTImageProcessorPil, ViTModel

from regraft.backbones.loading import load_backbone
from small_backbones import save_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

FAMILIES = ("bert", "vit", "dinov2", "resnet", "convnext", "plain")

loaded = cache(load_backbone)


def copied(reference: str, folder: Path) -> Path:
    return Path(copytree(reference, folder / "copy"))


def write(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def images(*sizes: tuple[int, int]) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.mark.parametrize(
    ("family", "blocks", "pooling", "width"),
    [
        ("bert", [f"encoder.layer.{i}" for i in range(3)], "masked_mean", 16),
        ("vit", [f"layers.{i}" for i in range(3)], "first_token", 16),
        ("dinov2", [f"encoder.layer.{i}" for i in range(3)], "first_token", 16),
        ("resnet", [f"encoder.stages.{i}" for i in range(3)], "pooler", 16),
        ("convnext", [f"encoder.stages.{i}" for i in range(3)], "pooler", 16),
        ("plain", [f"parts.{i}" for i in range(2, 6)], "output", 10),
    ],
)
def test_blocks_pooling_and_width_are_found(
    references: Mapping[str, str], family: str, blocks: list[str], pooling: str, width: int
) -> None:
    backbone = loaded(references[family])
    assert list(backbone.blocks) == blocks
    assert (backbone.pooling, backbone.width, backbone.can_cut) == (pooling, width, True)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_loads_frozen_evaluating_and_in_full_precision(
    references: Mapping[str, str], family: str
) -> None:
    module = loaded(references[family]).module
    assert not any(part.training for part in module.modules())
    assert not any(p.requires_grad for p in module.parameters())
    assert {p.dtype for p in module.parameters()} == {torch.float32}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_lies_on_the_path_to_the_features(
    references: Mapping[str, str], family: str
) -> None:
    backbone = loaded(references[family]).copy()
    backbone.module.requires_grad_(requires_grad=True)
    backbone.features(backbone.probe_batch()).square().sum().backward()
    off = [n for n, p in backbone.module.named_parameters() if p.grad is None]
    assert [n for n in off if not n.endswith("mask_token")] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_and_a_random_twin_are_independent(
    references: Mapping[str, str], family: str
) -> None:
    backbone = loaded(references[family])
    before, state = backbone.digest, torch.get_rng_state()
    same, twin, again = backbone.copy(), backbone.randomised(1), backbone.randomised(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert same.digest == before
    assert twin.digest == again.digest != backbone.randomised(2).digest
    assert twin.digest != before
    assert twin.blocks == backbone.blocks
    with torch.no_grad():
        for parameter in same.module.parameters():
            parameter.add_(1.0)
    assert load_backbone(references[family]).digest == before == backbone.copy().digest
    assert twin.features(backbone.probe_batch()).shape == (2, backbone.width)


def test_a_random_twin_is_initialised_as_its_family_is(references: Mapping[str, str]) -> None:
    twin = loaded(references["bert"]).randomised(0).module
    weights = twin.get_submodule("encoder.layer.0.intermediate.dense").state_dict()
    assert weights["weight"].std().item() == pytest.approx(0.02, rel=0.2)
    assert not weights["bias"].any()


@pytest.mark.parametrize("family", ["bert", "vit", "dinov2"])
def test_roles_are_the_same_whatever_the_family_calls_them(
    references: Mapping[str, str], family: str
) -> None:
    backbone = loaded(references[family])
    in_blocks = [role for name, role in backbone.roles.items() if 0 <= backbone.depth_of(name) < 3]
    assert Counter(in_blocks) == {
        "attention_in": 9,
        "attention_out": 3,
        "feed_forward_in": 3,
        "feed_forward_out": 3,
        "normalisation": 6,
    }


def test_convolutional_families_have_convolutions_for_roles(references: Mapping[str, str]) -> None:
    for family in ("resnet", "convnext", "plain"):
        roles = set(loaded(references[family]).roles.values())
        assert "convolution" in roles
        assert not roles & {"attention_in", "attention_out"}


def test_texts_are_averaged_over_their_own_tokens(references: Mapping[str, str]) -> None:
    backbone = loaded(references["bert"])
    prepared = backbone.preprocess.prepare(["one two three", "bad"])
    assert [len(ids) for ids in prepared] == [5, 3]
    batch = backbone.preprocess.collate(prepared)
    hidden = backbone.module(**batch).last_hidden_state
    by_hand = torch.stack([hidden[0].mean(0), hidden[1, :3].mean(0)])
    assert torch.allclose(backbone.features(batch), by_hand, atol=1e-6)


def test_images_are_pooled_as_their_family_does(references: Mapping[str, str]) -> None:
    for family in ("vit", "dinov2"):
        backbone = loaded(references[family])
        out = backbone.module(**backbone.probe_batch())
        assert torch.equal(backbone.features(backbone.probe_batch()), out.last_hidden_state[:, 0])
    resnet = loaded(references["resnet"])
    maps = resnet.module(**resnet.probe_batch()).last_hidden_state
    assert torch.allclose(resnet.features(resnet.probe_batch()), maps.mean((2, 3)), atol=1e-6)
    convnext = loaded(references["convnext"])
    maps = convnext.module(**convnext.probe_batch()).last_hidden_state
    normed = convnext.module.get_submodule("layernorm")(maps.mean((2, 3)))
    assert torch.allclose(convnext.features(convnext.probe_batch()), normed, atol=1e-6)


@pytest.mark.parametrize("family", ["vit", "dinov2", "resnet", "convnext"])
def test_preprocessing_equals_the_familys_own(references: Mapping[str, str], family: str) -> None:
    preprocess = loaded(references[family]).preprocess
    raw = images((40, 40), (50, 23), (9, 31))
    prepared = preprocess.prepare(raw)
    assert {one.dtype for one in prepared} == {np.dtype(np.uint8)}
    own = AutoImageProcessor.from_pretrained(references[family], backend="pil")
    wanted = torch.from_numpy(np.stack(own(raw)["pixel_values"])).float()
    assert torch.allclose(preprocess.collate(prepared)["pixel_values"], wanted, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_preprocessing_spec_is_plain_json(references: Mapping[str, str], family: str) -> None:
    spec = loaded(references[family]).preprocess.spec
    assert json.loads(json.dumps(spec)) == spec


def test_sentence_transformers_settings_are_followed(
    references: Mapping[str, str], tmp_path: Path
) -> None:
    folder = copied(references["bert"], tmp_path)
    write(folder / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 6, "do_lower_case": True})
    backbone = load_backbone(str(folder))
    assert backbone.pooling == "first_token"
    assert "texts are cut at 6 tokens" in backbone.notes
    assert [len(ids) for ids in backbone.preprocess.prepare(["one two three four five six"])] == [6]
    low, high = backbone.preprocess.prepare(["one two", "ONE TWO"])
    assert low.tolist() == high.tolist()


def test_a_text_without_tokens_still_has_features(references: Mapping[str, str]) -> None:
    backbone = loaded(references["bert"])
    batch = backbone.preprocess.collate(backbone.preprocess.prepare(["", "good"]))
    assert backbone.features(batch).isfinite().all()


def test_a_checkpoint_without_pooler_has_one_digest(
    references: Mapping[str, str], tmp_path: Path
) -> None:
    folder = copied(references["bert"], tmp_path)
    state = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("pooler")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_backbone(str(folder)).digest == loaded(references["bert"]).digest


def test_the_digest_is_of_every_tensor(references: Mapping[str, str]) -> None:
    backbone = loaded(references["plain"])
    other = backbone.copy()
    other.module.get_submodule("parts.1").get_buffer("running_mean").add_(1e-6)
    assert other.digest != backbone.digest


def test_code_that_was_edited_is_another_backbone(tmp_path: Path) -> None:
    reference = save_plain(tmp_path / "plain")
    file = tmp_path / "plain" / "net.py"
    before = load_backbone(reference)
    file.write_text(file.read_text().replace("torch.relu(", "torch.tanh("), encoding="utf-8")
    after = load_backbone(reference)
    assert before.digest == after.digest
    assert before.identity != after.identity
    assert before.copy().identity == before.identity


def test_the_table_of_token_ids_is_known(references: Mapping[str, str]) -> None:
    backbone = loaded(references["bert"])
    assert backbone.token_table == "embeddings.word_embeddings"
    assert backbone.copy().token_table == backbone.token_table
    assert loaded(references["vit"]).token_table is None


def save_vit(folder: Path, *, channels: int = 3, processor: dict[str, Any] | None = None) -> str:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=16,
        patch_size=4,
        num_channels=channels,
    )
    ViTModel(config).save_pretrained(folder)
    if processor is not None:
        ViTImageProcessorPil(**processor).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("channels", "processor", "note"),
    [
        (3, {"size": {"height": 24, "width": 24}}, "images are resized to 16 × 16"),
        (3, {"size": {"shortest_edge": 16}}, "keeps the aspect: images are resized to 16 × 16"),
        (3, None, "no preprocessor_config.json: 16 × 16, ImageNet normalisation"),
        (1, {"size": {"height": 16, "width": 16}}, "images are turned grey"),
        (5, {"size": {"height": 16, "width": 16}}, "takes 5 channels: red, green, blue repeat"),
    ],
)
def test_other_sizes_and_channels_are_adapted_and_said(
    tmp_path: Path, channels: int, processor: dict[str, Any] | None, note: str
) -> None:
    backbone = load_backbone(save_vit(tmp_path, channels=channels, processor=processor))
    assert any(note in one for one in backbone.notes)
    prepared = backbone.preprocess.prepare(images((40, 21), (16, 16)))
    assert {one.shape for one in prepared} == {(channels, 16, 16)}
    assert backbone.features(backbone.preprocess.collate(prepared)).shape == (2, 8)


def test_block_widths_are_those_of_the_outputs(references: Mapping[str, str]) -> None:
    assert [loaded(references["resnet"]).block_width(d) for d in range(3)] == [8, 12, 16]
    assert loaded(references["bert"]).block_width(0) == 16


def test_loading_writes_nothing_to_the_terminal(
    references: Mapping[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    load_backbone(references["vit"])
    assert capfd.readouterr() == ("", "")


def test_a_modules_blocks_may_be_submodules_named_blocks(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Own(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.stem = nn.Conv2d(3, 4, 8, stride=8)\n"
        "        self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)])\n"
        "    def forward(self, x):\n"
        "        x = self.stem(x)\n"
        "        for block in self.blocks:\n"
        "            x = block(x)\n"
        "        return x\n",
        encoding="utf-8",
    )
    torch.manual_seed(0)
    state = {
        "stem.weight": torch.randn(4, 3, 8, 8),
        "stem.bias": torch.randn(4),
        **{f"blocks.{i}.weight": torch.randn(4, 4, 1, 1) for i in range(2)},
        **{f"blocks.{i}.bias": torch.randn(4) for i in range(2)},
        "head.weight": torch.randn(2, 4),
    }
    torch.save(state, tmp_path / "own.pt")
    backbone = load_backbone(f"python:{tmp_path}/own.py:Own@{tmp_path}/own.pt")
    assert backbone.blocks == ("blocks.0", "blocks.1")
    assert backbone.can_cut
    assert isinstance(backbone.module.get_submodule("blocks"), nn.ModuleList)
    said = " · ".join(backbone.notes)
    assert "no 'preprocess' declared: 224 × 224, ImageNet normalisation" in said
    assert "no 'blocks' declared: found blocks.0 … blocks.1 (2)" in said
    assert "1 tensors of the weights file are not in the module: head.weight" in said
