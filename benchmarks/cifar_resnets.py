"""ResNet-20, -32 and -56 for CIFAR as backbones: plain torch modules in a file.

    regraft run photos/ --backbone python:benchmarks/cifar_resnets.py:resnet20@WEIGHTS.safetensors

Written from He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2, with
shortcuts of option A (no weights). The names of the tensors are those of akamaster's weights.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

STAGES = (16, 32, 64)
CLASSES = 10


class Basic(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.padding = stride, (width - before) // 2

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps of `width` channels, their sides divided by the stride."""
        changed = torch.relu(self.bn1(self.conv1(maps)))
        changed = self.bn2(self.conv2(changed))
        if self.stride == 1:
            return torch.relu(changed + maps)
        # option A: every second place, and zeros for the channels that are new
        sides = (0, 0, 0, 0, self.padding, self.padding)
        return torch.relu(changed + functional.pad(maps[:, :, ::2, ::2], sides))


class CifarResNet(nn.Module):
    """Maps of 64 channels, 8 × 8; regraft averages them over the image."""

    preprocess = {  # noqa: RUF012 - plain data
        "kind": "image",
        "size": [32, 32],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }

    def __init__(self, blocks_per_stage: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STAGES[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STAGES[0])
        before = STAGES[0]
        for number, width in enumerate(STAGES, 1):
            strides = [1 if number == 1 else 2] + [1] * (blocks_per_stage - 1)
            layers = []
            for stride in strides:
                layers.append(Basic(before, width, stride))
                before = width
            setattr(self, f"layer{number}", nn.Sequential(*layers))
        self.linear = nn.Linear(STAGES[-1], CLASSES)
        self.blocks = [f"layer{s}.{i}" for s in (1, 2, 3) for i in range(blocks_per_stage)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return maps (B, 64, 8, 8) of images (B, 3, 32, 32)."""
        maps = torch.relu(self.bn1(self.conv1(images)))
        for number in (1, 2, 3):
            maps = self.get_submodule(f"layer{number}")(maps)
        return maps

    def source_head(self, maps: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 10) over CIFAR's classes."""
        logits: torch.Tensor = self.linear(maps.mean((2, 3)))
        return logits


def resnet20() -> CifarResNet:
    """Return the network of 20 layers with random weights."""
    return CifarResNet(3)


def resnet32() -> CifarResNet:
    """Return the network of 32 layers with random weights."""
    return CifarResNet(5)


def resnet56() -> CifarResNet:
    """Return the network of 56 layers with random weights."""
    return CifarResNet(9)
