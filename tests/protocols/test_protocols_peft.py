"""LoRA in folders that plain peft writes and reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from regraft.config.registry import kind_spec
from regraft.errors import GraftError
from regraft.protocols.modules import lora

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.backbones.backbone import Backbone


# peft 0.21 asks transformers 5 for an attribute that it calls deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)


def randomise(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2, generator=generator)


def output(module: torch.nn.Module, backbone: Backbone) -> torch.Tensor:
    with torch.no_grad():
        hidden: torch.Tensor = module.eval()(**backbone.probe_batch())[0]
    return hidden


@pytest.mark.parametrize("family", ["bert", "convnext"])
def test_plain_peft_loads_what_we_write_with_equal_outputs(
    family: str, backbones: dict[str, Backbone], tmp_path: Path
) -> None:
    backbone = backbones[family].copy()
    spec = lora.Spec(rank=3, alpha=7.5, dropout=0.1)
    inserted = lora.insert(spec, backbone, from_depth=1, seed=0)
    randomise(backbone.module)
    named = dict(backbone.module.named_parameters())
    values = {name: named[name].detach() for name in inserted.parameter_names}
    config, tensors = lora.peft_files(spec, inserted.module_names, values, backbone.reference)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    base = AutoModel.from_pretrained(config["base_model_name_or_path"])
    theirs = PeftModel.from_pretrained(base, tmp_path)
    assert torch.equal(output(theirs, backbone), output(backbone.module, backbone))
    assert not torch.allclose(
        output(backbone.module, backbone), output(backbones[family].module, backbone), atol=1e-3
    )


@pytest.mark.parametrize("use_rslora", [False, True])
def test_we_load_what_plain_peft_writes_with_equal_outputs(
    use_rslora: bool, backbones: dict[str, Backbone], tmp_path: Path
) -> None:
    base = AutoModel.from_pretrained(backbones["bert"].reference)
    settings = LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=["query", "value", "dense"],
        exclude_modules=["pooler.dense"],  # backbones are loaded without it
        use_rslora=use_rslora,
    )
    theirs = get_peft_model(base, settings)
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    plain = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    found, layers, values = lora.read_peft_files(
        plain, load_file(tmp_path / "adapter_model.safetensors")
    )
    backbone = backbones["bert"].copy()
    spec = kind_spec("module", found, where="adapter")
    inserted = lora.insert(spec, backbone, from_depth=0, seed=0)
    assert set(inserted.parameter_names) == set(values)
    assert sorted(inserted.module_names) == layers
    assert len(layers) == 3 * 5
    backbone.module.load_state_dict(values, strict=False)
    torch.testing.assert_close(
        output(backbone.module, backbone), output(theirs, backbone), rtol=1e-6, atol=1e-6
    )


def test_a_hub_id_is_written_with_its_revision_apart() -> None:
    values = {"a.lora_A.default.weight": torch.zeros(2, 4)}
    hub, _ = lora.peft_files(lora.Spec(rank=2), ["a"], values, "someone/model@abc123")
    code, _ = lora.peft_files(lora.Spec(rank=2), ["a"], values, "python:nets.py:net@w.safetensors")
    assert (hub["base_model_name_or_path"], hub["revision"]) == ("someone/model", "abc123")
    assert code["base_model_name_or_path"] == "python:nets.py:net@w.safetensors"


PLAIN = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none"}
FACTOR = "base_model.model.a.b.lora_{}.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "LOHA"}, r"its peft_type is 'LOHA'; only LORA can be read"),
        ({"use_dora": True}, r"it uses use_dora, which is not computed here\. Merge the adapter"),
        ({"rank_pattern": {"a": 3}, "bias": "all"}, r"it uses rank_pattern, bias, which"),
        ({"modules_to_save": ["classifier"]}, r"it uses modules_to_save"),
    ],
)
def test_variants_that_are_not_computed_are_refused(change: dict[str, Any], message: str) -> None:
    tensors = {FACTOR.format(one): torch.zeros(2, 2) for one in "AB"}
    assert lora.read_peft_files(PLAIN, tensors)[1] == ["a.b"]
    with pytest.raises(GraftError, match=message):
        lora.read_peft_files({**PLAIN, **change}, tensors)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["base_model.model.classifier.weight"], "'base_model.model.classifier.weight' is not a"),
        ([FACTOR.format("A")], "of 'a.b' there is only one of the two factors"),
    ],
)
def test_tensors_that_are_not_lora_factors_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(GraftError, match=message):
        lora.read_peft_files(PLAIN, {name: torch.zeros(2, 2) for name in names})
