"""Blur of the lens, of glass, of motion, of zooming. Images are float64 (H, W, C) in [0, 1].

Radii are shares of the shorter side plus half a pixel or one, so that the mildest is felt at 8
pixels and the strongest does not wipe out a small image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.signal import fftconvolve

from regraft.tasks.corruptions.severity import of_severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SUBPIXELS = 8
_ZOOM_STEPS = 12


def defocus_blur(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Spread every point over a disc: a lens out of focus. Nothing is random."""
    share = of_severity((3.0, 4.0, 6.0, 8.0, 10.0), severity) / 224
    return convolved(image, disc(share * side(image) + 0.5))


def glass_blur(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Take every pixel from a random place nearby, between two slight blurs: frosted glass."""
    share = of_severity((1.0, 1.7, 2.5, 3.3, 4.5), severity) / 224
    reach = share * side(image) + of_severity((0.3, 0.4, 0.5, 0.65, 0.8), severity)
    sigma = 0.3 + 0.5 * share * side(image)
    blurred = gaussian_filter(image, (sigma, sigma, 0), mode="reflect")
    shape = image.shape[:2]
    moved = displaced(blurred, *(generator.uniform(-reach, reach, size=(2, *shape))))
    return np.asarray(gaussian_filter(moved, (sigma, sigma, 0), mode="reflect"))


def motion_blur(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Smear along a line in a random direction: a moving camera."""
    share = of_severity((6.0, 10.0, 14.0, 19.0, 25.0), severity) / 224
    return convolved(image, line(share * side(image) + 1.0, generator.uniform(0.0, np.pi)))


def zoom_blur(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Average the image with enlargements of itself: a camera that comes nearer."""
    most = of_severity((1.11, 1.16, 1.21, 1.26, 1.33), severity)
    rows, columns = np.indices(image.shape[:2], dtype=np.float64)
    rows, columns = rows - rows.mean(), columns - columns.mean()
    total = np.zeros_like(image)
    for factor in np.linspace(1.0, most, _ZOOM_STEPS):
        total += displaced(image, rows * (1 / factor - 1), columns * (1 / factor - 1))
    return total / _ZOOM_STEPS


def side(image: NDArray[np.float64]) -> int:
    """Return the shorter side in pixels."""
    return int(min(image.shape[:2]))


def displaced(
    image: NDArray[np.float64], down: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the image read at every place plus a displacement in pixels, linearly between pixels.

    Args:
        image: Shape (H, W, C).
        down: Shape (H, W).
        right: Shape (H, W).
    """
    rows, columns = np.indices(image.shape[:2], dtype=np.float64)
    at = np.stack([rows + down, columns + right])
    channels = [
        map_coordinates(image[..., c], at, order=1, mode="mirror") for c in range(image.shape[2])
    ]
    return np.stack(channels, axis=-1)


def convolved(image: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the image (H, W, C) convolved with a kernel of odd sides, mirrored at its edges."""
    up, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = np.pad(image, ((up, up), (left, left), (0, 0)), mode="symmetric")
    return np.asarray(fftconvolve(padded, kernel[..., None], mode="valid", axes=(0, 1)))


def disc(radius: float) -> NDArray[np.float64]:
    """Return a disc as a kernel that sums to 1, each pixel weighted by how far it is covered."""
    reach = int(np.ceil(radius - 0.5))
    fine = (np.arange((2 * reach + 1) * _SUBPIXELS) + 0.5) / _SUBPIXELS - reach - 0.5
    distance = np.sqrt(fine[:, None] ** 2 + fine[None, :] ** 2)
    # A soft edge of one subpixel: a slightly larger radius must give a slightly larger disc.
    inside = np.clip((radius - distance) * _SUBPIXELS + 0.5, 0.0, 1.0)
    blocks = inside.reshape(2 * reach + 1, _SUBPIXELS, 2 * reach + 1, _SUBPIXELS)
    covered = blocks.sum(axis=(1, 3))
    return np.asarray(covered / covered.sum())


def line(length: float, angle: float) -> NDArray[np.float64]:
    """Return a line through the centre, `length` pixels to both sides together, as a kernel."""
    reach = int(np.ceil(length / 2)) + 1
    n = max(2, int(np.ceil(length * _SUBPIXELS)))
    along = np.linspace(-length / 2, length / 2, n)
    rows, columns = reach + along * np.sin(angle), reach + along * np.cos(angle)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - np.abs(rows - top - dy)) * (1 - np.abs(columns - left - dx))
            np.add.at(kernel, (top + dy, left + dx), weight)
    return np.asarray(kernel / kernel.sum())
