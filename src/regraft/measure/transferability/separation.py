"""Estimators from how far the classes lie apart: TransRate and GBC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from regraft.measure.transferability.labelled import labelled, thin_svd

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DISTORTION = 1e-4
_AXES = 64
_LEAST_VARIANCE = 1e-6

Covariance = Literal["spherical", "diagonal"]


def transrate(features: NDArray[np.floating], labels: NDArray[np.generic]) -> float:
    """TransRate: coding rate of all features less the mean rate of a class's, larger is better.

    R(F) = ½ log det(I + Fᵀ F / (n ε)) in nats, ε = 1e-4, F centred over all items; the mean over
    classes is unweighted. A rotation leaves it as it is; it depends on the scale.

    Args:
        features: Shape (n, d).
        labels: Shape (n,).

    Raises:
        ShapeError: The shapes do not fit, or there is a single item or class.

    Reference:
        Huang et al., Frustratingly Easy Transferability Estimation, ICML 2022, eq. 4.
    """
    data = labelled(features, labels)
    left, values, _ = thin_svd(data.x - data.x.mean(axis=0))
    centred = left * values  # rotated, the directions without variance left out
    rates = [_rate(centred[data.classes == one]) for one in range(data.n_classes)]
    return _rate(centred) - float(np.mean(rates))


def gbc(
    features: NDArray[np.floating],
    labels: NDArray[np.generic],
    *,
    covariance: Covariance = "spherical",
) -> float:
    """Gaussian Bhattacharyya coefficient: −Σ_{i≠j} exp(−D_ij), in [−C(C − 1), 0].

    D_ij = ⅛ Δᵀ Σ̄⁻¹ Δ + ½ ln(|Σ̄| / √(|Σ_i||Σ_j|)), Σ̄ the mean of the two classes' covariances, in
    at most 64 principal axes. Larger (nearer 0) is better: classes overlap less. A variance below
    1e-6 of the mean one is raised to it, as of a class of one item.

    Args:
        features: Shape (n, d).
        labels: Shape (n,).
        covariance: ``spherical`` (one variance a class) or ``diagonal`` (one a class and axis).

    Raises:
        ShapeError: The shapes do not fit, or there is a single item or class.

    Reference:
        Pándy et al., Transferability Estimation using Bhattacharyya Class Separability, CVPR 2022,
        eq. 1–3.
    """
    data = labelled(features, labels)
    left, values, _ = thin_svd(data.x - data.x.mean(axis=0))
    axes = (left * values)[:, :_AXES]
    pairs = data.n_classes * (data.n_classes - 1)
    if not axes.shape[1]:  # features that never vary: every pair overlaps wholly
        return -float(pairs)
    means = data.means_of(axes)
    variances = data.means_of((axes - means[data.classes]) ** 2)  # (C, k)
    if covariance == "spherical":
        variances = np.repeat(variances.mean(axis=1, keepdims=True), axes.shape[1], axis=1)
    variances = np.maximum(variances, _LEAST_VARIANCE * float(axes.var(axis=0).mean()))
    total = 0.0
    for one in range(data.n_classes):
        middle = (variances[one] + variances) / 2.0
        apart = ((means[one] - means) ** 2 / middle).sum(axis=1) / 8.0
        shape = np.log(middle) - 0.5 * (np.log(variances[one]) + np.log(variances))
        overlap = np.exp(-apart - 0.5 * shape.sum(axis=1))
        total += float(overlap.sum() - overlap[one])
    return 0.0 - total


def _rate(rows: NDArray[np.float64]) -> float:
    n, k = rows.shape
    gram = rows.T @ rows if k <= n else rows @ rows.T
    _, logarithm = np.linalg.slogdet(np.eye(len(gram)) + gram / (n * _DISTORTION))
    return 0.5 * float(logarithm)
