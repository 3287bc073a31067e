"""Source heads: the classifiers that backbones were pretrained with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, final

import torch

from regraft.errors import BackboneError
from regraft.hashing import digest_arrays

if TYPE_CHECKING:
    from torch import nn


@final
@dataclass(frozen=True, slots=True)
class SourceHead:
    """The classifier that a backbone was pretrained with.

    Attributes:
        reference: The backbone's.
        logits: From a batch to logits over the classes of the source, (B, Z).
        digest: Returns a digest of what it adds to the backbone's own tensors and code.
    """

    reference: str
    logits: Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
    digest: Callable[[], str]

    def probabilities(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return what it says of a batch, (B, Z), rows sum to 1.

        Raises:
            BackboneError: What it gives are no logits by item.
        """
        logits, n = self.logits(batch), len(next(iter(batch.values())))
        if not (isinstance(logits, torch.Tensor) and logits.ndim == 2 and len(logits) == n):
            shape = tuple(getattr(logits, "shape", ()))
            raise BackboneError(
                f"its source head gives {shape or type(logits).__name__} for {n} items. Let it "
                "return logits (items, classes).",
                where=self.reference,
            )
        return logits.float().softmax(dim=1)


def declared_head(module: nn.Module, reference: str) -> SourceHead | None:
    """Return the module's own ``source_head(output)`` behind its forward pass, if it has one."""
    head = getattr(module, "source_head", None)
    if not callable(head):
        return None
    # Its tensors are the module's, its code the module's file: both are the backbone's identity.
    return SourceHead(reference, lambda batch: head(module(*batch.values())), digest=str)


def saved_head(read: Callable[[], tuple[Any, Mapping[str, Any]]], reference: str) -> SourceHead:
    """Return the whole classifier that was saved, read when it is first asked.

    Args:
        read: Returns the classifier and transformers' report of its loading.
        reference: The backbone's.
    """

    @cache
    def classifier() -> Any:
        model, report = read()
        if missing := sorted(report["missing_keys"]):
            raise BackboneError(
                f"its classifier cannot be read: {missing[0]} is missing from its weights.",
                where=reference,
            )
        return model.eval()

    @cache
    def digest() -> str:
        state = classifier().state_dict()
        return digest_arrays({name: tensor.numpy() for name, tensor in state.items()})

    return SourceHead(reference, lambda batch: classifier()(**batch).logits, digest)
