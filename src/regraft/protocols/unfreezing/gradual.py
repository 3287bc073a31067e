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
    """Return the lowest block that trains in an epoch (0 is the first), never below `from_depth`."""
    stages = epoch // spec.every + (0 if spec.head_first else 1)
    return max(from_depth, n_blocks - stages * spec.blocks)
