"""From decoded inputs to model inputs, as the backbone wants them.

Preparing (geometry, tokens) is done once and kept; normalisation is done per batch, so that what is
kept stays small (uint8 images, token ids) and augmentation can act between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, final

import numpy as np
import torch

from regraft.errors import BackboneError, DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Raw = Any
"""A decoded input: uint8 RGB (H, W, 3), a text, or a float array."""

_ARRAY_KEYS = ("kind", "shape")


class Preprocess(Protocol):
    """What turns decoded inputs into a batch.

    Attributes:
        kind: ``image``, ``text`` or ``array``.
        spec: All that its output depends on, as plain JSON; part of cache keys and grafts.
    """

    kind: str
    spec: dict[str, Any]

    def prepare(self, raw: Sequence[Raw]) -> list[np.ndarray[Any, Any]]:
        """Return each item ready to be kept: uint8 (C, H, W), int32 (T,), or float32."""
        ...

    def collate(self, prepared: Sequence[np.ndarray[Any, Any]]) -> dict[str, torch.Tensor]:
        """Return the batch that the backbone's module takes."""
        ...

    def normalise(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the batch of uint8 images (B, C, H, W)."""
        ...


@final
class TextPreprocess:
    """A tokenizer with truncation; padding is added per batch.

    Attributes:
        kind: ``text``.
        spec: Longest length, whether texts are put in lower case, digest of the tokenizer.
    """

    kind = "text"

    def __init__(
        self, tokenizer: Any, *, max_length: int, digest: str, lower_case: bool = False
    ) -> None:
        self.spec: dict[str, Any] = {
            "kind": "text",
            "max_length": max_length,
            "lower_case": lower_case,
            "tokenizer": digest,
        }
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._lower_case = lower_case
        self._pad = int(tokenizer.pad_token_id or 0)

    def prepare(self, raw: Sequence[Raw]) -> list[np.ndarray[Any, Any]]:
        """Return token ids (T,), int32, special tokens included, cut at the longest length.

        A text without any token becomes one padding token, so that there is something to pool.
        """
        texts = [text.lower() if self._lower_case else text for text in raw]
        out = self._tokenizer(texts, truncation=True, max_length=self._max_length)
        return [np.asarray(ids or [self._pad], np.int32) for ids in out["input_ids"]]

    def collate(self, prepared: Sequence[np.ndarray[Any, Any]]) -> dict[str, torch.Tensor]:
        """Return input_ids and attention_mask (B, T), padded to the longest of the batch."""
        longest = max(len(ids) for ids in prepared)
        tokens = torch.full((len(prepared), longest), self._pad, dtype=torch.int64)
        mask = torch.zeros((len(prepared), longest), dtype=torch.int64)
        for row, ids in enumerate(prepared):
            tokens[row, : len(ids)] = torch.from_numpy(ids.astype(np.int64))
            mask[row, : len(ids)] = 1
        return {"input_ids": tokens, "attention_mask": mask}

    def normalise(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Refuse: texts have no pixels.

        Raises:
            DataError: Always.
        """
        raise DataError("image augmentation cannot act on texts. Set augment: none.")


@final
class ArrayPreprocess:
    """Float arrays, passed on as they are.

    Attributes:
        kind: ``array``.
        spec: The shape of an item, where it is declared.
    """

    kind = "array"

    def __init__(self, declared: Mapping[str, Any], *, where: str) -> None:
        if unknown := sorted(set(declared) - set(_ARRAY_KEYS)):
            raise BackboneError(
                f"unknown key {unknown[0]!r} in 'preprocess'."
                f"{did_you_mean(unknown[0], _ARRAY_KEYS)}",
                where=where,
            )
        self.spec: dict[str, Any] = {"kind": "array"}
        if "shape" in declared:
            self.spec["shape"] = [int(side) for side in declared["shape"]]

    def prepare(self, raw: Sequence[Raw]) -> list[np.ndarray[Any, Any]]:
        """Return float32 arrays."""
        return [np.asarray(one, np.float32) for one in raw]

    def collate(self, prepared: Sequence[np.ndarray[Any, Any]]) -> dict[str, torch.Tensor]:
        """Return the arrays stacked, (B, …)."""
        return {"values": torch.from_numpy(np.stack(prepared))}

    def normalise(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Refuse: arrays have no pixels.

        Raises:
            DataError: Always.
        """
        raise DataError("image augmentation cannot act on arrays. Set augment: none.")
