"""Snow, frost, fog, brightness. Images are float64 (H, W, C) in [0, 1].

Flakes, ice and mist are computed, not photographed: no picture is shipped for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import map_coordinates

from regraft.tasks.corruptions.blur import convolved, line, side
from regraft.tasks.corruptions.severity import of_severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GREY = np.array([0.299, 0.587, 0.114])


def snow(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Fade colours towards white and let streaked flakes fall before them."""
    density = of_severity((0.03, 0.05, 0.075, 0.105, 0.14), severity)
    kept = of_severity((0.9, 0.8, 0.7, 0.62, 0.55), severity)
    shape = image.shape[:2]
    grains = cloud(shape, max(1.0, side(image) / 75), generator)
    flakes = np.clip((grains - np.quantile(grains, 1 - density)) / grains.std(), 0.0, 1.0)
    streak = line(1.0 + 0.05 * side(image), generator.uniform(np.pi / 4, 3 * np.pi / 4))
    fallen = 1.5 * convolved(flakes[..., None], streak)
    grey = grey_of(image)[..., None]
    faded = kept * image + (1 - kept) * np.maximum(image, 0.5 + 0.5 * grey)
    return faded + fallen + fallen[::-1, ::-1]


def frost(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Lay ice over the image: bright ridges of a computed texture, and what is between dims."""
    kept = of_severity((0.9, 0.82, 0.74, 0.67, 0.6), severity)
    ice = of_severity((0.3, 0.42, 0.54, 0.64, 0.74), severity)
    texture = plasma(image.shape[:2], generator, roughness=0.6)
    ridges = (1 - np.abs(2 * texture - 1)) ** 3
    crystals = ridges * plasma(image.shape[:2], generator, roughness=0.7)
    crystals /= crystals.max()
    tint = np.array([0.85, 0.93, 1.0]) if image.shape[2] == 3 else np.ones(1)
    return kept * image + ice * crystals[..., None] * tint


def fog(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Add mist of uneven thickness and scale back to the range: contrast is lost."""
    thickness = of_severity((0.8, 1.2, 1.7, 2.3, 3.0), severity)
    mist = thickness * plasma(image.shape[:2], generator, roughness=0.5)[..., None]
    brightest = max(float(image.max()), 1e-3)
    return np.asarray((image + mist) * brightest / (brightest + thickness))


def brightness(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Raise the value (the largest of the colours) and keep hue and saturation."""
    added = of_severity((0.1, 0.2, 0.3, 0.4, 0.5), severity)
    value = image.max(axis=2, keepdims=True)
    raised = np.minimum(1.0, value + added)
    factor = np.divide(raised, value, out=np.zeros_like(value), where=value > 0)
    return np.asarray(np.where(value > 0, image * factor, raised))


def grey_of(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the luminance (H, W) of an image of one or three channels."""
    return np.asarray(image @ _GREY if image.shape[2] == 3 else image[..., 0])


def cloud(
    shape: tuple[int, ...], grain: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return normal noise (H, W) whose grains are so many pixels wide."""
    height, width = (int(np.ceil(n / grain)) + 2 for n in shape)
    coarse = generator.normal(size=(height, width))
    at = np.stack(np.meshgrid(*(np.arange(n) / grain for n in shape), indexing="ij"))
    return np.asarray(map_coordinates(coarse, at, order=1))


def plasma(
    shape: tuple[int, ...], generator: np.random.Generator, *, roughness: float
) -> NDArray[np.float64]:
    """Return a cloudy texture (H, W) from 0 to 1: octaves of noise, each finer and fainter.

    Args:
        shape: Height and width.
        generator: Source of the noise.
        roughness: How strong each octave is beside the one before, in (0, 1).
    """
    total, strength, grain = np.zeros(shape), 1.0, max(shape) / 2
    while grain >= 1:
        total += strength * cloud(shape, grain, generator)
        strength, grain = strength * roughness, grain / 2
    total -= total.min()
    return np.asarray(total / total.max())
