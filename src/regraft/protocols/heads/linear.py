"""A linear head, started from the probe, the centroids, zero, or at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import nn

from regraft.config.spec import Spec as Base
from regraft.errors import ShapeError

if TYPE_CHECKING:
    import numpy as np


class Spec(Base):
    """``start: probe`` makes LP-FT (Kumar et al., ICLR 2022)."""

    kind: Literal["linear"] = "linear"
    start: Literal["probe", "centroid", "zero", "random"] = Field(
        "probe", description="where the weights start: solved on frozen features, or not"
    )


def build(
    spec: Spec,
    *,
    width: int,
    n_classes: int,
    seed: int,
    solved: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None,
) -> nn.Linear:
    """Return the head.

    Args:
        spec: Its settings.
        width: Features in.
        n_classes: Logits out.
        seed: Seed of a random start.
        solved: Weight (C, width) and bias (C,) of the head that ``probe`` and ``centroid`` start
            from; None starts them as ``random`` does.

    Raises:
        ShapeError: The solved head has another shape.
    """
    if solved is not None and solved[0].shape != (n_classes, width):
        raise ShapeError(f"the solved head is {solved[0].shape}, not {(n_classes, width)}.")
    # torch's own initialisation would draw from the global generator
    head: nn.Linear = nn.utils.skip_init(nn.Linear, width, n_classes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.bias.zero_()
        if spec.start == "zero":
            head.weight.zero_()
        elif spec.start != "random" and solved is not None:
            head.weight.copy_(torch.as_tensor(solved[0]))
            head.bias.copy_(torch.as_tensor(solved[1]))
        else:
            nn.init.normal_(head.weight, std=0.02, generator=generator)
    return head
