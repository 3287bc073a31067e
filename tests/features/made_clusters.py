"""Features around class centres."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Data = tuple[NDArray[Any], NDArray[np.int64]]


def clusters(
    seed: int, *, n: int = 120, width: int = 6, n_classes: int = 3, apart: float = 1.5
) -> Data:
    """Return features (n, width) around class centres, on scales and origins of their own."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    centres = np.random.default_rng(n_classes).normal(size=(n_classes, width))
    x = random.normal(size=(n, width)) + apart * centres[labels]
    return x * np.geomspace(0.1, 10, width) + 5, labels
