"""Estimators from a shrunk linear discriminant: SFDA, ETran, PED."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg
from scipy.special import logsumexp, softmax

from regraft.errors import ShapeError
from regraft.measure.transferability.labelled import Labelled, in_row_space, labelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LEAST_SHRINKAGE = 1e-10
_DECAY = 5.0
_NUMERIC_FLOOR = 1e-12
_LOWEST_SHARE = 0.005
_CONSTANT = 1e-12
_TIME_STEP = 0.1
_STIFFNESS = 1.0
_MOST_MOVES = 6
_ENOUGH = 0.5


@dataclass(frozen=True, slots=True)
class EtranParts:
    """The two scores of ETran before they are put on one scale over the models.

    Attributes:
        energy: Mean of the lowest 0.5 % of log Σ_j exp f_ij over the items, in nats.
        classification: Mean probability of an item's own class under the discriminant, in [0, 1].
    """

    energy: float
    classification: float


def sfda(features: NDArray[np.floating], labels: NDArray[np.generic]) -> float:
    """Self-challenging Fisher discriminant: mean p(y_i|x_i), in [0, 1], larger is better.

    A discriminant with within-class covariance (1 − a) S_w + a tr(S_w)/d I, a =
    max(exp(−5 λ_max(S_w)), 1e-10), gives p; each item is then moved towards the mean of the other
    classes' means by 1 − q, q its class's entry in softmax(p); the discriminant is fitted anew with
    the same a. It depends on the features' scale, since a does.

    Args:
        features: Shape (n, d); not changed.
        labels: Shape (n,).

    Raises:
        ShapeError: The shapes do not fit, or there is a single item or class.

    Reference:
        Shao et al., Not All Models Are Equal: Predicting Model Transferability in a
        Self-challenging Fisher Space, ECCV 2022, eq. 4–9.
    """
    data = labelled(features, labels)
    shrinkage = _shrinkage(data)
    rows = np.arange(len(data.x))
    mixed = softmax(_class_probabilities(data, shrinkage), axis=1)[rows, data.classes][:, None]
    means = data.means_of(data.x)
    others = (means.sum(axis=0) - means) / (data.n_classes - 1)
    moved = mixed * data.x + (1.0 - mixed) * others[data.classes]
    return _own_probability(replace(data, x=moved), shrinkage)


def etran(
    candidates: Sequence[NDArray[np.floating]], labels: NDArray[np.generic]
) -> NDArray[np.float64]:
    """ETran of several models on the same items: energy plus classification, larger is better.

    Each part is put on [0, 1] by its least and largest value over the models, then the two are
    added; a part that is the same for all counts 0. So a score has a meaning among these models
    only, and there is none of a single model.

    Args:
        candidates: Features of each of M ≥ 2 models, each of shape (n, d_m).
        labels: Shape (n,).

    Returns:
        Shape (M,), in [0, 2].

    Raises:
        ShapeError: There is one model, the shapes do not fit, or there is a single item or class.

    Reference:
        Gholami et al., ETran: Energy-Based Transferability Estimation, ICCV 2023, eq. 5–11.
    """
    if len(candidates) < 2:
        raise ShapeError(f"{len(candidates)} models cannot be ranked by ETran. Give two or more.")
    parts = [etran_parts(features, labels) for features in candidates]
    energy = np.array([one.energy for one in parts])
    classification = np.array([one.classification for one in parts])
    return _on_unit_scale(energy) + _on_unit_scale(classification)


def etran_parts(features: NDArray[np.floating], labels: NDArray[np.generic]) -> EtranParts:
    """Return ETran's energy and classification score of one model; see `etran`.

    Raises:
        ShapeError: The shapes do not fit, or there is a single item or class.
    """
    data = labelled(features, labels)
    energies = np.sort(logsumexp(data.x, axis=1))
    lowest = max(1, int(_LOWEST_SHARE * len(energies)))
    return EtranParts(float(energies[:lowest].mean()), _own_probability(data, _shrinkage(data)))


def ped(features: NDArray[np.floating], labels: NDArray[np.generic]) -> float:
    """SFDA of features after their classes have pushed each other apart, in [0, 1].

    Stands for what fine-tuning will do to the features; see `repelled`. Larger is better.

    Args:
        features: Shape (n, d); not changed.
        labels: Shape (n,).

    Raises:
        ShapeError: The shapes do not fit, or there is a single item or class.

    Reference:
        Li et al., Exploring Model Transferability through the Lens of Potential Energy, ICCV 2023,
        section 3.
    """
    return sfda(repelled(features, labels), labels)


def repelled(
    features: NDArray[np.floating], labels: NDArray[np.generic], *, reach: float = 0.6
) -> NDArray[np.float64]:
    """Return the features with classes moved apart like balls that overlap, (n, d).

    A class is a ball of radius R = √(sum of its variances) in standardised features (by their own
    mean and deviation; the paper takes those of general data where there are such). In a step each
    pair that overlaps, o = max(0, reach (R_i + R_j) − d_ij), moves each of the two by min(½ dt² k
    o, o) along the line between their means; dt = 0.1, k = 1. At most 6 steps; the first that moves
    no more than half as much as the first one is left out. Then the standardisation is undone.

    Args:
        features: Shape (n, d); not changed.
        labels: Shape (n,).
        reach: Radii at which classes begin to push, ≥ 0; the authors use 0.3 or 0.6.

    Raises:
        ShapeError: The shapes do not fit, or there is a single item or class.
    """
    data = labelled(features, labels)
    deviation = data.x.std(axis=0)
    scale = np.where(deviation > _CONSTANT, deviation, 1.0)
    x = (data.x - data.x.mean(axis=0)) / scale
    means = data.means_of(x)
    variances = (data.means_of(x**2) - means**2).sum(axis=1)
    radii = reach * np.sqrt(np.maximum(variances, 0.0))
    start, first = means, 0.0
    for step in range(_MOST_MOVES):
        moves = _moves(means, radii)
        total = float(np.abs(moves).sum())
        first = total if step == 0 else first
        if total <= _ENOUGH * first and step > 0:
            break
        means = means + moves
    moved: NDArray[np.float64] = data.x + ((means - start) * scale)[data.classes]
    return moved


def _moves(means: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how much each class moves in a step, (C, d); radii are those that push."""
    squared = (means**2).sum(axis=1)
    apart = np.sqrt(np.maximum(squared[:, None] + squared - 2.0 * means @ means.T, 0.0))
    overlap = np.maximum(radii[:, None] + radii - apart, 0.0)
    np.fill_diagonal(overlap, 0.0)
    size = np.minimum(0.5 * _TIME_STEP**2 * _STIFFNESS * overlap, overlap)
    # Means at one place have no line between them, and stay.
    pull = np.where(apart > _CONSTANT, size / np.maximum(apart, _CONSTANT), 0.0)
    moves: NDArray[np.float64] = pull.sum(axis=1)[:, None] * means - pull @ means
    return moves


def _within(data: Labelled) -> NDArray[np.float64]:
    """Return the rows less their class's mean, in few dimensions, (n, min(n, d))."""
    return in_row_space(data.x - data.means_of(data.x)[data.classes])


def _shrinkage(data: Labelled) -> float:
    within = _within(data)
    side = within.shape[1] - 1
    largest = linalg.eigvalsh(within.T @ within, subset_by_index=[side, side])[0] / len(within)
    return max(float(np.exp(-_DECAY * largest)), _LEAST_SHRINKAGE)


def _own_probability(data: Labelled, shrinkage: float) -> float:
    probabilities = _class_probabilities(data, shrinkage)
    return float(probabilities[np.arange(len(data.x)), data.classes].mean())


def _class_probabilities(data: Labelled, shrinkage: float) -> NDArray[np.float64]:
    """Return p(c|x_i) under Gaussian classes with one shrunk covariance, shape (n, C)."""
    n, d = data.x.shape
    x = in_row_space(data.x - data.x.mean(axis=0))
    means = data.means_of(x)
    within = x - means[data.classes]
    covariance = within.T @ within / n
    mean_variance = float(np.trace(covariance)) / d
    ridge = shrinkage * mean_variance + _NUMERIC_FLOOR * (float(np.trace(covariance)) + 1e-300)
    shrunk = (1.0 - shrinkage) * covariance + ridge * np.eye(len(covariance))
    if not np.any(covariance):  # each class is a point: any common covariance will do
        shrunk = _NUMERIC_FLOOR * max(1.0, float((means**2).sum())) * np.eye(len(covariance))
    weights = linalg.solve(shrunk, means.T, assume_a="pos", check_finite=False)  # (k, C)
    offsets = np.log(data.counts / n) - 0.5 * (means.T * weights).sum(axis=0)
    probabilities: NDArray[np.float64] = softmax(x @ weights + offsets, axis=1)
    return probabilities


def _on_unit_scale(values: NDArray[np.float64]) -> NDArray[np.float64]:
    extent = float(np.ptp(values))
    return (values - values.min()) / extent if extent > 0 else np.zeros_like(values)
