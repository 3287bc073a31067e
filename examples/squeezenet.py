"""SqueezeNet 1.0 as a backbone of your own: a plain torch module in a file.

    regraft run photos/ --backbone python:examples/squeezenet.py:squeezenet1_0@WEIGHTS.safetensors

Written from Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and
< 0.5 MB model size (2016), table 1. The names of the tensors are torchvision's.
"""

from __future__ import annotations

import torch
from torch import nn


class Fire(nn.Module):
    """Squeeze to few channels, then expand by 1 × 1 and 3 × 3 convolutions side by side."""

    def __init__(self, before: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(before, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps (B, 2 · expanded, H, W)."""
        few = torch.relu(self.squeeze(maps))
        return torch.cat([torch.relu(self.expand1x1(few)), torch.relu(self.expand3x3(few))], 1)


class SqueezeNet(nn.Module):
    """Maps of 512 channels; regraft averages them over the image.

    `blocks` names what may be frozen, cut or trained, from the input upwards; `preprocess` says
    what the weights expect. Both are optional: regraft then looks for blocks and assumes an input.
    """

    blocks = tuple(f"features.{i}" for i in range(3, 13))
    preprocess = {  # noqa: RUF012 - plain data
        "kind": "image",
        "size": 256,
        "crop": [227, 227],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }

    def __init__(self, n_classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(96, 16, 64),
            Fire(128, 16, 64),
            Fire(128, 32, 128),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(256, 32, 128),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(512, 64, 256),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(512, n_classes, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return maps (B, 512, H, W) of images (B, 3, 227, 227), before the source's classifier."""
        maps: torch.Tensor = self.features(images)
        return maps

    def source_head(self, maps: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 1000) over ImageNet's classes; `regraft rank` asks for them."""
        logits: torch.Tensor = torch.relu(self.classifier(maps)).mean((2, 3))
        return logits


def squeezenet1_0() -> SqueezeNet:
    """Return the network with random weights; regraft loads the file named after ``@``."""
    return SqueezeNet()
