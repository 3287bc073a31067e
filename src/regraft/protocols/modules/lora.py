"""LoRA, by peft: a low-rank update beside chosen linear or convolutional layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from peft import inject_adapter_in_model
from pydantic import Field
from torch import nn

from regraft.config.spec import Spec as Base
from regraft.protocols.insertion import Inserted, Roles, depths_hit, layers_named, layers_with
from regraft.protocols.peft_folder import ADAPTER, lora_config, read_lora, write_lora

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.backbones.backbone import Backbone

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Spec(Base):
    """W + (alpha / rank) · B A with B = 0 at the start (Hu et al., ICLR 2022)."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(8, ge=1, le=1024)
    alpha: float = Field(16.0, gt=0.0)
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    on: Roles = Field(
        "auto",
        description="roles; auto is attention, or where there is none convolutions and linear "
        "layers",
    )
    layers: tuple[str, ...] = Field(
        (), description="dotted names of layers, at any depth, in place of roles"
    )


def insert(spec: Spec, backbone: Backbone, *, from_depth: int, seed: int) -> Inserted:
    """Put LoRA layers into the blocks from `from_depth` on, in place; they change nothing yet.

    Raises:
        ConfigError: A role has no layer in these blocks, or a layer named is not one.
    """
    module = backbone.module
    if spec.layers:
        targets = layers_named(spec.layers, backbone, kind="lora", fits=_takes_lora)
        named = depths_hit(backbone, targets)
    else:
        targets = layers_with(
            spec.on, backbone, kind="lora", from_depth=from_depth, fits=_takes_lora
        )
        named = tuple(range(from_depth, backbone.n_blocks))
    config = lora_config(rank=spec.rank, alpha=spec.alpha, dropout=spec.dropout, targets=targets)
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        inject_adapter_in_model(config, module, adapter_name=ADAPTER)
    finally:
        torch.set_rng_state(state)
    del module.peft_config  # peft's mark on the model: a second insertion would warn of it
    for name in targets:
        module.get_submodule(name).eval()
    _forbid_fused_layers(module, targets)
    prefixes = tuple(f"{name}.lora_" for name in targets)
    return Inserted(
        kind="lora",
        module_names=targets,
        parameter_names=tuple(n for n, _ in module.named_parameters() if n.startswith(prefixes)),
        depths_hit=depths_hit(backbone, targets),
        depths_named=named,
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
    config = lora_config(rank=spec.rank, alpha=spec.alpha, dropout=spec.dropout, targets=targets)
    return write_lora(config, parameters, base)


def read_peft_files(
    config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> tuple[dict[str, Any], list[str], dict[str, torch.Tensor]]:
    """Return (settings of this kind, target layers, values by our names) of a peft LoRA folder.

    Raises:
        GraftError: It is not LoRA, or uses a variant that this kind does not compute.
    """
    folder = read_lora(config, tensors)
    spec = Spec(rank=folder.rank, alpha=folder.alpha, layers=folder.layers)
    return spec.model_dump(mode="json"), list(folder.layers), folder.parameters


def _takes_lora(part: nn.Module) -> bool:
    """Whether a layer is a plain linear or ungrouped convolutional one that carries nothing yet."""
    plain = isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    grouped = isinstance(part, _CONVOLUTIONS) and part.groups > 1
    return plain and not grouped and not any(True for _ in part.children())


def _forbid_fused_layers(module: nn.Module, targets: Sequence[str]) -> None:
    """Keep torch's own transformer layers from computing, in evaluation, with the bare weights.

    Their fused path reads ``linear1.weight`` and never calls ``linear1``; a hook switches it off.
    """
    for name, part in module.named_modules():
        inside = any(target.startswith(f"{name}.") for target in targets)
        if isinstance(part, nn.TransformerEncoderLayer) and inside:
            part.register_forward_hook(unfused)


def unfused(_: nn.Module, __: Any, output: Any) -> Any:
    """Return the output as it is; that this hook is there is what counts."""
    return output
