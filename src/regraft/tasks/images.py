"""Decoding images of any kind into RGB, in bounded memory."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from regraft.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PIXELS = 80_000_000
"""Larger images are refused from their header alone."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".jp2", ".avif"}
)

REDUCED = "large JPEG: read at reduced size"
_REDUCED_SIDE = 1024  # far above what backbones take; JPEG halves sides for free down to it

_ORIENTATION = 0x0112
_SCALES = (1.0, 255.0, 4095.0, 65535.0)  # masks and shares, 8 bits, 12-bit cameras, 16 bits

# What Pillow raises on damaged files, as found by flipping and cutting bytes of all its formats.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)


def decode(source: object) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    """Return an image as uint8 RGB (H, W, 3), and what had to be converted.

    JPEGs of 2,048 pixels or more on both sides are read at a half, a quarter or an eighth of it.
    Other than 8-bit values are divided by 1, 255, 4,095 or 65,535, the least that none exceeds.

    Args:
        source: A path, bytes of a file (an array of uint8 with one axis counts as such), a Pillow
            image, or an array of numbers, shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    Raises:
        DataError: It is not an image, is damaged, or has too many pixels.
    """
    if isinstance(source, np.ndarray) and (source.ndim != 1 or source.dtype != np.uint8):
        return _from_array(source)
    where = str(source) if isinstance(source, str | Path) else "image"
    try:
        if isinstance(source, Image.Image):
            return _to_rgb(source, where)
        if isinstance(source, bytes | np.ndarray):
            source = io.BytesIO(bytes(source))
        with Image.open(source) as image:  # type: ignore[arg-type]
            return _to_rgb(image, where)
    except FileNotFoundError as error:
        raise DataError("there is no such file.", where=where) from error
    except UnidentifiedImageError as error:
        raise DataError("not an image that can be read.", where=where) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = re.search(r"\d+", str(error))
        size = f"{int(pixels[0]):,} pixels" if pixels else "the image"
        raise DataError(_too_large(size), where=where) from error
    except _DAMAGE as error:
        raise DataError(f"the image is damaged ({error}).", where=where) from error


def size_of(source: str | Path) -> tuple[int, int]:
    """Return (width, height) from a file's header."""
    with Image.open(source) as image:
        return image.size


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings of odd metadata; what it cannot decode it raises.

    Not to be entered from several threads at once: the filters of warnings belong to the process.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _to_rgb(image: Image.Image, where: str) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(_too_large(f"{image.width:,} × {image.height:,} pixels"), where=where)
    notes: list[str] = []
    if getattr(image, "n_frames", 1) > 1:  # only formats with frames have it
        image.seek(0)
        notes.append("several frames: the first")
    if image.format == "JPEG" and min(image.size) >= 2 * _REDUCED_SIDE:
        image.draft("RGB", (_REDUCED_SIDE, _REDUCED_SIDE))
        notes.append(REDUCED)
    turn = image.getexif().get(_ORIENTATION, 1)
    turned = ImageOps.exif_transpose(image)
    if turn in range(2, 9):
        notes.append("turned by its EXIF orientation")
    if turned.mode.startswith("I") or turned.mode == "F":
        notes.append("16 or 32 bits scaled to 8")
        return _from_array(np.asarray(turned))[0], tuple(notes)
    if turned.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in turned.info:
        notes.append("transparent: over white")
        rgba = turned.convert("LA" if turned.mode == "La" else "RGBA").convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        turned = Image.alpha_composite(ground, rgba)
    elif turned.mode != "RGB":
        notes.append(f"{turned.mode} to RGB")
    return np.asarray(turned.convert("RGB"), np.uint8), tuple(notes)


def _from_array(array: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or 0 in array.shape:
        raise DataError(
            "an image array has shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), "
            f"not {array.shape}. Put the channels last."
        )
    notes: tuple[str, ...] = ()
    if array.dtype != np.uint8:
        notes = (f"{array.dtype} scaled to 8 bits",)
        array = np.round(np.clip(_to_unit(array), 0.0, 1.0) * 255.0).astype(np.uint8)
    if array.shape[-1] == 4:
        alpha = array[..., 3:].astype(np.uint32)
        array = ((array[..., :3] * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)
    if array.shape[-1] == 1:
        array = np.repeat(array, 3, axis=-1)
    return np.ascontiguousarray(array), notes


def _to_unit(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return values in [0, 1]; the scale follows from the type and the greatest value."""
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError("an image holds NaN or infinity. Replace these values.")
    peak = float(values.max())
    scaled: np.ndarray[Any, Any] = values / next((one for one in _SCALES if peak <= one), peak)
    return scaled


def _too_large(size: str) -> str:
    most = MAX_PIXELS // 1_000_000
    return f"{size} are too many; at most {most} megapixels are decoded. Shrink it."
