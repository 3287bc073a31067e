"""LoRA, by peft: a low-rank update beside chosen linear or convolutional layers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import torch
from peft import LoraConfig, inject_adapter_in_model
from pydantic import Field
from torch import nn

from regraft.config.spec import Spec as Base
from regraft.protocols.insertion import Inserted, depths_hit, refuse_nothing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.backbones.backbone import Backbone

_ADAPTER = "default"
_PEFT_PREFIX = "base_model.model."
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Spec(Base):
    """W + (alpha / rank) · B A with B = 0 at the start (Hu et al., ICLR 2022)."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(8, ge=1, le=1024)
    alpha: float = Field(16.0, gt=0.0)
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    on: str | list[str] = Field(
        "auto", description="roles; auto is attention, or convolutions where there is none"
    )


def insert(spec: Spec, backbone: Backbone, *, from_depth: int, seed: int) -> Inserted:
    """Put LoRA layers into the blocks from `from_depth` on, in place; they change nothing yet.

    Raises:
        ConfigError: No layer of the roles named lies in these blocks.
    """
    roles = _roles(spec, backbone)
    targets = [
        name
        for name, role in backbone.roles.items()
        if role in roles
        and from_depth <= backbone.depth_of(name) < backbone.n_blocks
        and _takes_lora(backbone.module.get_submodule(name))
    ]
    refuse_nothing("lora", targets, " or ".join(sorted(roles)), backbone)
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        inject_adapter_in_model(_config(spec, targets), backbone.module, adapter_name=_ADAPTER)
    finally:
        torch.set_rng_state(state)
    prefixes = tuple(f"{name}.lora_" for name in targets)
    return Inserted(
        kind="lora",
        module_names=tuple(targets),
        parameter_names=tuple(
            name for name, _ in backbone.module.named_parameters() if name.startswith(prefixes)
        ),
        depths_hit=depths_hit(backbone, targets),
        depths_named=tuple(range(from_depth, backbone.n_blocks)),
    )


def peft_files(
    spec: Spec, targets: Sequence[str], parameters: Mapping[str, torch.Tensor], base: str
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the configuration and the tensors of a folder that plain peft loads.

    Args:
        spec: The module's settings.
        targets: Names of the layers that LoRA was put on.
        parameters: Values by parameter name, as `Inserted.parameter_names` gives them.
        base: Name or folder of the base model.
    """
    config = _config(spec, targets).to_dict()
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    plain |= {"base_model_name_or_path": base, "peft_type": "LORA", "inference_mode": True}
    plain = {k: v for k, v in plain.items() if _is_plain(v)}
    tensors = {
        _PEFT_PREFIX + name.replace(f".{_ADAPTER}.", "."): value
        for name, value in parameters.items()
    }
    return plain, tensors


def read_peft_files(
    config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> tuple[dict[str, Any], list[str], dict[str, torch.Tensor]]:
    """Return (settings of this kind, target layers, values by our names) of a peft LoRA folder."""
    spec = {
        "kind": "lora",
        "rank": int(config["r"]),
        "alpha": float(config["lora_alpha"]),
        "dropout": 0.0,
        "on": "auto",
    }
    ours = {}
    for name, value in tensors.items():
        stem, factor, _ = name.removeprefix(_PEFT_PREFIX).rsplit(".", 2)
        ours[f"{stem}.{factor}.{_ADAPTER}.weight"] = value
    targets = sorted({name.partition(".lora_")[0] for name in ours})
    return spec, targets, ours


def _roles(spec: Spec, backbone: Backbone) -> set[str]:
    if isinstance(spec.on, list):
        return set(spec.on)
    if spec.on != "auto":
        return {spec.on}
    attention = {"attention_in", "attention_out"}
    return attention if attention & set(backbone.roles.values()) else {"convolution"}


def _takes_lora(module: nn.Module) -> bool:
    grouped = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.groups > 1
    return isinstance(module, _LAYERS) and not grouped


def _config(spec: Spec, targets: Sequence[str]) -> LoraConfig:
    return LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=sorted(targets),
        bias="none",
    )


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True
