"""A training pass compiled by torch, for shapes that change from batch to batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from regraft.engine.adapted import Adapted


def compiled(
    model: Adapted,
) -> Callable[[Mapping[str, torch.Tensor], torch.Tensor | None, int], torch.Tensor]:
    """Return `model.logits`, compiled when it is first called; the same up to rounding."""

    def logits(
        batch: Mapping[str, torch.Tensor], hidden: torch.Tensor | None, depth: int
    ) -> torch.Tensor:
        return model.logits(batch, hidden, depth)

    # torch keeps what it compiled by the code object and, after a few models, compiles no more.
    logits.__code__ = logits.__code__.replace()
    return torch.compile(logits, dynamic=True)
