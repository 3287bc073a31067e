"""Which device and precision a study uses."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from regraft.engine.job import Precision


def choose_device() -> str:
    """Return ``cuda`` where torch sees a GPU, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_precision(asked: str, device: str) -> Precision:
    """Return the precision for what was asked (``auto``, ``fp32`` or ``bf16``).

    ``auto`` is bf16 on a GPU that computes it natively and fp32 elsewhere. (On a CPU a study
    measures whether bf16 pays: `regraft.search.costs.measure_precision`.)
    """
    if asked == "fp32":
        return "fp32"
    if asked == "bf16":
        return "bf16"
    native = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if native else "fp32"


def autocast(precision: Precision, device: str) -> AbstractContextManager[Any]:
    """Return the context in which a run's forward passes happen."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device_type=torch.device(device).type, dtype=torch.bfloat16)
