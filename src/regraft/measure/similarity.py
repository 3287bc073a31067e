"""How alike two representations of the same items are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regraft.errors import ShapeError

_FEWEST = 4


def cka_linear(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return linear CKA, HSIC unbiased: 1 for features equal up to rotation and scale.

    Args:
        first: Shape (n, d₁), n ≥ 4.
        second: Shape (n, d₂), the same items.

    Returns:
        A number ≤ about 1, about 0 for independent features; nan where one has no variance.

    Raises:
        ShapeError: The number of rows differs, or is below 4.

    Reference:
        Kornblith et al., ICML 2019, eq. 4; Song et al., JMLR 13 (2012), eq. 5.
    """
    if len(first) != len(second) or len(first) < _FEWEST or first.ndim != 2 or second.ndim != 2:
        raise ShapeError(f"features {first.shape} and {second.shape} must share n ≥ 4 rows.")
    kernels = [_gram(first), _gram(second)]
    cross = _hsic(*kernels)
    scale = _hsic(kernels[0], kernels[0]) * _hsic(kernels[1], kernels[1])
    return float(cross / np.sqrt(scale)) if scale > 0 else float("nan")


def _gram(features: NDArray[np.floating]) -> NDArray[np.float64]:
    centred = (features - features.mean(axis=0)).astype(np.float64)
    gram: NDArray[np.float64] = centred @ centred.T
    np.fill_diagonal(gram, 0.0)
    return gram


def _hsic(k: NDArray[np.float64], m: NDArray[np.float64]) -> float:
    """Unbiased HSIC of two Gram matrices with zero diagonals."""
    n = len(k)
    trace = float((k * m).sum())
    product = float(k.sum() * m.sum()) / ((n - 1) * (n - 2))
    mixed = 2.0 / (n - 2) * float(k.sum(axis=0) @ m.sum(axis=0))
    return (trace + product - mixed) / (n * (n - 3))
