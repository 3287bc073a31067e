"""What gradual unfreezing trains in its epochs, beside a mean one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.config.protocol import depth_index
from regraft.config.registry import kind_spec, load

if TYPE_CHECKING:
    from collections.abc import Mapping


def typical_depth(protocol: Mapping[str, Any], n_blocks: int) -> int | str | None:
    """Return the lowest block that is open in a mean epoch of a fit; None where it never changes.

    Args:
        protocol: A resolved protocol.
        n_blocks: Blocks of the backbone.
    """
    each = _lowest_open(protocol, n_blocks)
    if not each:
        return None
    mean = round(float(np.mean(each)))
    return "none" if mean >= n_blocks else mean or None


def opening_shares(protocol: Mapping[str, Any], n_blocks: int) -> tuple[float, ...]:
    """Return how many blocks each epoch trains as a share of those of a mean one (`Trial`).

    Empty where it never changes, or where the mean epoch trains none.

    Args:
        protocol: A resolved protocol.
        n_blocks: Blocks of the backbone.
    """
    each = _lowest_open(protocol, n_blocks)
    depth = typical_depth(protocol, n_blocks)
    if not each or depth == "none":
        return ()
    timed = n_blocks - int(depth or each[-1])
    shares = [(n_blocks - lowest) / timed for lowest in each]
    return tuple(shares[: shares.index(shares[-1]) + 1])


def _lowest_open(protocol: Mapping[str, Any], n_blocks: int) -> list[int]:
    """Return the lowest block that is open in each epoch; nothing where it never changes."""
    if protocol["unfreeze"] is None or protocol["train"]["from_depth"] == "none":
        return []
    spec = kind_spec("unfreeze", protocol["unfreeze"], where="unfreeze")
    lowest_open = load("unfreeze", protocol["unfreeze"]["kind"]).lowest_open
    lowest = depth_index(protocol["train"]["from_depth"], n_blocks)
    return [
        int(lowest_open(spec, epoch=epoch, from_depth=lowest, n_blocks=n_blocks))
        for epoch in range(int(protocol["fit"]["epochs"]))
    ]
