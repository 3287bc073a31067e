"""Light augmentation: mirrored, shifted, a little brighter or darker."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from regraft.config.spec import Spec as Base


class Spec(Base):
    """What most photographs bear; turn `flip` off where left and right differ (digits, letters)."""

    kind: Literal["light"] = "light"
    flip: bool = Field(True, description="mirror half of the images")
    shift: float = Field(0.1, ge=0.0, le=0.5, description="largest shift, share of the side")
    brightness: float = Field(0.2, ge=0.0, lt=1.0, description="largest change of brightness")


def augment(spec: Spec, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return augmented uint8 images (B, C, H, W); every choice is drawn from the generator."""
    n, _, height, width = images.shape
    draws = torch.rand(n, 4, generator=generator)
    out = torch.empty_like(images)
    for i in range(n):
        image = images[i].flip(-1) if spec.flip and draws[i, 0] < 0.5 else images[i]
        dy = round(float(draws[i, 1] * 2 - 1) * spec.shift * height)
        dx = round(float(draws[i, 2] * 2 - 1) * spec.shift * width)
        rows = (torch.arange(height) + dy).clamp(0, height - 1)
        columns = (torch.arange(width) + dx).clamp(0, width - 1)
        factor = 1.0 + float(draws[i, 3] * 2 - 1) * spec.brightness
        moved = image[:, rows][:, :, columns].float() * factor
        out[i] = moved.round().clamp(0, 255).to(torch.uint8)
    return out
