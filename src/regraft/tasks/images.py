"""Decoding images of any kind into RGB, in bounded memory."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from regraft.errors import DataError

MAX_PIXELS = 80_000_000
"""Larger images are refused from their header alone."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"}
)


def decode(source: object) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    """Return an image as uint8 RGB (H, W, 3), and what had to be converted.

    Args:
        source: A path, bytes of a file, a Pillow image, or an array: uint8 or other numbers, (H, W),
            (H, W, 1), (H, W, 3) or (H, W, 4); floats are taken to lie in [0, 1].

    Raises:
        DataError: It is not an image, is damaged, or has too many pixels.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    where = str(source) if isinstance(source, str | Path) else "image"
    try:
        if isinstance(source, Image.Image):
            return _to_rgb(source, where)
        if isinstance(source, bytes):
            source = io.BytesIO(source)
        with Image.open(source) as image:  # type: ignore[arg-type]
            return _to_rgb(image, where)
    except UnidentifiedImageError as error:
        raise DataError("not an image that can be read. Remove or replace it.", where=where) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(_too_large(str(error)), where=where) from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise DataError(
            f"the image is damaged ({error}). Remove or replace it.", where=where
        ) from error


def size_of(source: str | Path) -> tuple[int, int]:
    """Return (width, height) from a file's header."""
    with Image.open(source) as image:
        return image.size


def _to_rgb(image: Image.Image, where: str) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(_too_large(f"{image.width} × {image.height}"), where=where)
    notes: list[str] = []
    if getattr(image, "is_animated", False):  # only formats with frames have it
        image.seek(0)
        notes.append("animated: first frame")
    turned = ImageOps.exif_transpose(image)
    if turned.size != image.size or image.getexif().get(0x0112, 1) != 1:
        notes.append("turned by its EXIF orientation")
    if turned.mode.startswith("I") or turned.mode == "F":
        notes.append("16 or 32 bits scaled to 8")
        return _from_array(_to_unit(np.asarray(turned)))[0], tuple(notes)
    if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
        notes.append("transparent: over white")
        rgba = turned.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        turned = Image.alpha_composite(ground, rgba)
    elif turned.mode != "RGB":
        notes.append(f"{turned.mode} to RGB")
    return np.asarray(turned.convert("RGB"), np.uint8), tuple(notes)


def _from_array(array: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4):
        raise DataError(
            f"an image array has shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not {array.shape}."
        )
    notes: tuple[str, ...] = ()
    if array.dtype != np.uint8:
        notes = (f"{array.dtype} scaled to 8 bits",)
        values = _to_unit(array)
        array = np.round(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    if array.shape[-1] == 4:
        alpha = array[..., 3:].astype(np.uint16)
        blended = (array[..., :3] * alpha + 255 * (255 - alpha)) // 255
        array = blended.astype(np.uint8)
    if array.shape[-1] == 1:
        array = np.repeat(array, 3, axis=-1)
    return np.ascontiguousarray(array), notes


def _to_unit(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return values in [0, 1]: integers over their type's range, floats as they are."""
    if array.dtype == np.uint16 or (array.dtype.kind in "iu" and array.max(initial=0) > 255):
        return array.astype(np.float64) / 65535.0
    if array.dtype.kind in "iu":
        return array.astype(np.float64) / 255.0
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError("an image holds NaN or infinity. Replace these values.")
    peak = float(values.max(initial=0.0))
    return values / (1.0 if peak <= 1.0 else 255.0 if peak <= 255.0 else peak)


def _too_large(size: str) -> str:
    return f"{size} is too large; at most {MAX_PIXELS // 1_000_000} megapixels are decoded. Shrink it."
