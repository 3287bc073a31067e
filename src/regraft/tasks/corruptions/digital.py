"""Contrast, elastic, pixelate, JPEG. Images are float64 (H, W, C) in [0, 1]."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from regraft.tasks.corruptions.blur import displaced, side
from regraft.tasks.corruptions.severity import of_severity

if TYPE_CHECKING:
    from numpy.typing import NDArray


def contrast(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Pull every channel towards its mean."""
    kept = of_severity((0.4, 0.3, 0.2, 0.1, 0.05), severity)
    mean = image.mean(axis=(0, 1), keepdims=True)
    return np.asarray(mean + kept * (image - mean))


def elastic(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Stretch and squeeze small regions by a smooth random displacement."""
    length = of_severity((0.012, 0.02, 0.03, 0.042, 0.056), severity) * side(image)
    shape = image.shape[:2]
    sigma = 0.06 * side(image)
    fields = [gaussian_filter(generator.normal(size=shape), sigma) for _ in range(2)]
    scale = length * np.sqrt(2) / np.sqrt(sum((field**2).mean() for field in fields))
    return displaced(image, scale * fields[0], scale * fields[1])


def pixelate(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Show larger pixels, each the mean of its cell. Nothing is random."""
    height, width = image.shape[:2]
    # At a few pixels the shares of two severities round to one size: each takes at least one less.
    sizes = [(height, width)]
    for share in (0.6, 0.5, 0.4, 0.3, 0.25)[:severity]:
        sizes.append(
            (
                max(1, min(round(height * share), sizes[-1][0] - 1)),
                max(1, min(round(width * share), sizes[-1][1] - 1)),
            )
        )
    return averaged(averaged(image, sizes[-1][0], axis=0), sizes[-1][1], axis=1)


def averaged(image: NDArray[np.float64], n_cells: int, *, axis: int) -> NDArray[np.float64]:
    """Return the image with every pixel replaced by the mean of its cell along an axis.

    Means of cells, unlike a resized image enlarged again, do not shift where the size of the image
    is no multiple of that of a cell.
    """
    n = image.shape[axis]
    starts = -(-np.arange(n_cells) * n // n_cells)
    lengths = np.diff(np.append(starts, n))
    shape = [1, 1, 1]
    shape[axis] = n_cells
    means = np.add.reduceat(image, starts, axis=axis) / lengths.reshape(shape)
    return np.repeat(means, lengths, axis=axis)


def jpeg(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Store as JPEG of low quality and read again. Nothing is random."""
    quality = of_severity((25, 18, 13, 9, 5), severity)
    whole = np.rint(255 * image).astype(np.uint8)
    picture = Image.fromarray(whole if image.shape[2] == 3 else whole[..., 0])
    stored = BytesIO()
    picture.save(stored, format="JPEG", quality=quality)
    read = np.asarray(Image.open(stored), dtype=np.float64) / 255
    return read.reshape(image.shape)
