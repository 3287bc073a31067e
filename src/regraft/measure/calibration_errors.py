"""Calibration errors with bins of equal count, without the bias of small bins, and per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import ShapeError
from regraft.measure.calibration import ECE_BINS, bin_index
from regraft.measure.shapes import check_probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray


def equal_mass_index(values: NDArray[np.floating], bins: int) -> NDArray[np.intp]:
    """Return the equal-count bin of each value, lowest first; equal values share a bin.

    An item of rank r (0 the lowest) goes to bin ⌊r · bins / n⌋, tied items with the first of them:
    the bins do not depend on the order of the items, and a constant confidence fills one bin.

    Args:
        values: Shape (N,).
        bins: Number of bins.
    """
    _, level, counts = np.unique(values, return_inverse=True, return_counts=True)
    first_rank = np.cumsum(counts) - counts
    return np.asarray((first_rank * bins // len(values))[level], dtype=np.intp)


def ece_equal_mass(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], *, bins: int = ECE_BINS
) -> float:
    """Return Σ n_b/n · |accuracy_b − confidence_b| over bins of equal count.

    Args:
        probabilities: Class probabilities, shape (N, C), N ≥ 1.
        labels: Class indices, shape (N,).
        bins: Number of equal-count bins of the highest probability.

    Returns:
        In [0, 1].

    Raises:
        ShapeError: The shapes do not fit together, or a label is not a class.

    Reference:
        Nguyen & O'Connor, Posterior Calibration and Exploratory Analysis for Natural Language
        Processing Models, EMNLP 2015.

    Example:
        >>> ece_equal_mass(np.full((5, 2), [0.8, 0.2]), np.array([0, 0, 0, 1, 1])).__round__(6)
        0.2
    """
    confidence, right = _top(probabilities, labels, bins, "ece_equal_mass")
    return _mean_gap(equal_mass_index(confidence, bins), confidence, right, bins)


def ece_debiased(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], *, bins: int = ECE_BINS
) -> float:
    """Return the root mean squared calibration error with the bias of finite bins taken out.

    √max(0, Σ n_b/n · [(accuracy_b − confidence_b)² − accuracy_b (1 − accuracy_b) / (n_b − 1)])
    over equal-count bins. What is subtracted is the variance of accuracy_b, which the plain square
    counts as error. A bin of one item has no variance to subtract and is left out of the mean.
    It is an l2 error, never below the l1 error of the same gaps.

    Args:
        probabilities: Class probabilities, shape (N, C), N ≥ 1.
        labels: Class indices, shape (N,).
        bins: Number of equal-count bins of the highest probability.

    Returns:
        In [0, 1]; NaN where every bin has one item.

    Raises:
        ShapeError: The shapes do not fit together, or a label is not a class.

    Reference:
        Kumar, Liang & Ma, Verified Uncertainty Calibration, NeurIPS 2019, section 5.
    """
    confidence, right = _top(probabilities, labels, bins, "ece_debiased")
    n, confidences, rights = _sums(equal_mass_index(confidence, bins), confidence, right, bins)
    kept = n > 1
    if not kept.any():
        return float("nan")
    accuracy = rights[kept] / n[kept]
    gap = accuracy - confidences[kept] / n[kept]
    terms = gap**2 - accuracy * (1 - accuracy) / (n[kept] - 1)
    return float(np.sqrt(max(0.0, float(np.average(terms, weights=n[kept])))))


def ace(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], *, bins: int = ECE_BINS
) -> float:
    """Return the adaptive calibration error: every class's probability, in equal-count ranges.

    1/C Σ_c Σ_r n_r/n · |share of class c in range r − mean probability of c there|; with ranges of
    the same count this is the plain mean over classes and ranges.

    Args:
        probabilities: Class probabilities, shape (N, C), N ≥ 1.
        labels: Class indices, shape (N,).
        bins: Number of ranges per class.

    Raises:
        ShapeError: The shapes do not fit together, or a label is not a class.

    Reference:
        Nixon et al., Measuring Calibration in Deep Learning, CVPR Workshops 2019, eq. 3.
    """
    _check(probabilities, labels, bins, "ace")
    columns = probabilities.astype(np.float64).T
    gaps = [
        _mean_gap(equal_mass_index(p, bins), p, (labels == c).astype(np.float64), bins)
        for c, p in enumerate(columns)
    ]
    return float(np.mean(gaps))


def classwise_ece(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], *, bins: int = ECE_BINS
) -> float:
    """Return the mean over classes of the calibration error of that class's probability.

    1/C Σ_c Σ_b n_b/n · |share of class c in bin b − mean probability of c there|, equal width.

    Args:
        probabilities: Class probabilities, shape (N, C), N ≥ 1.
        labels: Class indices, shape (N,).
        bins: Number of equal-width bins per class.

    Raises:
        ShapeError: The shapes do not fit together, or a label is not a class.

    Reference:
        Kull et al., Beyond Temperature Scaling, NeurIPS 2019, eq. 4.
    """
    _check(probabilities, labels, bins, "classwise_ece")
    columns = probabilities.astype(np.float64).T
    gaps = [
        _mean_gap(bin_index(p, bins), p, (labels == c).astype(np.float64), bins)
        for c, p in enumerate(columns)
    ]
    return float(np.mean(gaps))


def brier(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Return the mean of Σ_c (p_c − 1{label = c})², the multi-class Brier score.

    Args:
        probabilities: Class probabilities, shape (N, C), N ≥ 1.
        labels: Class indices, shape (N,).

    Returns:
        In [0, 2]; uniform over C classes gives 1 − 1/C.

    Raises:
        ShapeError: The shapes do not fit together, or a label is not a class.

    Reference:
        Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather Review
        78 (1950), eq. 2.

    Example:
        >>> round(brier(np.full((3, 10), 0.1), np.array([0, 4, 9])), 6)
        0.9
    """
    check_probabilities(probabilities, labels, where="brier")
    gap = probabilities.astype(np.float64)
    gap[np.arange(len(labels)), labels] -= 1.0
    return float((gap**2).sum(axis=1).mean())


def _top(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int, where: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the highest probability of each item and whether its class is the label."""
    _check(probabilities, labels, bins, where)
    right = probabilities.argmax(axis=1) == labels
    return probabilities.max(axis=1).astype(np.float64), right.astype(np.float64)


def _sums(
    index: NDArray[np.intp], confidence: NDArray[np.float64], right: NDArray[np.float64], bins: int
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    n = np.bincount(index, minlength=bins)
    confidences = np.bincount(index, weights=confidence, minlength=bins).astype(np.float64)
    return n, confidences, np.bincount(index, weights=right, minlength=bins).astype(np.float64)


def _mean_gap(
    index: NDArray[np.intp], confidence: NDArray[np.float64], right: NDArray[np.float64], bins: int
) -> float:
    _, confidences, rights = _sums(index, confidence, right, bins)
    return float(np.abs(rights - confidences).sum() / len(index))


def _check(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int, where: str
) -> None:
    check_probabilities(probabilities, labels, where=where)
    if bins < 1:
        raise ShapeError(f"{bins} bins hold nothing. Give at least 1.", where=where)
