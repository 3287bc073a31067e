"""The fifteen image corruptions of ImageNet-C, at any size from 8 pixels.

The kinds and the five severities are those of the benchmark; the implementations and strengths are
this project's own, scaled to the size of the image. Errors measured with them compare models with
each other, not with published values.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import ShapeError
from regraft.seeds import numpy_generator
from regraft.tasks.corruptions import blur, digital, noise, weather
from regraft.tasks.corruptions.severity import check_corruption

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST_SIDE = 8

_BY_NAME = MappingProxyType(
    {
        "gaussian_noise": noise.gaussian_noise,
        "shot_noise": noise.shot_noise,
        "impulse_noise": noise.impulse_noise,
        "defocus_blur": blur.defocus_blur,
        "glass_blur": blur.glass_blur,
        "motion_blur": blur.motion_blur,
        "zoom_blur": blur.zoom_blur,
        "snow": weather.snow,
        "frost": weather.frost,
        "fog": weather.fog,
        "brightness": weather.brightness,
        "contrast": digital.contrast,
        "elastic": digital.elastic,
        "pixelate": digital.pixelate,
        "jpeg": digital.jpeg,
    }
)
IMAGE_CORRUPTIONS = tuple(_BY_NAME)


def corrupt_image(
    image: NDArray[np.uint8], name: str, *, severity: int, seed: int
) -> NDArray[np.uint8]:
    """Return a corrupted copy of an image; the same arguments give the same pixels.

    Severity does not enter the randomness: the severities of one seed share their grains and
    directions as far as the kind allows. Give each item another seed.

    Args:
        image: uint8, shape (H, W, C), C of 1 or 3, both sides at least 8.
        name: One of `IMAGE_CORRUPTIONS`.
        severity: 1 to 5.
        seed: Of the randomness.

    Returns:
        uint8 of the same shape.

    Raises:
        ConfigError: No corruption has this name, or the severity is none of 1…5.
        ShapeError: The image is not uint8 (H, W, C), or is smaller.

    Reference:
        Hendrycks & Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
        Perturbations, ICLR 2019, section 3 and appendix B.

    Example:
        >>> grey = np.full((8, 8, 1), 100, np.uint8)
        >>> int(corrupt_image(grey, "brightness", severity=2, seed=0)[0, 0, 0])
        151
    """
    check_corruption(name, IMAGE_CORRUPTIONS, severity)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ShapeError(
            f"corrupt_image: {image.dtype} {image.shape} is no image. "
            "Give uint8 of shape (H, W, 1) or (H, W, 3)."
        )
    if min(image.shape[:2]) < SMALLEST_SIDE:
        raise ShapeError(
            f"corrupt_image: {image.shape[0]} × {image.shape[1]} pixels are too few. "
            f"Give at least {SMALLEST_SIDE} on each side."
        )
    generator = numpy_generator(seed, "corruption", name)
    corrupted = _BY_NAME[name](image.astype(np.float64) / 255, severity, generator)
    return np.asarray(np.rint(255 * np.clip(corrupted, 0.0, 1.0)), dtype=np.uint8)
