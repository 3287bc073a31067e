"""Gradual unfreezing: one more block each so many epochs, from the top."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regraft.config.spec import Spec as Base


class Spec(Base):
    """First the head alone, then block after block downwards (Howard & Ruder, ACL 2018, § 3.3)."""

    kind: Literal["gradual"] = "gradual"
    every: int = Field(1, ge=1, description="epochs between two openings")
    blocks: int = Field(1, ge=1, description="blocks opened at a time")
    head_first: bool = Field(True, description="whether the first stage trains the head alone")


def lowest_open(spec: Spec, *, epoch: int, from_depth: int, n_blocks: int) -> int:
    """Return the lowest block that trains in an epoch, never below `from_depth`.

    Args:
        spec: The settings.
        epoch: 0 is the first.
        from_depth: The lowest block that the protocol trains.
        n_blocks: Blocks of the backbone; this many means that the head alone trains.

    Example:
        >>> [lowest_open(Spec(), epoch=e, from_depth=1, n_blocks=4) for e in range(5)]
        [4, 3, 2, 1, 1]
    """
    stages = epoch // spec.every + (0 if spec.head_first else 1)
    return max(from_depth, n_blocks - stages * spec.blocks)
