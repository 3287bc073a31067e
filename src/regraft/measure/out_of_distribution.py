"""How unlike the training data an item is. Every score here is larger for what is less alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax
from scipy.stats import rankdata

from regraft.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBOURS = 10
_CHUNK_ROWS = 1024


def msp_scores(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return −max_c softmax(z)_c: larger where the classifier is less sure.

    Args:
        logits: Shape (N, C).

    Returns:
        Shape (N,), in [−1, −1/C].

    Reference:
        Hendrycks & Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution
        Examples, ICLR 2017.
    """
    return np.asarray(-softmax(logits.astype(np.float64), axis=1).max(axis=1))


def energy_scores(logits: NDArray[np.floating], *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return −T · log Σ_c exp(z_c / T): larger where all logits are low.

    Unlike softmax scores it sees a shift of all logits of an item.

    Args:
        logits: Shape (N, C).
        temperature: T > 0.

    Returns:
        Shape (N,).

    Raises:
        ShapeError: The temperature is not above 0.

    Reference:
        Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020, eq. 4.

    Example:
        >>> energy_scores(np.zeros((1, 4))).round(6)
        array([-1.386294])
    """
    if temperature <= 0:
        raise ShapeError(f"energy_scores: temperature {temperature} is not above 0.")
    lse = logsumexp(logits.astype(np.float64) / temperature, axis=1)
    return np.asarray(-temperature * lse)


def mahalanobis_scores(
    train: NDArray[np.floating], labels: NDArray[np.integer], features: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return min_c (x − μ_c)ᵀ Σ⁻¹ (x − μ_c), the squared distance to the nearest class.

    One covariance Σ of what is left of the training features without their class means,
    shrunk towards a sphere (Ledoit–Wolf), so that fewer items than dimensions are enough.

    Args:
        train: Training features, shape (n, d), n ≥ 2.
        labels: Their class indices, shape (n,).
        features: Of the items asked about, shape (N, d).

    Returns:
        Shape (N,), ≥ 0; larger = more out of distribution.

    Raises:
        ShapeError: The shapes do not fit together.

    Reference:
        Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, NeurIPS
        2018, eq. 2; Ledoit & Wolf, J. Multivariate Analysis 88 (2004).
    """
    return np.asarray(_to_classes(train, labels, features).min(axis=1), dtype=np.float64)


def relative_mahalanobis_scores(
    train: NDArray[np.floating], labels: NDArray[np.integer], features: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return min_c MD_c(x) − MD_0(x), MD_0 the squared distance to all training data as one class.

    Directions in which every item varies cancel, which helps where what is outside lies near.

    Args:
        train: Training features, shape (n, d), n ≥ 2.
        labels: Their class indices, shape (n,).
        features: Of the items asked about, shape (N, d).

    Returns:
        Shape (N,), of any sign; larger = more out of distribution.

    Raises:
        ShapeError: The shapes do not fit together.

    Reference:
        Ren et al., A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection, 2021,
        eq. 4.
    """
    background = _to_classes(train, np.zeros(len(train), np.intp), features)
    nearest = _to_classes(train, labels, features).min(axis=1)
    return np.asarray(nearest - background[:, 0], dtype=np.float64)


def knn_scores(
    train: NDArray[np.floating], features: NDArray[np.floating], *, k: int = NEIGHBOURS
) -> NDArray[np.float64]:
    """Return the distance to the k-th nearest training item, all rows scaled to length 1.

    Args:
        train: Training features, shape (n, d), n ≥ k.
        features: Of the items asked about, shape (N, d); not the training items themselves, each
            of which would be its own nearest.
        k: Which neighbour, ≥ 1.

    Returns:
        Shape (N,), in [0, 2]; larger = more out of distribution.

    Raises:
        ShapeError: The shapes do not fit together, or there are fewer than k training items.

    Reference:
        Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022.
    """
    _check_features(train, features)
    if not 1 <= k <= len(train):
        raise ShapeError(f"knn_scores: k is {k} and there are {len(train)} training items.")
    known, asked = _unit_rows(train), _unit_rows(features)
    chunks = [
        np.partition(cdist(asked[i : i + _CHUNK_ROWS], known), k - 1, axis=1)[:, k - 1]
        for i in range(0, len(asked), _CHUNK_ROWS)
    ]
    return np.concatenate(chunks) if chunks else np.empty(0)


def ood_auroc(inside: NDArray[np.floating], outside: NDArray[np.floating]) -> float:
    """Return P(score outside > score inside) + ½ P(equal): 1 separates, ½ is chance.

    Args:
        inside: Scores of items like the training data, shape (n,), n ≥ 1.
        outside: Scores of items unlike them, shape (m,), m ≥ 1.

    Raises:
        ShapeError: One of the two is empty.

    Example:
        >>> ood_auroc(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
        0.875
    """
    _check_scores(inside, outside)
    n, m = len(inside), len(outside)
    ranks = rankdata(np.concatenate([inside, outside]))[n:]
    return float((ranks.sum() - m * (m + 1) / 2) / (n * m))


def fpr_at_tpr(
    inside: NDArray[np.floating], outside: NDArray[np.floating], *, tpr: float = 0.95
) -> float:
    """Return the share of outside items let in by the threshold that lets in 95 % of the inside.

    The positives are the inside items, as in the literature on detection: the threshold is the
    smallest score that at least `tpr` of the inside items do not exceed.

    Args:
        inside: Scores of items like the training data, shape (n,), n ≥ 1.
        outside: Scores of items unlike them, shape (m,), m ≥ 1.
        tpr: Share of inside items to let in, in (0, 1].

    Returns:
        In [0, 1]; lower is better.

    Raises:
        ShapeError: One of the two is empty, or tpr is no share.
    """
    _check_scores(inside, outside)
    if not 0 < tpr <= 1:
        raise ShapeError(f"fpr_at_tpr: tpr {tpr} is no share of items. Give one in (0, 1].")
    rank = int(np.ceil(tpr * len(inside) - 1e-9))
    return float((outside <= np.sort(inside)[rank - 1]).mean())


def _to_classes(
    train: NDArray[np.floating], labels: NDArray[np.integer], features: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return squared Mahalanobis distances (N, classes) under one shrunk covariance."""
    from sklearn.covariance import ledoit_wolf

    _check_features(train, features)
    if labels.shape != train.shape[:1] or len(train) < 2:
        raise ShapeError(
            f"features {train.shape} and labels {labels.shape} do not fit. "
            "Give (n, d) and (n,) with n of at least 2."
        )
    _, of = np.unique(labels, return_inverse=True)
    wide = train.astype(np.float64)
    sums = np.zeros((int(of.max()) + 1, wide.shape[1]))
    np.add.at(sums, of, wide)
    means = sums / np.bincount(of)[:, None]
    covariance, _ = ledoit_wolf(wide - means[of], assume_centered=True)
    if not np.trace(covariance) > 0:
        raise ShapeError("the training features do not vary within classes. Give features that do.")
    root = np.linalg.cholesky(covariance)

    def whitened(x: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray(solve_triangular(root, x.astype(np.float64).T, lower=True).T)

    return np.asarray(cdist(whitened(features), whitened(means), metric="sqeuclidean"))


def _unit_rows(features: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = features.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(wide, length, out=np.zeros_like(wide), where=length > 0)
    return unit


def _check_features(train: NDArray[np.floating], features: NDArray[np.floating]) -> None:
    if train.ndim != 2 or features.ndim != 2 or train.shape[1] != features.shape[1]:
        raise ShapeError(
            f"training features {train.shape} and features {features.shape} do not fit. "
            "Give (n, d) and (N, d)."
        )


def _check_scores(inside: NDArray[np.floating], outside: NDArray[np.floating]) -> None:
    if inside.ndim != 1 or outside.ndim != 1 or not len(inside) or not len(outside):
        raise ShapeError(
            f"scores inside {inside.shape} and outside {outside.shape}: give at least one of each."
        )
