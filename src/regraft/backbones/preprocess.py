"""From decoded inputs to model inputs, as the backbone wants them.

Preparing (geometry, tokens) is done once and kept; normalisation is done per batch, so that what is kept
stays small (uint8 images, token ids) and augmentation can act between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, final

import numpy as np
import torch
from PIL import Image

from regraft.errors import BackboneError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Raw = Any
"""A decoded input: uint8 RGB (H, W, 3), a text, or a float array."""

_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}
_IMAGE_KEYS = {"kind", "size", "crop", "mean", "std", "channels", "resample", "invert"}


class Preprocess(Protocol):
    """What turns decoded inputs into a batch.

    Attributes:
        kind: ``image``, ``text`` or ``array``.
        spec: Plain JSON from which it can be made again; part of cache keys and grafts.
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
class ImagePreprocess:
    """Resize, crop, normalise by constants; for modules that are not of transformers."""

    kind = "image"

    def __init__(self, spec: Mapping[str, Any]) -> None:
        if unknown := sorted(set(spec) - _IMAGE_KEYS):
            raise BackboneError(
                f"unknown key {unknown[0]!r} in 'preprocess'. Known: "
                f"{', '.join(sorted(_IMAGE_KEYS))}.",
                where="backbone",
            )
        size = spec.get("size", 224)
        channels = int(spec.get("channels", 3))
        self.spec = {
            "kind": "image",
            "size": int(size) if isinstance(size, int) else [int(s) for s in size],
            "crop": None if spec.get("crop") is None else [int(s) for s in spec["crop"]],
            "mean": [float(m) for m in spec.get("mean", [0.0] * channels)],
            "std": [float(s) for s in spec.get("std", [1.0] * channels)],
            "channels": channels,
            "resample": str(spec.get("resample", "bilinear")),
            "invert": bool(spec.get("invert", False)),
        }
        self._resample = _RESAMPLE[self.spec["resample"]]
        self._mean = torch.tensor(self.spec["mean"]).view(1, -1, 1, 1)
        self._std = torch.tensor(self.spec["std"]).view(1, -1, 1, 1)

    def prepare(self, raw: Sequence[Raw]) -> list[np.ndarray[Any, Any]]:
        """Return uint8 images (C, H, W) of one size."""
        return [self._prepare(np.asarray(one)) for one in raw]

    def collate(self, prepared: Sequence[np.ndarray[Any, Any]]) -> dict[str, torch.Tensor]:
        """Return normalised images (B, C, H, W)."""
        return self.normalise(torch.from_numpy(np.stack(prepared)))

    def normalise(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scale to [0, 1], subtract the mean, divide by the deviation."""
        return {"pixel_values": (images.float() / 255.0 - self._mean) / self._std}

    def _prepare(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        image = Image.fromarray(array)
        image = image.convert("L" if self.spec["channels"] == 1 else "RGB")
        size = self.spec["size"]
        if isinstance(size, int):
            scale = size / min(image.size)
            target = (max(size, round(image.width * scale)), max(size, round(image.height * scale)))
        else:
            target = (size[1], size[0])
        if image.size != target:
            image = image.resize(target, self._resample)
        if self.spec["crop"] is not None:
            image = _centre_crop(image, *self.spec["crop"])
        elif isinstance(size, int):
            image = _centre_crop(image, size, size)
        pixels = np.asarray(image, np.uint8)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # (C, H, W)
        return np.ascontiguousarray(255 - pixels if self.spec["invert"] else pixels)


@final
class ProcessorPreprocess:
    """The image processor that came with a transformers model, run by Pillow."""

    kind = "image"

    def __init__(self, processor: Any, *, channels: int) -> None:
        config = processor.to_dict()
        plain = {k: v for k, v in config.items() if _is_plain(v) and not k.startswith("_")}
        self.spec = {"kind": "image", "processor": plain, "channels": channels}
        self._processor = processor
        self._channels = channels
        self._scale = float(config["rescale_factor"]) if config.get("do_rescale", True) else 1.0
        shift = bool(config.get("do_normalize", True))
        self._mean = torch.tensor(config["image_mean"] if shift else 0.0).view(1, -1, 1, 1)
        self._std = torch.tensor(config["image_std"] if shift else 1.0).view(1, -1, 1, 1)

    def prepare(self, raw: Sequence[Raw]) -> list[np.ndarray[Any, Any]]:
        """Return uint8 images (C, H, W) of the processor's size."""
        out = self._processor(
            [np.asarray(one) for one in raw],
            do_rescale=False,
            do_normalize=False,
            input_data_format="channels_last",
        )
        images = [np.asarray(one, np.uint8) for one in out["pixel_values"]]
        if self._channels == 1:
            return [np.round(one.mean(axis=0, keepdims=True)).astype(np.uint8) for one in images]
        return images

    def collate(self, prepared: Sequence[np.ndarray[Any, Any]]) -> dict[str, torch.Tensor]:
        """Return normalised images (B, C, H, W)."""
        return self.normalise(torch.from_numpy(np.stack(prepared)))

    def normalise(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Rescale and normalise as the processor says."""
        mean, std = self._mean, self._std
        if self._channels == 1 and mean.numel() > 1:
            mean, std = mean.mean(1, keepdim=True), std.mean(1, keepdim=True)
        return {"pixel_values": (images.float() * self._scale - mean) / std}


@final
class TextPreprocess:
    """A tokenizer with truncation; padding is added per batch."""

    kind = "text"

    def __init__(self, tokenizer: Any, *, max_length: int, digest: str) -> None:
        self.spec = {"kind": "text", "max_length": max_length, "tokenizer": digest}
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._pad = int(tokenizer.pad_token_id or 0)

    def prepare(self, raw: Sequence[Raw]) -> list[np.ndarray[Any, Any]]:
        """Return token ids (T,), int32, special tokens included, cut at the longest length."""
        out = self._tokenizer(list(raw), truncation=True, max_length=self._max_length)
        return [np.asarray(ids, np.int32) for ids in out["input_ids"]]

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
        """Refuse: texts have no pixels."""
        raise DataError("image augmentation cannot act on texts. Set augment: none.")


@final
class ArrayPreprocess:
    """Float arrays, passed on as they are."""

    kind = "array"

    def __init__(self, spec: Mapping[str, Any] | None = None) -> None:
        self.spec = {"kind": "array", **{k: v for k, v in (spec or {}).items() if k != "kind"}}

    def prepare(self, raw: Sequence[Raw]) -> list[np.ndarray[Any, Any]]:
        """Return float32 arrays."""
        return [np.asarray(one, np.float32) for one in raw]

    def collate(self, prepared: Sequence[np.ndarray[Any, Any]]) -> dict[str, torch.Tensor]:
        """Return the arrays stacked, (B, …)."""
        return {"values": torch.from_numpy(np.stack(prepared))}

    def normalise(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Refuse: arrays have no pixels."""
        raise DataError("image augmentation cannot act on arrays. Set augment: none.")


def _centre_crop(image: Image.Image, height: int, width: int) -> Image.Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)
