"""Whether the gain of transfer goes with how little the features moved, and what few cells show.

A cell is one backbone on one task: how far its features moved in fine-tuning (for example MMD²),
and what it gained over training from scratch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import rankdata, t

from regraft.errors import ShapeError
from regraft.measure.rank_laws import MOST_EXACT, doubled_ranks, kendall_law, spearman_law

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALPHA = 0.05
FEWEST = 4
PERMUTATIONS = 10_000
RESAMPLES = 2000
TRIALS = 2000
POWER = 0.8
Kind = Literal["spearman", "kendall"]


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rank correlation of movement and gain over cells.

    Attributes:
        kind: ``spearman`` (ρ) or ``kendall`` (τ-b).
        value: In [−1, 1]; NaN where one side does not vary.
        p: Two-sided permutation p.
        low: Lower end of the 95 % bootstrap interval over cells; NaN where it has none.
        high: Upper end.
        estimator: How p was found, in words.
    """

    kind: Kind
    value: float
    p: float
    low: float
    high: float
    estimator: str


@dataclass(frozen=True, slots=True)
class TransferLimits:
    """What the cells say of movement and gain, and what so many cells could have said.

    Attributes:
        n: Cells.
        spearman: Spearman's ρ.
        kendall: Kendall's τ-b.
        critical: Smallest |ρ| that is significant at 0.05 with so many cells; ∞ where none is.
        detectable: Smallest true correlation found with probability 0.8; None where none is.
    """

    n: int
    spearman: Correlation
    kendall: Correlation
    critical: float
    detectable: float | None


def transfer_limits(
    movement: NDArray[np.floating],
    gain: NDArray[np.floating],
    *,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> TransferLimits:
    """Return the rank correlations of movement and gain with exact p-values, and the power.

    Up to 10 cells p counts all orders of the cells, beyond that `permutations` random ones and the
    observed. Cells that share a backbone or a task are not independent: p is then too small.

    Args:
        movement: Shape (n,), n ≥ 4, finite.
        gain: Shape (n,), finite.
        resamples: Bootstrap resamples of cells.
        permutations: Random orders where there are more than 10 cells.
        seed: Of resampling and random orders.

    Raises:
        ShapeError: The shapes differ, there are fewer than 4 cells, or a value is not finite.

    Reference:
        Kendall, Rank Correlation Methods, 1948, chapters 3-5.
    """
    _check(movement, gain)
    options = {"resamples": resamples, "permutations": permutations, "seed": seed}
    return TransferLimits(
        n=len(gain),
        spearman=rank_correlation(movement, gain, "spearman", **options),
        kendall=rank_correlation(movement, gain, "kendall", **options),
        critical=critical_spearman(len(gain)),
        detectable=detectable_correlation(len(gain)),
    )


def rank_correlation(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    kind: Kind,
    *,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Correlation:
    """Return Spearman's ρ or Kendall's τ-b with its permutation p and bootstrap interval.

    Args:
        first: Shape (n,), n ≥ 4, finite.
        second: Shape (n,), finite.
        kind: Which of the two.
        resamples: Bootstrap resamples of cells; those in which a side is constant are left out.
        permutations: Random orders where there are more than 10 cells.
        seed: Of resampling and random orders.

    Raises:
        ShapeError: The shapes differ, there are fewer than 4 cells, or a value is not finite.
    """
    _check(first, second)
    n, random = len(first), np.random.default_rng(seed)
    value = float(_correlations(first[None], second[None], kind)[0])
    if np.isnan(value):
        nan = float("nan")
        return Correlation(kind, nan, 1.0, nan, nan, "one side does not vary")
    if n <= MOST_EXACT:
        p, estimator = _exact_p(first, second, kind), f"all {n}! orders"
    else:
        shuffled = random.permuted(np.tile(second, (permutations, 1)), axis=1)
        drawn = np.abs(_correlations(np.broadcast_to(first, shuffled.shape), shuffled, kind))
        p = (1 + int((drawn >= abs(value) - 1e-12).sum())) / (1 + permutations)
        estimator = f"{permutations} random orders"
    rows = random.integers(0, n, size=(resamples, n))
    spread = _correlations(first[rows], second[rows], kind)
    spread = spread[~np.isnan(spread)]
    low, high = np.quantile(spread, [0.025, 0.975]) if len(spread) else (np.nan, np.nan)
    return Correlation(kind, value, p, float(low), float(high), estimator)


@cache
def critical_spearman(n: int, *, alpha: float = ALPHA) -> float:
    """Return the smallest |ρ| with a two-sided p ≤ alpha for n cells without ties.

    Exact up to 10 cells, by the t approximation beyond.

    Args:
        n: Cells, ≥ 4.
        alpha: Significance level, in (0, 1).

    Returns:
        In (0, 1], or ∞ where even |ρ| = 1 is not significant.

    Raises:
        ShapeError: There are fewer than 4 cells.

    Example:
        >>> round(critical_spearman(10), 3)
        0.648
    """
    if n < FEWEST:
        raise ShapeError(f"{n} cells are too few for a rank correlation. Give at least {FEWEST}.")
    if n > MOST_EXACT:
        bound = float(t.ppf(1 - alpha / 2, n - 2))
        return bound / float(np.sqrt(n - 2 + bound**2))
    ranks = doubled_ranks(np.arange(n, dtype=np.float64))
    values, law = spearman_law(ranks, ranks)
    rho = np.abs(_rho(values, ranks, ranks))
    levels = np.unique(np.round(rho, 12))
    significant = [x for x in levels if law[rho >= x - 1e-9].sum() <= alpha + 1e-12]
    return float(significant[0]) if significant else float("inf")


def correlation_power(
    n: int, correlation: float, *, alpha: float = ALPHA, trials: int = TRIALS, seed: int = 0
) -> float:
    """Return the probability that n cells show a true correlation at `alpha`, by simulation.

    Cells are drawn from a bivariate normal law and Spearman's |ρ| compared with the critical value.

    Args:
        n: Cells, ≥ 4.
        correlation: Pearson's correlation of the law, in [−1, 1].
        alpha: Significance level.
        trials: Simulated studies.
        seed: Of the simulation.

    Raises:
        ShapeError: There are fewer than 4 cells, or the correlation is outside [−1, 1].
    """
    if not -1 <= correlation <= 1:
        raise ShapeError(f"correlation_power: {correlation} is no correlation. Give −1 to 1.")
    critical = critical_spearman(n, alpha=alpha)
    x, noise = np.random.default_rng(seed).normal(size=(2, trials, n))
    y = correlation * x + np.sqrt(1 - correlation**2) * noise
    return float((np.abs(_correlations(x, y, "spearman")) >= critical - 1e-9).mean())


@cache
def detectable_correlation(n: int, *, power: float = POWER, alpha: float = ALPHA) -> float | None:
    """Return the smallest true correlation that n cells show with probability `power`.

    To 0.01, by simulation with fixed seeds; None where even 0.99 is not found so often.

    Raises:
        ShapeError: There are fewer than 4 cells.
    """
    low, high = 0, 99
    if correlation_power(n, high / 100, alpha=alpha) < power:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if correlation_power(n, middle / 100, alpha=alpha) < power:
            low = middle
        else:
            high = middle
    return high / 100


def _exact_p(first: NDArray[np.floating], second: NDArray[np.floating], kind: Kind) -> float:
    a, b = doubled_ranks(first), doubled_ranks(second)
    if kind == "spearman":
        values, law = spearman_law(a, b)
        # ρ is 0 where the sum is what independent ranks give; whole numbers, once times n.
        off = np.abs(len(a) * values - a.sum() * b.sum())
        seen = abs(len(a) * int(a @ b) - int(a.sum() * b.sum()))
    else:
        values, law = kendall_law(a, b)
        off = np.abs(values)
        seen = abs(int((np.sign(a[:, None] - a) * np.sign(b[:, None] - b)).sum()) // 2)
    return min(1.0, float(law[off >= seen].sum()))


def _rho(
    products: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return Spearman's ρ of sums of products of doubled ranks."""
    n = len(first)
    scale = np.sqrt(float(first.var() * second.var())) * n
    return np.asarray((products - first.sum() * second.sum() / n) / scale)


def _correlations(
    first: NDArray[np.floating], second: NDArray[np.floating], kind: Kind
) -> NDArray[np.float64]:
    """Return the correlation of each row of two (R, n); NaN where a side is constant."""
    if kind == "spearman":
        a, b = (rankdata(x, axis=1) for x in (first, second))
        a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    else:
        i, j = np.triu_indices(first.shape[1], k=1)
        a, b = (np.sign(x[:, j] - x[:, i]) for x in (first, second))
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    found = np.full(len(scale), np.nan)
    np.divide((a * b).sum(axis=1), scale, out=found, where=scale > 0)
    return found


def _check(first: NDArray[np.floating], second: NDArray[np.floating]) -> None:
    if first.ndim != 1 or first.shape != second.shape or len(first) < FEWEST:
        raise ShapeError(
            f"movement {first.shape} and gain {second.shape}: give one of each per cell, for at "
            f"least {FEWEST} cells."
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ShapeError("a movement or gain is not finite. Leave that cell out.")
