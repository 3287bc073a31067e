"""The slanted triangle of ULMFiT."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from regraft.config.spec import Spec as Base


class Spec(Base):
    """A short climb and a long fall (Howard & Ruder, ACL 2018, eq. 3)."""

    kind: Literal["slanted_triangular"] = "slanted_triangular"
    peak: float = Field(1e-2, gt=0.0, le=10.0)
    decay_per_depth: float = Field(
        2.6, ge=1.0, le=100.0, description="rate of a block over the next lower"
    )
    head_factor: float = Field(
        1.0, gt=0.0, le=1000.0, description="rate of the head over the top block"
    )
    cut: float = Field(0.1, gt=0.0, lt=1.0, description="share of the steps that climb")
    ratio: float = Field(32.0, gt=1.0, description="peak over the lowest rate")


def factor(spec: Spec, *, step: int, total: int) -> float:
    """Return the rate of a step over the peak, in [1/ratio, 1].

    Example:
        >>> [round(0.01 * factor(Spec(), step=t, total=1000), 8) for t in (0, 50, 100, 550, 1000)]
        [0.0003125, 0.00515625, 0.01, 0.00515625, 0.0003125]
    """
    climb = max(1, math.floor(total * spec.cut))
    # The paper's cut · (1/cut_frac − 1); equal where total · cut_frac is whole, which few steps
    # are not: the fall would then end too high.
    fall = max(1, total - climb)
    share = step / climb if step < climb else 1.0 - (step - climb) / fall
    return (1.0 + max(share, 0.0) * (spec.ratio - 1.0)) / spec.ratio
