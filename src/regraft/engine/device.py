"""Which device and precision a study uses."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from regraft.backbones.precision import autocast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.backbones.precision import Precision


def choose_device() -> str:
    """Return ``cuda`` where torch sees a GPU, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_precision(asked: str, device: str) -> Precision:
    """Return the precision for what was asked (``auto``, ``fp32`` or ``bf16``).

    ``auto`` is bf16 on a GPU that computes it natively and fp32 elsewhere. (A study measures
    whether bf16 pays and keeps its metric: `regraft.search.precision.measure_precision`.)
    """
    if asked == "fp32":
        return "fp32"
    if asked == "bf16":
        return "bf16"
    native = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if native else "fp32"


_SHORT = 256


def training_pass(
    precision: Precision, device: str, batch: Mapping[str, torch.Tensor]
) -> ExitStack:
    """Return the context of a forward pass that a backward pass follows.

    On a CPU in bf16 the backward pass of fused attention takes three times as long as that of the
    plain one over short texts, so these take the plain one.
    """
    stack = ExitStack()
    stack.enter_context(autocast(precision, device))
    tokens = batch.get("input_ids")
    if precision == "bf16" and device == "cpu" and tokens is not None and tokens.shape[1] <= _SHORT:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
    return stack


def stacked_pass(precision: Precision, device: str) -> ExitStack:
    """Return the context of a forward pass of several models at once (`torch.func.vmap`).

    Attention is the plain one: fused kernels have no batching rule on every device.
    """
    stack = ExitStack()
    stack.enter_context(autocast(precision, device))
    stack.enter_context(sdpa_kernel(SDPBackend.MATH))
    return stack
