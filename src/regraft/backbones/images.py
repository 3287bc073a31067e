"""Image preprocessing: geometry once, to uint8; rescaling and normalisation per batch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regraft.errors import BackboneError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}

Pixels = np.ndarray[Any, Any]


class ImageSpec(BaseModel):
    """What a module declares as its `preprocess`.

    Attributes:
        size: Height and width to resize to; or the length of the shorter edge, the aspect kept.
        crop: Height and width of the centre that is cut out; by default a square of `size`.
        mean: Per channel, subtracted after scaling to [0, 1].
        std: Per channel, divided by.
        channels: 1 turns images grey; more than 3 repeat red, green and blue in turn.
        resample: Filter of the resizing.
        invert: Whether dark and light change places, for modules that expect light ink on dark.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["image"] = "image"
    size: int | tuple[int, int] = 224
    crop: tuple[int, int] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: int = Field(3, ge=1)
    resample: Literal["nearest", "bilinear", "bicubic", "box", "lanczos"] = "bilinear"
    invert: bool = False


def image_spec(declared: Mapping[str, Any], *, where: str) -> ImageSpec:
    """Check what a module declares.

    Raises:
        BackboneError: An unknown key, a wrong value, or constants that do not fit the channels.
    """
    unknown = sorted(set(declared) - set(ImageSpec.model_fields))
    if unknown:
        raise BackboneError(
            f"unknown key {unknown[0]!r} in 'preprocess'."
            f"{did_you_mean(unknown[0], ImageSpec.model_fields)}",
            where=where,
        )
    try:
        spec = ImageSpec.model_validate(dict(declared))
    except ValidationError as error:
        first = error.errors()[0]
        raise BackboneError(
            f"'preprocess' has a wrong {first['loc'][0]!r} ({first['msg']}: {first['input']!r}).",
            where=where,
        ) from error
    sides = [spec.size] if isinstance(spec.size, int) else list(spec.size)
    if min([*sides, *(spec.crop or ())]) < 1 or min(spec.std, default=1.0) <= 0:
        raise BackboneError("'preprocess' needs sizes and deviations above 0.", where=where)
    for name, constants in (("mean", spec.mean), ("std", spec.std)):
        if len(constants) not in (0, spec.channels):
            raise BackboneError(
                f"'preprocess' has {len(constants)} values of {name!r} for {spec.channels} "
                "channels. Give one per channel.",
                where=where,
            )
    return spec


@final
class ImagePreprocess:
    """Resize, crop, normalise by constants; for modules that are not of transformers.

    Attributes:
        kind: ``image``.
        spec: The declared values with all defaults, plain JSON.
    """

    kind = "image"

    def __init__(self, spec: ImageSpec) -> None:
        self.spec: dict[str, Any] = spec.model_dump(mode="json")
        self._declared = spec
        self._mean = torch.tensor(spec.mean or [0.0] * spec.channels).view(1, -1, 1, 1)
        self._std = torch.tensor(spec.std or [1.0] * spec.channels).view(1, -1, 1, 1)

    def prepare(self, raw: Sequence[Pixels]) -> list[Pixels]:
        """Return uint8 images (C, H, W) of one size, of uint8 images (H, W, 3)."""
        return [self._prepare(np.asarray(one)) for one in raw]

    def collate(self, prepared: Sequence[Pixels]) -> dict[str, torch.Tensor]:
        """Return normalised images (B, C, H, W)."""
        return self.normalise(torch.from_numpy(np.stack(prepared)))

    def normalise(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scale uint8 images to [0, 1], subtract the mean, divide by the deviation."""
        mean, std = self._mean.to(images.device), self._std.to(images.device)
        return {"pixel_values": (images.float() / 255.0 - mean) / std}

    def _prepare(self, array: Pixels) -> Pixels:
        spec = self._declared
        image = Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)
        image = image.convert("L" if spec.channels == 1 else "RGB")
        target = _target(image, spec.size)
        if image.size != target:
            image = image.resize(target, _RESAMPLE[spec.resample])
        crop = spec.crop or ((spec.size, spec.size) if isinstance(spec.size, int) else None)
        if crop is not None:
            image = _centre(image, *crop)
        pixels = np.asarray(image, np.uint8)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # (C, H, W)
        pixels = _with_channels(pixels, spec.channels)
        return np.ascontiguousarray(255 - pixels if spec.invert else pixels)


@final
class ProcessorPreprocess:
    """The image processor that came with a transformers model, run by Pillow.

    Attributes:
        kind: ``image``.
        spec: The processor's class and settings, plain JSON.
        processor: The processor itself.
    """

    kind = "image"

    def __init__(self, processor: Any, *, channels: int) -> None:
        config = processor.to_dict()
        plain = {k: v for k, v in config.items() if _is_plain(v) and not k.startswith("_")}
        plain = json.loads(json.dumps(plain))  # tuples and Pillow's enums become lists and numbers
        self.spec: dict[str, Any] = {"kind": "image", "processor": plain, "channels": channels}
        self.processor = processor
        self._channels = channels
        self._scale = float(config["rescale_factor"]) if config.get("do_rescale", True) else 1.0
        shifts = bool(config.get("do_normalize", True))
        self._mean = _constants(config["image_mean"] if shifts else 0.0, channels)
        self._std = _constants(config["image_std"] if shifts else 1.0, channels)

    def prepare(self, raw: Sequence[Pixels]) -> list[Pixels]:
        """Return uint8 images (C, H, W) of the processor's size, of uint8 images (H, W, 3)."""
        out = self.processor(
            [np.asarray(one) for one in raw],
            do_rescale=False,
            do_normalize=False,
            input_data_format="channels_last",
        )
        return [
            np.ascontiguousarray(_with_channels(np.asarray(one, np.uint8), self._channels))
            for one in out["pixel_values"]
        ]

    def collate(self, prepared: Sequence[Pixels]) -> dict[str, torch.Tensor]:
        """Return normalised images (B, C, H, W)."""
        return self.normalise(torch.from_numpy(np.stack(prepared)))

    def normalise(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Rescale and normalise uint8 images as the processor says."""
        mean, std = self._mean.to(images.device), self._std.to(images.device)
        return {"pixel_values": (images.float() * self._scale - mean) / std}


def _target(image: Image.Image, size: int | tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) after resizing."""
    if not isinstance(size, int):
        return size[1], size[0]
    scale = size / min(image.size)
    return max(size, round(image.width * scale)), max(size, round(image.height * scale))


def _centre(image: Image.Image, height: int, width: int) -> Image.Image:
    """Cut out the centre; what lies beyond the image is black."""
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _with_channels(pixels: Pixels, channels: int) -> Pixels:
    """Return (channels, H, W) from (1 or 3, H, W): the grey of three, or the three repeated."""
    if pixels.shape[0] == channels:
        return pixels
    if channels == 1:
        grey: Pixels = np.round(pixels.mean(axis=0, keepdims=True)).astype(np.uint8)
        return grey
    repeated: Pixels = pixels[np.arange(channels) % pixels.shape[0]]
    return repeated


def _constants(values: Any, channels: int) -> torch.Tensor:
    """Return (1, channels, 1, 1) or (1, 1, 1, 1), fitted as `_with_channels` fits the pixels."""
    flat = torch.as_tensor(values, dtype=torch.float32).flatten()
    if channels == 1:
        flat = flat.mean().view(1)
    elif 1 < len(flat) != channels:
        flat = flat[torch.arange(channels) % len(flat)]
    return flat.view(1, -1, 1, 1)


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)
