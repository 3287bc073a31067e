"""The precision of a forward pass: fp32, or bf16 by autocast on fp32 weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

Precision = Literal["fp32", "bf16"]


def autocast(precision: Precision, device: str) -> AbstractContextManager[Any]:
    """Return the context in which forward passes happen; `device` as torch names it."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device_type=torch.device(device).type, dtype=torch.bfloat16)


Weights = list[tuple[nn.Module, str, nn.Parameter]]
"""Parameters by module and name."""

_LOWERED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def lowered_weights(module: nn.Module) -> Weights:
    """Return bf16 copies of the weights that a pass by autocast computes with.

    Autocast keeps the casts of weights that train and makes those of frozen ones anew at every
    call, which in small batches takes a tenth of a pass. Only layers that are known to do nothing
    with their weights but one product are taken, so with the copies the numbers are the same.
    """
    return [
        (part, name, nn.Parameter(parameter.to(torch.bfloat16), requires_grad=False))
        for part in module.modules()
        if type(part) in _LOWERED
        for name, parameter in part.named_parameters(recurse=False)
        if parameter.dtype == torch.float32
    ]


@contextmanager
def with_weights(weights: Weights) -> Iterator[None]:
    """Let modules compute with other weights, and put back their own."""
    own = [(part, name, part._parameters[name]) for part, name, _ in weights]
    try:
        for part, name, parameter in weights:
            part._parameters[name] = parameter
        yield
    finally:
        for part, name, before in own:
            part._parameters[name] = before
