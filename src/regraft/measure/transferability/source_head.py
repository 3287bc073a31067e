"""Estimators from what a source head says of the target's items, or clusters in its stead."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from regraft.errors import ShapeError
from regraft.measure.transferability.labelled import class_indices, labelled, thin_svd

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VARIANCE_KEPT = 0.8
_PER_CLASS = 5
_MANY_CLASSES = 100
_ROUNDING = 1e-6


def nce(source_labels: NDArray[np.generic], labels: NDArray[np.generic]) -> float:
    """Negative conditional entropy −H(Y|Z) in nats, ≤ 0, larger is better.

    0 where the source label Z determines the target label Y, −H(Y) where it says nothing.

    Args:
        source_labels: The source head's class of each item, shape (n,).
        labels: The target's, shape (n,).

    Raises:
        ShapeError: The lengths differ, or there is a single item or target class.

    Reference:
        Tran et al., Transferability and Hardness of Supervised Classification Tasks, ICCV 2019,
        section 4.

    Example:
        >>> nce(np.array([3, 3, 8, 8]), np.array([0, 0, 1, 1]))
        0.0
    """
    if source_labels.shape != labels.shape:
        raise ShapeError(
            f"source labels {source_labels.shape} and labels {labels.shape} differ in shape."
        )
    return leep(_one_hot(source_labels), labels)


def leep(source_probabilities: NDArray[np.floating], labels: NDArray[np.generic]) -> float:
    """Log expected empirical prediction in nats, ≤ 0, larger is better.

    mean_i log Σ_z P̂(y_i|z) θ_i(z), P̂(y|z) the share of y in the source probability mass of z. With
    one-hot θ it is −H(Y|Z), with constant θ −H(Y).

    Args:
        source_probabilities: θ, the source head's probabilities, shape (n, Z), rows sum to 1.
        labels: The target's, shape (n,).

    Raises:
        ShapeError: The shapes do not fit, rows are no distributions, or there is a single item or
            class.

    Reference:
        Nguyen et al., LEEP: A New Measure to Evaluate Transferability of Learned Representations,
        ICML 2020, eq. 1–2.
    """
    classes, counts = class_indices(labels)
    theta = source_probabilities.astype(np.float64)
    if theta.ndim != 2 or len(theta) != len(labels):
        raise ShapeError(f"probabilities {theta.shape} do not fit {len(labels)} labels: (n, Z).")
    if not (theta >= 0).all() or not np.allclose(theta.sum(axis=1), 1.0, atol=1e-4):
        raise ShapeError("source probabilities must be ≥ 0 and sum to 1 in each row.")
    joint = np.zeros((len(counts), theta.shape[1]))
    np.add.at(joint, classes, theta)
    mass = joint.sum(axis=0)
    conditional = joint / np.where(mass > 0, mass, 1.0)  # (C, Z)
    expected = (conditional[classes] * theta).sum(axis=1)
    return min(0.0, float(np.log(expected).mean()))


def n_leep(features: NDArray[np.floating], labels: NDArray[np.generic], *, seed: int = 0) -> float:
    """LEEP over the clusters of a Gaussian mixture instead of a source head; ≤ 0, larger is better.

    Features are reduced to the principal axes that hold 80 % of the variance; the mixture has 5 C
    components (C from 100 classes on; never more than n / 2) with diagonal covariances in these
    axes: full ones have more parameters than some hundred items determine. Fitted by EM from
    k-means, at most 100 steps.

    Args:
        features: Shape (n, d).
        labels: Shape (n,).
        seed: Of k-means.

    Raises:
        ShapeError: The shapes do not fit, or there is a single item or class.

    Reference:
        Li et al., Ranking Neural Checkpoints, CVPR 2021, section 4.2.
    """
    data = labelled(features, labels)
    left, values, _ = thin_svd(data.x - data.x.mean(axis=0))
    if not len(values):
        return leep(np.ones((len(labels), 1)), labels)
    share = np.cumsum(values**2) / (values**2).sum()
    kept = int(np.searchsorted(share, _VARIANCE_KEPT)) + 1
    # In units of the first axis: the mixture's floor on variances is absolute.
    axes = left[:, :kept] * values[:kept] / values[0] * np.sqrt(len(labels))
    per_class = 1 if data.n_classes >= _MANY_CLASSES else _PER_CLASS
    components = max(1, min(per_class * data.n_classes, len(labels) // 2))
    mixture = GaussianMixture(
        components, covariance_type="diag", reg_covar=_ROUNDING, random_state=seed
    )
    with warnings.catch_warnings():
        # EM cut at 100 steps, and k-means on repeated items, still give a mixture to score by.
        warnings.simplefilter("ignore", ConvergenceWarning)
        posterior: NDArray[np.float64] = mixture.fit(axes).predict_proba(axes)
    return leep(posterior / posterior.sum(axis=1, keepdims=True), labels)


def _one_hot(labels: NDArray[np.generic]) -> NDArray[np.float64]:
    _, places = np.unique(labels, return_inverse=True)
    indicators: NDArray[np.float64] = np.eye(int(places.max(initial=0)) + 1)[places.reshape(-1)]
    return indicators
