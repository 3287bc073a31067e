"""Small backbones of 8 × 8 images, sound and faulty, for `faults.py`."""

from __future__ import annotations

import torch
from torch import nn

WIDTH = 64
DEPTH = 14
MEAN, STD = 0.3, 0.37
_UNSEEDED = torch.Generator()
_UNSEEDED.seed()


class Net(nn.Module):
    """Four blocks over 64 pixels."""

    blocks = tuple(f"parts.{i}" for i in range(4))
    preprocess = {  # noqa: RUF012 - plain data, read by the loader
        "kind": "image",
        "size": [8, 8],
        "channels": 1,
        "mean": [MEAN],
        "std": [STD],
        "resample": "box",
    }

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.Sequential(*(self.block() for _ in range(4)))

    def block(self) -> nn.Module:
        """Return a block."""
        return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (B, 64) of images (B, 1, 8, 8)."""
        features: torch.Tensor = self.parts(images.flatten(1))
        return features


class Twice(Net):
    """Normalises its inputs a second time."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (B, 64)."""
        return super().forward((images - MEAN) / STD)


class Dead(Net):
    """No unit of its last layer is ever above zero."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (B, 64)."""
        return torch.relu(super().forward(images) - 1e3)


class Probabilities(Net):
    """Ends in a softmax."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (B, 64)."""
        return super().forward(images).softmax(1)


class Restless(Net):
    """Changes a weight of its lowest block whenever it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.parts[0].register_parameter("drift", nn.Parameter(torch.zeros(())))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (B, 64)."""
        if torch.is_grad_enabled():
            with torch.no_grad():
                self.parts[0].get_parameter("drift").add_(1.0)
        return super().forward(images)


class Noisy(Net):
    """Adds noise in training, drawn from a generator that no seed reaches."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (B, 64)."""
        features = super().forward(images)
        if not torch.is_grad_enabled():
            return features
        return features + 0.1 * torch.randn(features.shape, generator=_UNSEEDED)


class Normed(Net):
    """Batch normalisation."""

    def block(self) -> nn.Module:
        """Return a block."""
        return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())


class Unfrozen(Normed):
    """Puts its batch normalisation in training mode, whatever it is told."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (B, 64)."""
        for part in self.modules():
            if isinstance(part, nn.BatchNorm1d) and torch.is_grad_enabled():
                part.train()
        return super().forward(images)


class Mixer(nn.Module):
    """A residual block with a mixer, and with attention's value projection if asked for."""

    def __init__(self, *, attends: bool) -> None:
        super().__init__()
        self.mixer = nn.Linear(WIDTH, WIDTH)
        self.v_proj = nn.Linear(WIDTH, WIDTH) if attends else None

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the hidden state (B, 64)."""
        hidden = hidden + torch.tanh(self.mixer(hidden))
        return hidden if self.v_proj is None else hidden + torch.tanh(self.v_proj(hidden))


class Hybrid(nn.Module):
    """Fourteen blocks; only the last has attention, so that LoRA by default reaches 7 %."""

    blocks = tuple(f"parts.{i}" for i in range(DEPTH))
    preprocess = Net.preprocess

    def __init__(self, first: int = DEPTH - 1) -> None:
        super().__init__()
        self.parts = nn.Sequential(*(Mixer(attends=i >= first) for i in range(DEPTH)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (B, 64)."""
        features: torch.Tensor = self.parts(images.flatten(1))
        return features


def attentive() -> Hybrid:
    """Return a backbone with attention in every block."""
    return Hybrid(first=0)


def hybrid() -> Hybrid:
    """Return a backbone with attention in one block of fourteen."""
    return Hybrid()
