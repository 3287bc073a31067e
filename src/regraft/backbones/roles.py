"""Roles: what a layer is for, whatever its family calls it."""

from __future__ import annotations

import re
from typing import Literal

from torch import nn

Role = Literal[
    "attention_in",
    "attention_out",
    "feed_forward_in",
    "feed_forward_out",
    "normalisation",
    "embedding",
    "convolution",
]

_ATTENTION_IN = re.compile(
    r"(^|\.)(query|key|value|[qkv]_proj|q_lin|k_lin|v_lin|qkv|in_proj|[qkv])$"
)
_ATTENTION_OUT = re.compile(
    r"(^|\.)((attention|attn|self_attn|attention\.attention)\.(output\.dense|out_proj|o_proj|out_lin|proj|dense)|o_proj|out_proj|out_lin)$"
)
_FEED_FORWARD_IN = re.compile(
    r"(^|\.)(intermediate\.dense|fc1|lin1|wi|wi_\d|up_proj|gate_proj|weights_in|c_fc|pwconv1|Wi)$"
)
_FEED_FORWARD_OUT = re.compile(
    r"(^|\.)(output\.dense|fc2|lin2|wo|down_proj|weights_out|c_proj|pwconv2|Wo)$"
)
_NORMALISATION = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.RMSNorm,
)
_CONVOLUTION = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def find_roles(module: nn.Module) -> dict[str, Role]:
    """Return the role of every leaf layer that has one, by its dotted name."""
    roles: dict[str, Role] = {}
    fused = tuple(
        f"{name}."
        for name, part in module.named_modules()
        if isinstance(part, nn.MultiheadAttention)
    )
    for name, part in module.named_modules():
        role = role_of(name, part)
        # torch's fused attention reads its projections' weights and never calls them
        if role is not None and not (fused and name.startswith(fused)):
            roles[name] = role
    return roles


def role_of(name: str, part: nn.Module) -> Role | None:
    """Return the role of one module, or None; unknown linear layers are judged by shape."""
    role: Role | None = None
    if isinstance(part, _NORMALISATION) or type(part).__name__.endswith(("LayerNorm", "RMSNorm")):
        role = "normalisation"
    elif isinstance(part, nn.Embedding):
        role = "embedding"
    elif isinstance(part, _CONVOLUTION):
        role = "convolution"
    elif isinstance(part, nn.Linear):
        wide = part.out_features >= part.in_features
        role = _linear_role(name) or ("feed_forward_in" if wide else "feed_forward_out")
    return role


def _linear_role(name: str) -> Role | None:
    patterns: tuple[tuple[re.Pattern[str], Role], ...] = (
        (_ATTENTION_IN, "attention_in"),
        (_ATTENTION_OUT, "attention_out"),
        (_FEED_FORWARD_IN, "feed_forward_in"),
        (_FEED_FORWARD_OUT, "feed_forward_out"),
    )
    return next((role for pattern, role in patterns if pattern.search(name)), None)
