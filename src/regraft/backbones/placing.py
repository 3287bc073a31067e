"""Where a backbone computes: it lies in main memory, and visits a device for a pass."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from regraft.backbones.backbone import Backbone


@contextmanager
def placed(backbone: Backbone, device: str) -> Iterator[None]:
    """Let a backbone compute on a device, as torch names it; runs need the memory there again."""
    if device == "cpu":
        yield
        return
    backbone.module.to(device)
    try:
        yield
    finally:
        backbone.module.to("cpu")
