"""Corruptions of whole items, each with a seed of its own, whatever their kind."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from regraft.hashing import digest_json
from regraft.seeds import derive
from regraft.tasks.corruptions.images import IMAGE_CORRUPTIONS, SMALLEST_SIDE, corrupt_image
from regraft.tasks.corruptions.sounds import SOUND_CORRUPTIONS, corrupt_sound
from regraft.tasks.corruptions.texts import TEXT_CORRUPTIONS, corrupt_text

if TYPE_CHECKING:
    from regraft.tasks.items import Items

LARGEST_SIDE = 224
"""Images are first shrunk until their shorter side has so many pixels, as in ImageNet-C."""


def corruptions_of(kind: str, *, sample_rate: int | None = None) -> tuple[str, ...]:
    """Return the names of the corruptions that a kind of item has.

    Args:
        kind: ``image``, ``text`` or ``array``.
        sample_rate: Samples per second of arrays that are sounds; other arrays have no corruptions.
    """
    if kind == "array":
        return SOUND_CORRUPTIONS if sample_rate is not None else ()
    return IMAGE_CORRUPTIONS if kind == "image" else TEXT_CORRUPTIONS


def plain_inputs(items: Items) -> Items:
    """Return the items decoded and in memory, images brought to a size that can be corrupted.

    The shorter side of an image becomes at most 224 pixels and at least 8; the clean inputs that
    corrupted ones are compared with go through this too.
    """
    return replace(items, inputs=[_plain(items.read(row)) for row in range(len(items))])


def corrupted(
    plain: Items, name: str, *, severity: int, seed: int, sample_rate: int | None = None
) -> Items:
    """Return the items corrupted, in memory.

    Args:
        plain: What `plain_inputs` returns.
        name: One of `corruptions_of` the kind.
        severity: 1 to 5.
        seed: With an item's id it seeds that item's randomness, so that an item is corrupted in
            the same way whichever others are there.
        sample_rate: Samples per second, of sounds.

    Raises:
        ConfigError: No corruption has this name, or the severity is none of 1…5.
        ShapeError: An array is no sound.
    """

    def one(row: int) -> Any:
        value, own = plain.inputs[row], derive(seed, plain.ids[row])
        if plain.kind == "image":
            return corrupt_image(value, name, severity=severity, seed=own)
        if plain.kind == "text":
            return corrupt_text(value, name, severity=severity, seed=own)
        rate = {} if sample_rate is None else {"sample_rate": sample_rate}
        return corrupt_sound(value, name, severity=severity, seed=own, **rate)

    digests = tuple(digest_json([digest, name, severity, seed]) for digest in plain.digests)
    return replace(plain, inputs=[one(row) for row in range(len(plain))], digests=digests)


def _plain(value: Any) -> Any:
    """Return a decoded input; an image within the sides that corruptions take."""
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
        return value
    shorter = min(value.shape[:2])
    scale = min(max(1.0, SMALLEST_SIDE / shorter), LARGEST_SIDE / shorter)
    if scale == 1.0:
        return value
    height, width = (max(SMALLEST_SIDE, round(scale * side)) for side in value.shape[:2])
    image = Image.fromarray(value).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image, np.uint8)
