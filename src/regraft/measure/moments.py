"""Distances between domains by their first two moments: CORAL and Fréchet."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import DataError, ShapeError
from regraft.measure.kernels import two_samples

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from regraft.measure.kernels import Floats


def coral(x: ArrayLike, y: ArrayLike) -> float:
    """Return the CORAL distance ‖C_x − C_y‖²_F / (4 d²) of the unbiased covariances; no means.

    Args:
        x: Features of one domain, shape (n, d), n ≥ 2.
        y: Features of the other, shape (m, d), m ≥ 2.

    Raises:
        ShapeError: The widths differ, or fewer than 2 rows.
        DataError: A number is not finite.

    Reference:
        Sun & Saenko, Deep CORAL, ECCV 2016 workshops, eq. 1.

    Example:
        >>> coral([[-1.0], [1.0]], [[-2.0], [2.0]])  # variances 2 and 8
        9.0
    """
    first, second = two_samples(x, y)
    difference = covariance(first) - covariance(second)
    return float((difference**2).sum() / (4 * first.shape[1] ** 2))


def frechet(x: ArrayLike, y: ArrayLike, *, shrink: bool | None = None) -> float:
    """Return the squared Fréchet distance of the Gaussians fitted to two samples.

    ‖μ_x − μ_y‖² + tr(Σ_x + Σ_y − 2 (Σ_x Σ_y)^½), covariances over n − 1, in float64. Of samples of
    one law with variance 1 it is about (d² + 5 d) (1/n + 1/m) / 4: compare at equal n only.

    Args:
        x: Features of one domain, shape (n, d), n ≥ 2.
        y: Features of the other, shape (m, d), m ≥ 2.
        shrink: Shrink covariances towards a multiple of the identity by Ledoit and Wolf's rule.
            Default: that of a sample with n ≤ d, whose covariance has no full rank.

    Raises:
        ShapeError: The widths differ, or fewer than 2 rows.
        DataError: A number is not finite.

    Reference:
        Dowson & Landau, J. Multivariate Anal. 12 (1982), eq. 16; Heusel et al., NeurIPS 2017,
        eq. 6; Ledoit & Wolf, J. Multivariate Anal. 88 (2004), eq. 14.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(20, 3))
        >>> round(frechet(rows, rows + [2.0, 0.0, 0.0]), 9)
        4.0
    """
    samples = [one.astype(np.float64) for one in two_samples(x, y)]
    moved = float(((samples[0].mean(axis=0) - samples[1].mean(axis=0)) ** 2).sum())
    roots = [_fitted_root(one, shrink=shrink) for one in samples]
    return moved + bures2(roots[0], roots[1])


def frechet_gaussians(
    mean_x: ArrayLike, covariance_x: ArrayLike, mean_y: ArrayLike, covariance_y: ArrayLike
) -> float:
    """Return the squared Fréchet distance, which is W₂², of two Gaussians given by their moments.

    Args:
        mean_x: Shape (d,).
        covariance_x: Symmetric, positive semi-definite, shape (d, d); may be singular.
        mean_y: Shape (d,).
        covariance_y: Likewise.

    Raises:
        ShapeError: The shapes do not fit together.
        DataError: A covariance is not symmetric and positive semi-definite.

    Reference:
        Dowson & Landau, J. Multivariate Anal. 12 (1982), eq. 16.

    Example:
        >>> round(frechet_gaussians([0.0], [[1.0]], [2.0], [[9.0]]), 9)
        8.0
    """
    means = [np.asarray(one, dtype=np.float64) for one in (mean_x, mean_y)]
    covariances = [np.asarray(one, dtype=np.float64) for one in (covariance_x, covariance_y)]
    d = len(means[0]) if means[0].ndim else 0
    if {one.shape for one in means} != {(d,)} or {one.shape for one in covariances} != {(d, d)}:
        shapes = [one.shape for one in (*means, *covariances)]
        raise ShapeError(f"means and covariances {shapes} must be (d,) and (d, d).")
    roots = [_root(one) for one in covariances]
    return float(((means[0] - means[1]) ** 2).sum()) + bures2(roots[0], roots[1])


def bures2(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) from factors R with Σ = RᵀR, of any number of rows.

    The eigenvalues of Σ₁Σ₂ are the squared singular values of R₁R₂ᵀ: exact, singular or not.
    """
    common = float(np.linalg.svd(first @ second.T, compute_uv=False).sum())
    return max(float((first**2).sum() + (second**2).sum()) - 2.0 * common, 0.0)


def covariance(rows: Floats) -> NDArray[np.float64]:
    """Return the covariance over n − 1, shape (d, d); of a single row, zeros."""
    centred = rows - rows.mean(axis=0)
    product: NDArray[np.float64] = (centred.T @ centred).astype(np.float64)
    return product / max(len(rows) - 1, 1)


def factor_of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return R with RᵀR the covariance over n − 1, of min(n, d) rows; of a single row, zeros."""
    triangle = np.linalg.qr(rows - rows.mean(axis=0), mode="r")
    return np.asarray(triangle) / sqrt(max(len(rows) - 1, 1))


def _fitted_root(rows: NDArray[np.float64], *, shrink: bool | None) -> NDArray[np.float64]:
    n, d = rows.shape
    if not (n <= d if shrink is None else shrink):
        return factor_of(rows)
    from sklearn.covariance import ledoit_wolf_shrinkage

    share = float(ledoit_wolf_shrinkage(rows))
    found = covariance(rows)
    level = float(np.trace(found)) / d
    return _root((1.0 - share) * found + share * level * np.eye(d))


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return R with RᵀR a positive semi-definite matrix."""
    if not np.allclose(matrix, matrix.T, rtol=1e-8, atol=1e-12):
        raise DataError(
            "a covariance is not symmetric. Give (A + Aᵀ) / 2 if that is what is meant."
        )
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < -1e-8 * max(float(np.abs(values).max()), 1e-300):
        raise DataError(
            f"a covariance has the negative eigenvalue {values[0]:.3g}. Give a covariance."
        )
    root: NDArray[np.float64] = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    return root
