"""Features that hold so much of their labels, made on the spot."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Labels = NDArray[np.int64]


def items(
    seed: int, *, n: int = 60, d: int = 8, classes: int = 3, signal: float = 1.5
) -> tuple[Rows, Labels]:
    """Return Gaussian classes of equal size around random means."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    means = random.normal(size=(classes, d))
    return signal * means[labels] + random.normal(size=(n, d)), labels


def rotation(seed: int, d: int) -> Rows:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
