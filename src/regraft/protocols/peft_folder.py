"""LoRA as peft writes it down: ``adapter_config.json`` and ``adapter_model.safetensors``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import LoraConfig
from peft.tuners.lora.layer import Conv1d, Conv2d, Conv3d, Linear

from regraft.errors import GraftError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from torch import nn

ADAPTER = "default"
"""Peft's name of the only adapter, part of the parameters' names."""

_PREFIX = "base_model.model."
_TENSOR = re.compile(r"base_model\.model\.(.+)\.(lora_[AB])\.weight")
_VARIANTS = (
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "monteclora_config",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
)
"""Keys of peft's configuration that change what is computed; we compute none of them."""


@dataclass(frozen=True, slots=True, eq=False)
class LoraFolder:
    """What a folder of peft holds.

    Attributes:
        rank: r; alpha: the update is (alpha / rank) · B A.
        layers: Dotted names of the layers, sorted.
        parameters: Values by the names that peft gives them within the model.
    """

    rank: int
    alpha: float
    layers: tuple[str, ...]
    parameters: dict[str, torch.Tensor]


def lora_config(*, rank: int, alpha: float, dropout: float, targets: Sequence[str]) -> LoraConfig:
    """Return peft's configuration for exactly these layers.

    They are one regular expression: of a list peft also takes every layer whose name ends in one.
    """
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft computes with any number
        lora_dropout=dropout,
        target_modules="|".join(re.escape(name) for name in sorted(targets)),
        bias="none",
    )


def write_lora(
    config: LoraConfig, parameters: Mapping[str, torch.Tensor], base: str
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the configuration and the tensors of a folder that plain peft loads.

    Args:
        config: As `lora_config` gives it.
        parameters: Values by the names that peft gives them within the model.
        base: Folder of the base model, or its hub id with a revision after ``@``.
    """
    is_hub_id = not base.startswith("python:") and not Path(base).exists()
    name, _, revision = base.partition("@") if is_hub_id else (base, "", "")
    settings = {
        **_settings(config),
        "base_model_name_or_path": name,
        "revision": revision or None,
        "peft_type": "LORA",
        "inference_mode": True,
    }
    plain = {key: value for key, value in settings.items() if _is_plain(value)}
    tensors = {
        _PREFIX + name.replace(f".{ADAPTER}.", "."): value for name, value in parameters.items()
    }
    return plain, tensors


def read_lora(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> LoraFolder:
    """Return what a folder of peft holds.

    Raises:
        GraftError: It is not LoRA, or a variant that is not computed here, or incomplete.
    """
    if config.get("peft_type") != "LORA":
        raise GraftError(
            f"its peft_type is {config.get('peft_type')!r}; only LORA can be read.",
            where="adapter_config.json",
        )
    variants = [key for key in _VARIANTS if config.get(key)]
    variants += ["bias"] if config.get("bias", "none") != "none" else []
    if variants:
        raise GraftError(
            f"it uses {', '.join(variants)}, which is not computed here. Merge the adapter into "
            "its base model with peft and use the result as a backbone.",
            where="adapter_config.json",
        )
    rank, alpha = int(config["r"]), float(config["lora_alpha"])
    if config.get("use_rslora"):  # scales by alpha / √r (Kalajdzievski, 2023)
        alpha *= rank**0.5
    return LoraFolder(rank, alpha, *_by_layer(tensors))


def _by_layer(
    tensors: Mapping[str, torch.Tensor],
) -> tuple[tuple[str, ...], dict[str, torch.Tensor]]:
    parameters: dict[str, torch.Tensor] = {}
    factors: dict[str, int] = {}
    for name, value in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None:
            raise GraftError(
                f"{name!r} is not a LoRA factor of a linear or convolutional layer; such adapters "
                "cannot be read.",
                where="adapter_model.safetensors",
            )
        layer, factor = match.groups()
        parameters[f"{layer}.{factor}.{ADAPTER}.weight"] = value
        factors[layer] = factors.get(layer, 0) + 1
    if lone := sorted(layer for layer, n in factors.items() if n != 2):
        raise GraftError(
            f"of {lone[0]!r} there is only one of the two factors. Get the folder again.",
            where="adapter_model.safetensors",
        )
    return tuple(sorted(factors)), parameters


def _settings(config: LoraConfig) -> dict[str, Any]:
    settings: dict[str, Any] = config.to_dict()  # type: ignore[no-untyped-call]
    return settings


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def lora_deltas(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return what LoRA adds to each weight, (alpha / rank) · B A, by the weight's own name."""
    return {
        f"{name}.weight": part.get_delta_weight(ADAPTER).detach().cpu()
        for name, part in module.named_modules()
        if isinstance(part, Linear | Conv1d | Conv2d | Conv3d)
    }
