"""The spread of a metric over the items that it was measured on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from regraft.errors import ShapeError
from regraft.measure.metrics import metric_named
from regraft.measure.resampling import centred, mean_score, resampled_scores, resamples_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW_ITEMS = 30
FEW_OF_A_CLASS = 5


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its confidence interval.

    Attributes:
        value: The estimate.
        low: Lower end; ≤ value.
        high: Upper end; ≥ value.
        n: Items it rests on.
        estimator: How the ends were found, in words.
        level: Nominal coverage.
        note: Why the ends are to be taken with care; empty where they are not.
    """

    value: float
    low: float
    high: float
    n: int
    estimator: str
    level: float = 0.95
    note: str = ""

    def to_json(self) -> dict[str, float | int | str]:
        """Return the plain record."""
        return asdict(self)


def wilson(k: float, n: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion of k among n; k may be a mean of counts.

    Args:
        k: Successes, 0 ≤ k ≤ n.
        n: Trials, ≥ 1.
        level: Nominal coverage in (0, 1).

    Raises:
        ShapeError: n is below 1 or k outside [0, n].

    Reference:
        Wilson, Probable Inference, JASA 22 (1927).

    Example:
        >>> i = wilson(8, 10)
        >>> round(i.low, 4), round(i.high, 4)
        (0.4902, 0.9433)
    """
    if n < 1 or not 0 <= k <= n + 1e-9:
        raise ShapeError(f"wilson: {k} of {n} is no proportion. Give 0 ≤ k ≤ n and n ≥ 1.")
    share = min(k / n, 1.0)
    z = float(norm.ppf(0.5 + level / 2))
    scale = 1 + z**2 / n
    centre = (share + z**2 / (2 * n)) / scale
    half = z / scale * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
    # At the ends the bound is exact; rounding would leave 1e-17 beside it.
    low = 0.0 if share == 0.0 else max(0.0, min(centre - half, share))
    high = 1.0 if share == 1.0 else min(1.0, max(centre + half, share))
    return Interval(share, low, high, n, "Wilson score interval", level, _note(n, None))


def interval(
    metric: str,
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    costs: NDArray[np.floating] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a metric with its interval over items: Wilson for accuracy, else the bootstrap.

    With several repetitions the value is their mean and items are resampled jointly; Wilson's
    interval of a mean accuracy is a little wide then. Where a proportion is exactly 0 or 1 and no
    resample differs, Wilson's interval of as many items is given, since certainty is not what n
    right answers show.

    Args:
        metric: A metric's name.
        probabilities: Shape (N, C), or (S, N, C) for S repetitions.
        labels: Class indices, shape (N,).
        costs: Shape (C, C), rows the true class.
        level: Nominal coverage in (0, 1).
        resamples: Bootstrap resamples.
        seed: Of the resampling.

    Raises:
        ConfigError: The metric is unknown, or is ``mean_cost`` and no costs are given.
        ShapeError: The shapes do not fit together.
    """
    known = metric_named(metric)
    repetitions = probabilities if probabilities.ndim == 3 else probabilities[None]
    n, seeds = len(labels), _of_seeds(len(repetitions))
    value = mean_score(metric, repetitions, labels, costs=costs)
    if metric == "accuracy":
        found = wilson(value * n, n, level=level)
        return Interval(value, found.low, found.high, n, found.estimator + seeds, level, found.note)
    draws = resampled_scores(
        metric, [repetitions], labels, costs=costs, resamples=resamples, seed=seed
    )[0]
    spread = centred(draws, value)
    note = _note(n, labels if known.class_average else None)
    is_certain = not len(spread) or float(np.ptp(spread)) < 1e-12
    if known.proportion and is_certain and value in (0.0, 1.0):
        found = wilson(value * n, n, level=level)
        estimator = f"{found.estimator} (no resample differs){seeds}"
        return Interval(value, found.low, found.high, n, estimator, level, note)
    low, high = _ends(spread, value, level)
    if known.proportion and len(spread):
        low, high = max(0.0, low), min(1.0, high)
    how = "within classes" if known.class_average else "of items"
    estimator = f"bootstrap {how}, {resamples_of(metric, resamples)} resamples{seeds}"
    return Interval(value, low, high, n, estimator, level, note)


def _ends(spread: NDArray[np.float64], value: float, level: float) -> tuple[float, float]:
    if not len(spread):
        return value, value
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])
    return min(float(low), value), max(float(high), value)


def _of_seeds(seeds: int) -> str:
    return f", mean of {seeds} seeds" if seeds > 1 else ""


def _note(n: int, labels: NDArray[np.integer] | None) -> str:
    if n < FEW_ITEMS:
        return f"{n} items are few: the interval is rough"
    if labels is not None:
        counts = np.bincount(labels)
        fewest = int(counts[counts > 0].min())
        if fewest < FEW_OF_A_CLASS:
            return f"a class has {fewest} item{'s' * (fewest > 1)}: the interval is rough"
    return ""
