"""Distances and tests between two domains by distances of rows and by telling them apart."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from regraft.errors import ConfigError
from regraft.measure.kernels import (
    Factors,
    Transform,
    distance_factors,
    kernel_matrix,
    pair_sum,
    summed,
    two_samples,
)
from regraft.measure.permutation import PERMUTATIONS, TwoSample, permutation_p, split_sums

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from regraft.measure.kernels import Floats

_FOLDS = 5

# Products of rows are exact to about this share of the largest norm; nearer rows count as equal.
_ROUNDING = 1e-14


class Classifier(Protocol):
    """What tells two samples apart: any scikit-learn classifier."""

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from features (n, d) and sides 0 or 1, shape (n,)."""

    def predict(self, X: Any) -> Any:
        """Return the side of each row."""


def energy_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Return the energy distance √(2 E‖X − Y‖ − E‖X − X'‖ − E‖Y − Y'‖), pairs i = j included.

    Zero only for one law; no bandwidth. In one dimension scipy's. In float64; time n², memory n.

    Args:
        x: Features of one domain, shape (n, d), n ≥ 2.
        y: Features of the other, shape (m, d), m ≥ 2.

    Raises:
        ShapeError: The widths differ, or fewer than 2 rows.
        DataError: A number is not finite.

    Reference:
        Székely & Rizzo, Energy Statistics, J. Statist. Plann. Inference 143 (2013), eq. 5.

    Example:
        >>> round(energy_distance([[0.0], [0.0]], [[2.0], [2.0]]), 9)
        2.0
    """
    first, second = (one.astype(np.float64) for one in two_samples(x, y))
    n, m = len(first), len(second)
    centre = (first.mean(axis=0) + second.mean(axis=0)) / 2
    factors = [distance_factors(one, centre=centre) for one in (first, second)]
    apart = summed(_distance(*factors))
    between = pair_sum(apart, *factors) / (n * m)
    within = pair_sum(apart, factors[0]) / n**2 + pair_sum(apart, factors[1]) / m**2
    return sqrt(max(2.0 * between - within, 0.0))


def energy_test(
    x: ArrayLike, y: ArrayLike, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> TwoSample:
    """Test whether two samples are of one law by their energy distance, permuting pooled rows.

    All permutations are sums over one matrix of distances of n + m rows, held in memory.

    Args:
        x: Shape (n, d), n ≥ 2.
        y: Shape (m, d), m ≥ 2.
        permutations: B; p = (1 + #{≥ observed}) / (1 + B).
        seed: Of the permutations.

    Raises:
        ShapeError: The widths differ, or fewer than 2 rows.
        DataError: A number is not finite.
        ConfigError: No permutations are asked for.

    Reference:
        Székely & Rizzo, Testing for Equal Distributions in High Dimension, InterStat (2004).
    """
    first, second = (one.astype(np.float64) for one in two_samples(x, y))
    pooled, n, m = np.concatenate([first, second]), len(first), len(second)
    factors = distance_factors(pooled, centre=pooled.mean(axis=0))
    distances = kernel_matrix(_distance(factors), factors)
    sums = split_sums(distances, n, permutations=permutations, seed=seed)
    squared = 2.0 * sums.between / (n * m) - sums.within_first / n**2 - sums.within_second / m**2
    estimator = f"energy distance, {permutations} permutations of the pooled rows"
    return TwoSample(sqrt(max(squared[0], 0.0)), permutation_p(squared), n, m, estimator)


def _distance(*samples: Factors) -> Transform:
    """Return what turns −½‖·‖² into ‖·‖, exactly 0 for equal rows."""
    width = samples[0].left.shape[1] - 2
    largest = max(float(-one.left[:, width].min()) for one in samples)
    rounding = _ROUNDING * width * largest

    def apply(tile: Floats) -> None:
        tile += rounding
        tile *= -2.0
        np.maximum(tile, 0.0, out=tile)
        np.sqrt(tile, out=tile)

    return apply


def proxy_a_distance(
    x: ArrayLike, y: ArrayLike, *, classifier: Classifier | None = None, seed: int = 0
) -> float:
    """Return the proxy A-distance 2 (1 − 2 ε), ε the held-out error of telling x from y, ≤ ½.

    0 where the domains cannot be told apart, 2 where they always can. ε is the mean of the error
    on x and on y, over five folds, so that samples of unequal size are weighed alike.

    Args:
        x: Features of one domain, shape (n, d), n ≥ 5.
        y: Features of the other, shape (m, d), m ≥ 5.
        classifier: Default: logistic regression on standardised features, C = 1, balanced.
        seed: Of the folds.

    Raises:
        ShapeError: The widths differ, or fewer than 5 rows.
        DataError: A number is not finite.

    Reference:
        Ben-David et al., Analysis of Representations for Domain Adaptation, NeurIPS 2006, sect. 4.
    """
    from sklearn.base import clone
    from sklearn.model_selection import StratifiedKFold

    first, second = two_samples(x, y, fewest=_FOLDS)
    rows, side = np.concatenate([first, second]), np.repeat([0, 1], [len(first), len(second)])
    wrong = np.empty(len(rows), dtype=bool)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    for train, held in folds.split(rows, side):
        model = clone(_linear() if classifier is None else classifier)
        model.fit(rows[train], side[train])
        wrong[held] = np.asarray(model.predict(rows[held])) != side[held]
    error = (float(wrong[side == 0].mean()) + float(wrong[side == 1].mean())) / 2
    return 2.0 * (1.0 - 2.0 * min(error, 0.5))


def c2st(
    x: ArrayLike,
    y: ArrayLike,
    *,
    classifier: Classifier | None = None,
    null: Literal["permutation", "binomial"] = "permutation",
    held_out: float = 0.5,
    seed: int = 0,
) -> TwoSample:
    """Test whether two samples are of one law by how well a classifier tells held-out rows apart.

    The statistic is balanced accuracy on the held-out rows (accuracy where n = m), ½ by chance.

    Args:
        x: Features of one domain, shape (n, d), n ≥ 4.
        y: Features of the other, shape (m, d), m ≥ 4.
        classifier: Default: logistic regression on standardised features, C = 1, balanced; it
            sees shifts of means. For differences of spread or shape give another.
        null: ``permutation``: p over all permutations of the held-out sides, which is the
            hypergeometric tail, exact for any n and m. ``binomial``: the number of right answers
            against coin tosses that are right as often as the larger sample is drawn.
        held_out: Share of each sample that is predicted, the rest is learnt from; 0 < share < 1.
        seed: Of the split.

    Raises:
        ShapeError: The widths differ, or fewer than 4 rows.
        DataError: A number is not finite.
        ConfigError: There is no such null, or a share leaves nothing to learn from or to predict.

    Reference:
        Lopez-Paz & Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017, section 3.
    """
    if null not in ("permutation", "binomial"):
        raise ConfigError(f"null {null!r} is neither 'permutation' nor 'binomial'. Name one.")
    first, second = two_samples(x, y, fewest=4)
    side, predicted = _held_out(first, second, classifier, held_out, seed=seed)
    shares = [float((predicted[side == one] == one).mean()) for one in (0, 1)]
    exact = null == "permutation"
    p = _hypergeometric_p(side, predicted) if exact else _binomial_p(side, predicted)
    how = "all permutations of their sides" if exact else "binomial"
    estimator = f"classifier, {len(side)} held-out rows, {how}"
    n, m = len(first), len(second)
    return TwoSample(sum(shares) / 2, p, n, m, estimator)


def _held_out(
    x: Floats, y: Floats, classifier: Classifier | None, share: float, *, seed: int
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Return the true and the predicted sides of the rows held out of each sample."""
    from sklearn.base import clone

    generator = np.random.default_rng(seed)
    parts: list[tuple[Floats, Floats]] = []
    for one in (x, y):
        few = round(share * len(one))
        if not 0 < few < len(one):
            raise ConfigError(
                f"held_out = {share} of {len(one)} rows leaves nothing to learn from or to predict."
            )
        order = generator.permutation(len(one))
        parts.append((one[order[few:]], one[order[:few]]))
    (learnt_x, held_x), (learnt_y, held_y) = parts
    model = clone(_linear() if classifier is None else classifier)
    model.fit(
        np.concatenate([learnt_x, learnt_y]), np.repeat([0, 1], [len(learnt_x), len(learnt_y)])
    )
    predicted = np.asarray(model.predict(np.concatenate([held_x, held_y]))).astype(int)
    return np.repeat([0, 1], [len(held_x), len(held_y)]), predicted


def _hypergeometric_p(side: NDArray[np.int_], predicted: NDArray[np.int_]) -> float:
    """Return P(as many true positives) over the permutations of sides under these predictions.

    Given how many rows are of y and how many are called y, right answers grow with the rows that
    are both; so this is the permutation p of accuracy and of balanced accuracy.
    """
    from scipy.stats import hypergeom

    both = int(((side == 1) & (predicted == 1)).sum())
    tail = hypergeom.sf(both - 1, len(side), int(side.sum()), int(predicted.sum()))
    return min(float(tail), 1.0)


def _binomial_p(side: NDArray[np.int_], predicted: NDArray[np.int_]) -> float:
    from scipy.stats import binom

    chance = max(float(side.mean()), 1.0 - float(side.mean()))
    return float(binom.sf(int((side == predicted).sum()) - 1, len(side), chance))


def _linear() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=2_000, class_weight="balanced")
    )
