"""No augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from regraft.config.spec import Spec as Base

if TYPE_CHECKING:
    import torch


class Spec(Base):
    """Images train as they are."""

    kind: Literal["none"] = "none"


def augment(spec: Spec, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the images, uint8 (B, C, H, W), unchanged."""
    del spec, generator
    return images
