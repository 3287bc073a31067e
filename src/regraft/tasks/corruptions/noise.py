"""Noise of the sensor: Gaussian, shot, impulse. Images are float64 (H, W, C) in [0, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regraft.tasks.corruptions.severity import of_severity

if TYPE_CHECKING:
    from numpy.typing import NDArray


def gaussian_noise(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Add independent normal noise to every value: a sensor in low light."""
    sigma = of_severity((0.08, 0.12, 0.18, 0.26, 0.38), severity)
    return image + sigma * generator.normal(size=image.shape)


def shot_noise(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Count photons by Poisson's law, fewer with severity: bright parts are the noisier."""
    photons = of_severity((60.0, 25.0, 12.0, 5.0, 3.0), severity)
    return generator.poisson(image * photons) / photons


def impulse_noise(
    image: NDArray[np.float64], severity: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Replace values by black or white: errors of single bits."""
    share = of_severity((0.03, 0.06, 0.09, 0.17, 0.27), severity)
    draws = generator.random(image.shape)
    return np.where(draws < share / 2, 0.0, np.where(draws < share, 1.0, image))
