"""The candidates of the ladder: which protocol, at which rate, in which setting."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPACE: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
)
N_BLOCKS = {"sst2": 6, "flowers5": 10}
LORA_ALPHA = 16
_SQUEEZED = ("squeeze", "expand1x1", "expand3x3")


@dataclass(frozen=True)
class Candidate:
    """A protocol (a key of `SPACE`) at a learning rate, in one of its settings by name."""

    protocol: str
    rate: float
    setting: str

    @property
    def name(self) -> str:
        return f"{self.protocol}-{self.setting}-{self.rate:g}"

    @property
    def own(self) -> dict[str, Any]:
        """What the setting sets: seed, from_depth or rank."""
        found: dict[str, Any] = SPACE[self.protocol]["settings"][self.setting]
        return found


def grid() -> list[Candidate]:
    """Return all 24, of each kind the middle rate first, so that a part says most of the whole."""
    return [
        Candidate(protocol, sorted(one["rates"])[at], setting)
        for at in (1, 0, 2)
        for settings in zip(*(one["settings"] for one in SPACE.values()), strict=True)
        for (protocol, one), setting in zip(SPACE.items(), settings, strict=True)
    ]


def lowest_block(task: str, share: float) -> int:
    """Return the lowest block that trains, as regraft reads a fraction of depth."""
    return round(share * N_BLOCKS[task])


def lora_layers(task: str) -> list[str]:
    """Return the layers that LoRA goes beside: query and value, or all convolutions of the Fires.

    The names are those within the backbone.
    """
    if task == "sst2":
        blocks = (f"encoder.layer.{i}.attention.self" for i in range(N_BLOCKS[task]))
        return [f"{block}.{part}" for block in blocks for part in ("query", "value")]
    fires = (3, 4, 5, 7, 8, 9, 10, 12)
    return [f"features.{i}.{part}" for i in fires for part in _SQUEEZED]
