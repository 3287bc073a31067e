"""Whether the disk holds what a study will leave there until its end."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from regraft.errors import LedgerError
from regraft.search.arms import lowest_trained_depth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from regraft.backbones.backbone import Backbone
    from regraft.search.arms import Arm

_COPIES_IN_A_CHECKPOINT = 4  # the state, the best so far, and AdamW's two moments
_SHARE_OF_MODULES = 0.02
_SPARE_BYTES = 64 << 20


def check_space(home: Path, arms: Sequence[Arm], backbones: Sequence[Backbone]) -> None:
    """Refuse to begin where the weights of all runs would not fit.

    Raises:
        LedgerError: The disk of the ledger has too little room.
    """
    needed, free = needed_bytes(arms, backbones), shutil.disk_usage(home).free
    if needed > free:
        raise LedgerError(
            f"its disk has {free / 1e9:.2f} GB free, and the weights of this study's runs take up "
            f"to {needed / 1e9:.2f} GB until its end. Free some (regraft clean), or give --home on "
            "another disk.",
            where=str(home),
        )


def needed_bytes(arms: Sequence[Arm], backbones: Sequence[Backbone]) -> int:
    """Return the bytes of the weights that all runs leave, and of the largest checkpoint."""
    left, largest = 0, 0
    for arm in arms:
        if not arm.is_trained:
            continue
        backbone = backbones[arm.backbone or 0]
        state = int(_share(arm, backbone.n_blocks) * _bytes(backbone))
        left += state * len(arm.candidates)
        largest = max(largest, state)
    return left + _COPIES_IN_A_CHECKPOINT * largest + _SPARE_BYTES


def _share(arm: Arm, n_blocks: int) -> float:
    """Return about which share of the backbone's weights a run leaves."""
    protocol = arm.candidates[0]
    if protocol["train"]["from_depth"] == "none":
        return _SHARE_OF_MODULES
    lowest = min(lowest_trained_depth(protocol, n_blocks), n_blocks)
    return 1.0 - lowest / n_blocks if n_blocks else 1.0


def _bytes(backbone: Backbone) -> int:
    return sum(p.numel() * p.element_size() for p in backbone.module.parameters())
