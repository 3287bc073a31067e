"""Standardised features, read in blocks, so that no copy outgrows the memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regraft.errors import RegraftError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from regraft.features.rows import Features

BLOCK_NUMBERS = 1 << 22
"""Numbers of a block: 16 MiB in float32, which the processor's cache holds at least in part."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Mean and deviation of features; a feature that never varies has deviation 1.

    Attributes:
        mean: Shape (d,), float64.
        scale: Shape (d,), float64, > 0.
        varies: Shape (d,), whether the feature varies.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    varies: NDArray[np.bool_]

    def standardise(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return features (n, d) less their mean, over their deviation, in float32."""
        standardised = features.astype(np.float64)
        standardised -= self.mean
        standardised /= self.scale
        return standardised.astype(np.float32)


def moments(features: Features, labels: NDArray[np.integer]) -> Moments:
    """Return the moments of features (n, d), in two passes over blocks of rows.

    Raises:
        ShapeError: Rows and labels do not fit, or there are none.
        RegraftError: A feature is infinite or no number.
    """
    if len(features.shape) != 2 or len(features) != len(labels) or not len(labels):
        raise ShapeError(
            f"features {features.shape} and labels {labels.shape} do not fit: (n, d) and (n,) with "
            "n ≥ 1 are needed."
        )
    n, width = features.shape
    mean, squares = np.zeros(width), np.zeros(width)
    for rows in blocks(n, width):
        mean += features[rows].sum(axis=0, dtype=np.float64) / n
    if not np.isfinite(mean).all():
        raise RegraftError(
            f"{int((~np.isfinite(mean)).sum())} of {width} features are not finite. Look for "
            "infinite or missing numbers in the inputs or the backbone's weights."
        )
    for rows in blocks(n, width):
        apart = features[rows] - mean
        squares += np.square(apart, out=apart).sum(axis=0) / n
    deviation = np.sqrt(squares)
    varies = deviation > 1e-8 * max(1.0, float(deviation.max(initial=0.0)))
    return Moments(mean, np.where(varies, deviation, 1.0), varies)


def blocks(n: int, width: int) -> Iterator[slice]:
    """Yield slices that cover n rows of `width` numbers, a block of numbers each."""
    step = max(1, BLOCK_NUMBERS // max(1, width))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def one_hot(labels: NDArray[np.integer], n_classes: int) -> NDArray[np.float64]:
    """Return labels (n,) as rows (n, C) of one 1 each."""
    rows = np.zeros((len(labels), n_classes))
    rows[np.arange(len(labels)), labels] = 1.0
    return rows
