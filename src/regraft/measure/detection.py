"""How well outliers are told from what is usual, with intervals over both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from regraft.measure.intervals import FEW_ANSWERS, FEW_ITEMS, Interval
from regraft.measure.out_of_distribution import fpr_at_tpr, ood_auroc
from regraft.measure.spreads import effective_items, wilson_ends

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RESAMPLES = 2000


def auroc_interval(
    inside: NDArray[np.floating], outside: NDArray[np.floating], *, level: float = 0.95
) -> Interval:
    """Return `ood_auroc` with its interval: Wilson's of as many items as have DeLong's variance.

    The variance of an AUROC is that of each outside item's share of inside items below it, over m,
    and of each inside item's share of outside items above it, over n.

    Args:
        inside: Scores of usual items, shape (n,), n ≥ 2.
        outside: Scores of outliers, shape (m,), m ≥ 2.
        level: Nominal coverage in (0, 1).

    Raises:
        ShapeError: One of the two is empty.

    Reference:
        DeLong, DeLong & Clarke-Pearson, Comparing the Areas under Two or More Correlated Receiver
        Operating Characteristic Curves, Biometrics 44 (1988), eq. 5.
    """
    value = ood_auroc(inside, outside)
    n, m = len(inside), len(outside)
    ranks = rankdata(np.concatenate([inside, outside]))
    above_inside = 1 - (ranks[:n] - rankdata(inside)) / m
    below_outside = (ranks[n:] - rankdata(outside)) / n
    variance = _variance(above_inside) / n + _variance(below_outside) / m
    fewest = min(n, m)
    effective = effective_items(value, float(np.sqrt(variance)), fewest)
    low, high = wilson_ends(value, effective, level=level)
    how = f"Wilson score interval of {effective:,.0f} effective items; DeLong's variance"
    warning = _rough(value, effective, fewest)
    return Interval(value, min(low, value), max(high, value), n + m, how, level, warning)


def fpr_interval(
    inside: NDArray[np.floating],
    outside: NDArray[np.floating],
    *,
    tpr: float = 0.95,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return `fpr_at_tpr` with its interval, both samples drawn anew.

    The percentiles of a bootstrap, in which the threshold moves with the inside items, widened to
    Wilson's interval of the outside items where that is wider: at 0 and 1 no draw differs.

    Args:
        inside: Scores of usual items, shape (n,).
        outside: Scores of outliers, shape (m,).
        tpr: Share of inside items that the threshold lets in.
        level: Nominal coverage in (0, 1).
        seed: Of the resampling.

    Raises:
        ShapeError: One of the two is empty, or tpr is no share.
    """
    value = fpr_at_tpr(inside, outside, tpr=tpr)
    generator = np.random.default_rng(seed)
    n, m = len(inside), len(outside)
    rank = int(np.ceil(tpr * n - 1e-9)) - 1
    drawn = np.sort(inside[generator.integers(0, n, (_RESAMPLES, n))], axis=1)[:, rank]
    others = outside[generator.integers(0, m, (_RESAMPLES, m))]
    shares = (others <= drawn[:, None]).mean(axis=1)
    tail = (1 - level) / 2
    low, high = wilson_ends(value, m, level=level)
    least, most = np.quantile(shares, [tail, 1 - tail])
    how = f"bootstrap of both samples, {_RESAMPLES} resamples, at least Wilson's"
    warning = _rough(value, m, min(n, m))
    return Interval(value, min(low, least), max(high, most), n + m, how, level, warning)


def _variance(values: NDArray[np.floating]) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


def _rough(value: float, effective: float, fewest: int) -> str | None:
    """Return why an interval may hold the truth less often than it says, or None."""
    if fewest < FEW_ITEMS:
        return f"{fewest} items are few: the interval is rough"
    if min(value, 1 - value) * effective < FEW_ANSWERS - 1e-9:
        return "the two are told apart nearly always, or never: the interval is rough"
    return None
