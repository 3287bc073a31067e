"""Judging an estimator: its scores of models against what the models reached when fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata, weightedtau

from regraft.errors import ShapeError
from regraft.measure.intervals import Interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_FEWEST = 2
_FEW_MODELS = 12


@dataclass(frozen=True, slots=True)
class Judgement:
    """How well an estimator orders models, each with its interval over models.

    Attributes:
        weighted_tau: In [−1, 1]; nan where scores or accuracies are all the same.
        rel_at_k: Best accuracy among the first k over the best of all, in [0, 1].
        regret: Best accuracy less that of the first model, ≥ 0, in the accuracies' unit.
        k: Models that are tried.
    """

    weighted_tau: Interval
    rel_at_k: Interval
    regret: Interval
    k: int

    def to_json(self) -> dict[str, Any]:
        """Return the plain record."""
        return {
            "weighted_tau": self.weighted_tau.to_json(),
            "rel_at_k": self.rel_at_k.to_json(),
            "regret": self.regret.to_json(),
            "k": self.k,
        }


def weighted_tau(scores: NDArray[np.floating], accuracies: NDArray[np.floating]) -> float:
    """Weighted Kendall τ with hyperbolic weights, in [−1, 1]: the top of the order counts most.

    A pair at ranks r and s (from 0) weighs 1/(1 + r) + 1/(1 + s); the mean of ranking by scores and
    by accuracies, as scipy.stats.weightedtau. nan where either is the same for all.

    Args:
        scores: An estimator's, shape (M,), larger is better.
        accuracies: What the models reached, shape (M,).

    Raises:
        ShapeError: The shapes differ, M < 2, or a value is not finite.

    Reference:
        Vigna, A Weighted Correlation Index for Rankings with Ties, WWW 2015, section 4.

    Example:
        >>> round(weighted_tau(np.array([3.0, 4.0, 2.0, 1.0]), np.array([4.0, 3.0, 2.0, 1.0])), 2)
        0.52
    """
    first, second = _pair(scores, accuracies)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(weightedtau(first, second).statistic)


def rel_at_k(
    scores: NDArray[np.floating], accuracies: NDArray[np.floating], *, k: int = 1
) -> float:
    """Best accuracy among the k models of the highest scores over the best of all, in [0, 1].

    Equal scores are taken against the estimator: the less accurate model first.

    Args:
        scores: Shape (M,), larger is better.
        accuracies: Shape (M,), > 0 for the best.
        k: Models that are tried, 1 ≤ k; all of them where k > M.

    Raises:
        ShapeError: The shapes differ, M < 2, a value is not finite, k < 1, or no accuracy is above
            0.
    """
    first, second = _pair(scores, accuracies)
    if k < 1:
        raise ShapeError(f"k = {k} models cannot be tried. Give k ≥ 1.")
    if second.max() <= 0:
        raise ShapeError("no accuracy is above 0, so there is no share of the best.")
    return float(second[_order(first, second)[:k]].max() / second.max())


def regret(scores: NDArray[np.floating], accuracies: NDArray[np.floating]) -> float:
    """Best accuracy less that of the model with the highest score, ≥ 0.

    Equal scores are taken against the estimator: the less accurate model first.

    Args:
        scores: Shape (M,), larger is better.
        accuracies: Shape (M,).

    Raises:
        ShapeError: The shapes differ, M < 2, or a value is not finite.
    """
    first, second = _pair(scores, accuracies)
    return float(second.max() - second[_order(first, second)[0]])


def judge(
    scores: NDArray[np.floating],
    accuracies: NDArray[np.floating],
    *,
    k: int = 3,
    resamples: int = 1000,
    seed: int = 0,
) -> Judgement:
    """Return weighted τ, rel@k and regret, each with a 95 % bootstrap interval over models.

    Models are drawn with replacement; the same seed draws the same models for every estimator.
    Draws where one of them is undefined are left out of its interval. With a dozen models or fewer
    the interval is wide, and says so in its note.

    Args:
        scores: Shape (M,), larger is better.
        accuracies: Shape (M,).
        k: Models that are tried, for rel@k.
        resamples: Draws.
        seed: Of the draws.

    Raises:
        ShapeError: As its three parts.
    """
    first, second = _pair(scores, accuracies)
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(first), size=(resamples, len(first)))

    def spread(of: Callable[[NDArray[np.float64], NDArray[np.float64]], float]) -> Interval:
        return _interval(
            of(first, second), np.array([of(first[d], second[d]) for d in draws]), len(first)
        )

    def share(some: NDArray[np.float64], reached: NDArray[np.float64]) -> float:
        return rel_at_k(some, reached, k=k) if reached.max() > 0 else float("nan")

    rel_at_k(first, second, k=k)  # refuses what has no share of the best, which a draw may have
    return Judgement(
        weighted_tau=spread(weighted_tau),
        rel_at_k=spread(share),
        regret=spread(regret),
        k=k,
    )


def static_order(past: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return scores of models that look at no target data: minus their mean rank on other tasks.

    Args:
        past: Accuracies on D other tasks, shape (D, M), D ≥ 1; leave the task that is judged out.

    Returns:
        Shape (M,), in [−M, −1], larger is better.

    Raises:
        ShapeError: There is no task, or fewer than two models.
    """
    if past.ndim != 2 or len(past) < 1 or past.shape[1] < _FEWEST:
        raise ShapeError(f"accuracies {past.shape} give no order. Give (D, M), D ≥ 1, M ≥ 2.")
    ranks: NDArray[np.float64] = rankdata(-past.astype(np.float64), axis=1)
    order: NDArray[np.float64] = -ranks.mean(axis=0)
    return order


def random_order(n_models: int, *, seed: int) -> NDArray[np.float64]:
    """Return scores of chance, uniform in [0, 1), shape (M,): what an estimator must surely beat.

    Raises:
        ShapeError: There are fewer than two models.
    """
    if n_models < _FEWEST:
        raise ShapeError(f"{n_models} models cannot be ordered. Give two or more.")
    return np.random.default_rng(seed).random(n_models)


def kendall_w(scores: NDArray[np.floating]) -> float:
    """Kendall's coefficient of concordance of E estimators over M models, in [0, 1].

    W = 12 S / (E² (M³ − M) − E Σ T), S the spread of the rank sums and T = Σ (t³ − t) over an
    estimator's ties. 1 where all give one order; mean Spearman ρ = (E W − 1)/(E − 1) without ties.
    nan where every estimator ties all models.

    Args:
        scores: Shape (E, M), E ≥ 2, M ≥ 2.

    Raises:
        ShapeError: There are fewer than two estimators or models, or a value is not finite.

    Reference:
        Kendall & Babington Smith, The Problem of m Rankings, Ann. Math. Stat. 10 (1939).

    Example:
        >>> kendall_w(np.array([[1.0, 2.0, 3.0], [0.1, 0.2, 0.4]]))
        1.0
    """
    if scores.ndim != 2 or min(scores.shape) < _FEWEST or not np.isfinite(scores).all():
        raise ShapeError(f"scores {scores.shape} must be finite and (E, M), E ≥ 2 and M ≥ 2.")
    estimators, models = scores.shape
    ranks = rankdata(scores.astype(np.float64), axis=1)
    spread = float(((ranks.sum(axis=0) - estimators * (models + 1) / 2) ** 2).sum())
    ties = sum(
        int((counts**3 - counts).sum())
        for counts in (np.unique(row, return_counts=True)[1] for row in ranks)
    )
    largest = estimators**2 * (models**3 - models) - estimators * ties
    return 12.0 * spread / largest if largest > 0 else float("nan")


def _pair(
    scores: NDArray[np.floating], accuracies: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if scores.ndim != 1 or scores.shape != accuracies.shape or len(scores) < _FEWEST:
        raise ShapeError(
            f"scores {scores.shape} and accuracies {accuracies.shape} must both be (M,), M ≥ 2."
        )
    first, second = scores.astype(np.float64), accuracies.astype(np.float64)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ShapeError("scores or accuracies are not all finite. Leave those models out.")
    return first, second


def _order(scores: NDArray[np.float64], accuracies: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the models, highest score first, of equal ones the less accurate first."""
    return np.lexsort((accuracies, -scores))


def _interval(value: float, draws: NDArray[np.float64], n: int) -> Interval:
    defined = draws[~np.isnan(draws)]
    low, high = np.quantile(defined, [0.025, 0.975]) if len(defined) else (value, value)
    note = f"{n} models are few: the interval is rough" if n <= _FEW_MODELS else ""
    if np.isnan(value):
        return Interval(value, value, value, n, "undefined: all are the same", warning=note)
    ends = min(float(low), value), max(float(high), value)
    return Interval(value, *ends, n, f"bootstrap of models, {len(draws)} resamples", warning=note)
