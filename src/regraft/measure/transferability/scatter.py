"""H-score: how much of the features' variance, whitened, lies between the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regraft.measure.transferability.labelled import labelled, thin_svd

if TYPE_CHECKING:
    from numpy.typing import NDArray


def h_score(features: NDArray[np.floating], labels: NDArray[np.generic]) -> float:
    """H-score: tr(cov(F)⁺ cov(E[F|Y])), in [0, min(d, C − 1)], larger is better.

    Any invertible linear map of the features leaves it as it is. With U the left singular vectors
    of centred F it is Σ_c n_c ‖ū_c‖². Where n − 1 ≤ d and the features are in general position it
    is C − 1 whatever they say; use the shrunk form there.

    Args:
        features: Shape (n, d).
        labels: Shape (n,).

    Raises:
        ShapeError: The shapes do not fit, or there is a single item or class.

    Reference:
        Bao et al., An Information-Theoretic Approach to Transferability in Task Transfer Learning,
        ICIP 2019, definition 2.

    Example:
        >>> round(h_score(np.eye(3)[[0, 0, 1, 1, 2, 2]], np.array([0, 0, 1, 1, 2, 2])), 6)
        2.0
    """
    data = labelled(features, labels)
    left, _, _ = thin_svd(data.x - data.x.mean(axis=0))
    means = data.means_of(left)
    return float((data.counts[:, None] * means**2).sum())


def h_score_shrunk(features: NDArray[np.floating], labels: NDArray[np.generic]) -> float:
    """H-score with a Ledoit–Wolf covariance: tr(Σ_a⁻¹ (1 − a) cov(E[F|Y])), ≥ 0, larger is better.

    Σ_a = (1 − a) cov(F) + a tr(cov F)/d I, covariances divided by n. A rotation or a common scale
    of the features leaves it as it is. It stays informative where n < d.

    Args:
        features: Shape (n, d).
        labels: Shape (n,).

    Returns:
        In [0, C − 1]; 0 for features that never vary.

    Raises:
        ShapeError: The shapes do not fit, or there is a single item or class.

    Reference:
        Ibrahim et al., Newer is not always better: Rethinking transferability metrics, their
        peculiarities, stability and performance, ECML PKDD 2022, section 4.1.
    """
    data = labelled(features, labels)
    n, d = data.x.shape
    centred = data.x - data.x.mean(axis=0)
    left, values, _ = thin_svd(centred)
    if not len(values):
        return 0.0
    variances = values**2 / n
    shrinkage = _ledoit_wolf(variances, (centred**2).sum(axis=1), d)
    kept = (1.0 - shrinkage) * variances
    between = (data.counts[:, None] * data.means_of(left) ** 2).sum(axis=0)
    shrunk = kept + shrinkage * variances.sum() / d
    return float((kept / shrunk * between).sum())


def _ledoit_wolf(
    variances: NDArray[np.float64], squared_norms: NDArray[np.float64], d: int
) -> float:
    """Return the shrinkage a ∈ [0, 1] from the covariance's spectrum and ‖x_i − x̄‖², (n,).

    Ledoit & Wolf, J. Multivariate Analysis 88 (2004), lemmas 3.2 to 3.4.
    """
    squared = float((variances**2).sum())
    spread = squared - float(variances.sum()) ** 2 / d
    error = (float((squared_norms**2).mean()) - squared) / len(squared_norms)
    return min(1.0, max(0.0, error) / spread) if spread > 1e-12 * squared else 1.0
