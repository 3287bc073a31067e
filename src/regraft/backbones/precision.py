"""The precision of a forward pass: fp32, or bf16 by autocast on fp32 weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

Precision = Literal["fp32", "bf16"]


def autocast(precision: Precision, device: str) -> AbstractContextManager[Any]:
    """Return the context in which forward passes happen; `device` as torch names it."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device_type=torch.device(device).type, dtype=torch.bfloat16)
