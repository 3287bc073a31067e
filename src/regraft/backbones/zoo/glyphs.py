"""A small convolutional backbone for 8 × 8 grey images, pretrained on rendered glyphs."""

from __future__ import annotations

from typing import final

import torch
from torch import nn

_CHANNELS = (32, 32, 64, 64, 128, 128)
_POOL_AFTER = (1, 3)


@final
class Glyphs(nn.Module):
    """Six 3 × 3 convolutions with group normalisation; two max-pools take 8 × 8 to 2 × 2.

    Group normalisation has no running statistics, so frozen prefixes need no care.
    """

    blocks = ("layers.0", "layers.1", "layers.2", "layers.3", "layers.4", "layers.5")
    preprocess = {  # noqa: RUF012 - plain data, read by the loader
        "kind": "image",
        "size": [8, 8],
        "channels": 1,
        "mean": [0.3],
        "std": [0.37],
        "resample": "box",
    }

    def __init__(self) -> None:
        super().__init__()
        layers = []
        before = 1
        for i, width in enumerate(_CHANNELS):
            parts: list[nn.Module] = [
                nn.Conv2d(before, width, 3, padding=1, bias=False),
                nn.GroupNorm(8, width),
                nn.ReLU(),
            ]
            if i in _POOL_AFTER:
                parts.append(nn.MaxPool2d(2))
            layers.append(nn.Sequential(*parts))
            before = width
        self.layers = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return maps (B, 128, 2, 2) of images (B, 1, 8, 8)."""
        maps: torch.Tensor = self.layers(images)
        return maps


def build() -> Glyphs:
    """Return the backbone with random weights."""
    return Glyphs()
