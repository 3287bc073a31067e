"""A learning rate that stays."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regraft.config.spec import Spec as Base


class Spec(Base):
    """The rate of the head and of the topmost block; lower ones get less by ``decay_per_depth``."""

    kind: Literal["constant"] = "constant"
    peak: float = Field(1e-3, gt=0.0, le=10.0)
    decay_per_depth: float = Field(
        1.0, ge=1.0, le=100.0, description="rate of a block over the next lower"
    )
    head_factor: float = Field(
        1.0, gt=0.0, le=1000.0, description="rate of the head over the top block"
    )


def factor(spec: Spec, *, step: int, total: int) -> float:
    """Return 1."""
    del spec, step, total
    return 1.0
