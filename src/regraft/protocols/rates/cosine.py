"""A learning rate that warms up, then falls along a half cosine."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from regraft.config.spec import Spec as Base


class Spec(Base):
    """Linear warm-up, then a half cosine to zero (Loshchilov & Hutter, ICLR 2017)."""

    kind: Literal["cosine"] = "cosine"
    peak: float = Field(1e-3, gt=0.0, le=10.0)
    decay_per_depth: float = Field(
        1.0, ge=1.0, le=100.0, description="rate of a block over the next lower"
    )
    head_factor: float = Field(
        1.0, gt=0.0, le=1000.0, description="rate of the head over the top block"
    )
    warmup: float = Field(0.1, ge=0.0, lt=1.0, description="share of the steps")


def factor(spec: Spec, *, step: int, total: int) -> float:
    """Return the rate of a step (0 is the first of `total`) over the peak, in [0, 1]."""
    warm = spec.warmup * total
    if step < warm:
        return (step + 1) / (warm + 1)
    done = (step - warm) / max(total - warm, 1.0)
    return 0.5 * (1.0 + math.cos(math.pi * done))
