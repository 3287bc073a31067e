"""Bottleneck adapters: a small residual network after each block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import nn

from regraft.config.spec import Spec as Base
from regraft.errors import ConfigError
from regraft.protocols.insertion import Inserted, depths_hit, refuse

if TYPE_CHECKING:
    from regraft.backbones.backbone import Backbone

_NAME = "regraft_bottleneck"
_LEAST_INNER = 8


class Spec(Base):
    """x + up(gelu(down(x))) after each block, up = 0 at the start (Pfeiffer et al., EACL 2021)."""

    kind: Literal["bottleneck"] = "bottleneck"
    reduction: float = Field(
        16.0,
        ge=1.0,
        description="width of the block over the bottleneck's, which has 8 at least",
    )


class Bottleneck(nn.Module):
    """A residual bottleneck over the last axis, or over the channels of a map.

    GELU where the paper has ReLU: of few ReLUs all may be silent for every input.
    """

    def __init__(self, width: int, inner: int, generator: torch.Generator) -> None:
        super().__init__()
        # torch's own initialisation would draw from the global generator
        self.down = nn.utils.skip_init(nn.Linear, width, inner)
        self.up = nn.utils.skip_init(nn.Linear, inner, width)
        with torch.no_grad():
            nn.init.normal_(self.down.weight, std=width**-0.5, generator=generator)
            nn.init.zeros_(self.down.bias)
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the hidden state as it is: a Sequential calls all that is registered on it."""
        return hidden

    def adapt(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the adapted hidden state, of the same shape: (B, T, D), (B, D) or (B, C, H, W)."""
        rows = hidden.movedim(1, -1) if hidden.ndim == 4 else hidden  # (B, H, W, C)
        rows = rows.contiguous()  # else torch's kernel, and the last digits, hang on requires_grad
        update = self.up(nn.functional.gelu(self.down(rows)))
        if hidden.ndim == 4:
            update = update.movedim(-1, 1)  # (B, C, H, W)
        return torch.add(hidden, update)


def apply_after(block: nn.Module, _: Any, output: Any) -> Any:
    """Forward hook of a block: pass its output through the adapter registered on it."""
    adapter = block.get_submodule(_NAME)
    if not isinstance(adapter, Bottleneck):
        raise AssertionError("the name is ours alone")
    if isinstance(output, tuple):
        return (adapter.adapt(output[0]), *output[1:])
    return adapter.adapt(output)


def insert(spec: Spec, backbone: Backbone, *, from_depth: int, seed: int) -> Inserted:
    """Put an adapter after each block from `from_depth` on, in place; they change nothing yet.

    Raises:
        ConfigError: No block's output is a plain hidden state, or there are adapters already.
    """
    generator = torch.Generator().manual_seed(seed)
    names, parameters = [], []
    for depth in range(from_depth, backbone.n_blocks):
        width = backbone.block_width(depth)
        if width is None:
            continue
        block = backbone.module.get_submodule(backbone.blocks[depth])
        if _NAME in dict(block.named_children()):
            raise ConfigError(
                f"block {depth} has a bottleneck already. List the module once.",
                where="module 'bottleneck'",
            )
        inner = min(width, max(_LEAST_INNER, round(width / spec.reduction)))
        adapter = Bottleneck(width, inner, generator).eval()
        block.add_module(_NAME, adapter)
        block.register_forward_hook(apply_after)
        name = f"{backbone.blocks[depth]}.{_NAME}"
        names.append(name)
        parameters += [f"{name}.{parameter}" for parameter, _ in adapter.named_parameters()]
    if not names:
        refuse("bottleneck", "block whose output is one plain hidden state", backbone)
    return Inserted(
        kind="bottleneck",
        module_names=tuple(names),
        parameter_names=tuple(parameters),
        depths_hit=depths_hit(backbone, names),
        depths_named=tuple(range(from_depth, backbone.n_blocks)),
    )
