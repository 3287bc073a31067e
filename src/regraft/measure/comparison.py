"""Whether one protocol is better than another on the same items."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from regraft.measure.intervals import few_answers, few_items, few_of_a_class
from regraft.measure.metrics import decide, metric_named
from regraft.measure.resampling import mean_score, resampled_scores, resamples_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ALPHA = 0.05
RESAMPLES = 10_000
FEW_PAIRED_ITEMS = 100
"""With 30 and 60 items the interval of a paired difference covers as little as 89 %."""
FEW_THAT_DIFFER = 5
"""Where two systems differ on fewer items the interval covers 0 to 100 %: on none it is [0, 0]."""

# Two sums of the same weights in another order differ by rounding; that is no difference.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Comparison:
    """A against B on the same items, oriented so that a positive difference means A is better.

    Attributes:
        difference: Metric of A minus B, sign turned where lower is better.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Two-sided; below 0.05 just where the interval leaves 0 out.
        n: Items.
        estimator: How it was found, in words.
        p_adjusted: p corrected for the family of comparisons; None where it stands alone.
        warning: Why the interval may hold the true difference less often, or more often, than it
            says; None where it has been measured to hold (benchmarks/coverage.py).
    """

    difference: float
    low: float
    high: float
    p: float
    n: int
    estimator: str
    p_adjusted: float | None = None
    warning: str | None = None

    @property
    def decisive_p(self) -> float:
        """The corrected p where there is one, else p."""
        return self.p if self.p_adjusted is None else self.p_adjusted

    @property
    def tie(self) -> bool:
        """Whether the two cannot be told apart at 0.05."""
        return self.decisive_p >= ALPHA

    @property
    def is_better(self) -> bool:
        """Whether A is significantly better than B."""
        return not self.tie and self.difference > 0

    @property
    def is_worse(self) -> bool:
        """Whether A is significantly worse than B."""
        return not self.tie and self.difference < 0

    def to_json(self) -> dict[str, float | int | str | bool | None]:
        """Return the plain record, `tie` included."""
        return {**asdict(self), "tie": self.tie}


def paired_bootstrap(
    metric: str,
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    costs: NDArray[np.floating] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two protocols on the same items by the paired bootstrap.

    Args:
        metric: A metric's name.
        a: Probabilities of A, shape (S, N, C).
        b: Probabilities of B, shape (S', N, C), same items and classes.
        labels: Class indices, shape (N,).
        costs: Shape (C, C), rows the true class.
        resamples: Bootstrap resamples; AUROC takes at most 2,000, and `estimator` says so.
        seed: Of the resampling.

    Returns:
        A − B = d with the symmetric interval d ± q, q the 0.95 quantile of |d* − d|, and
        p = (1 + #{|d* − d| ≥ |d|}) / (1 + resamples). Where few items differ between A and B the
        equal-tailed form calls four of four a difference (p = 0.04); this one does not (0.07).

    Raises:
        ConfigError: The metric is unknown, or is ``mean_cost`` and no costs are given.
        ShapeError: The shapes do not fit together.

    Reference:
        Hall, On Symmetric Bootstrap Confidence Intervals, J. R. Statist. Soc. B 50 (1988).
    """
    draws = resampled_scores(metric, [a, b], labels, costs=costs, resamples=resamples, seed=seed)
    values = [mean_score(metric, arm, labels, costs=costs) for arm in (a, b)]
    return comparison_of(
        metric,
        (values[0], values[1]),
        (draws[0], draws[1]),
        n=len(labels),
        warning=comparison_warning(metric, a, b, labels, costs=costs),
    )


def comparison_of(
    metric: str,
    values: tuple[float, float],
    draws: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    n: int,
    warning: str | None = None,
) -> Comparison:
    """Return the comparison of two arms whose scores on the same resamples are known.

    Args:
        metric: The metric's name.
        values: Its value for A and for B.
        draws: Its values on the same resamples for A and for B, shape (R,) each.
        n: Items.
        warning: What `comparison_warning` says of the two; without it only n and the draws speak.
    """
    sign = metric_named(metric).sign
    difference = sign * (values[0] - values[1])
    resampled = sign * (draws[0] - draws[1])
    moved = np.abs(resampled[~np.isnan(resampled)] - difference)
    kind = "within classes" if metric_named(metric).class_average else "of items"
    estimator = f"paired bootstrap {kind}, {resamples_of(metric, len(draws[0]))} resamples"
    if not len(moved):
        why = "no resample of so few items defines it"
        ends = (difference, difference)
        return Comparison(difference, *ends, 1.0, n, estimator, warning=warning or why)
    as_far = int((moved >= abs(difference) - _ROUNDING).sum())
    p = (1 + as_far) / (1 + len(moved))
    half = float(np.quantile(moved, 1 - ALPHA))
    ends = (difference - half, difference + half)
    few = warning or _doubt_of_any(metric, n)
    if half <= _ROUNDING:
        few = few or "the two never differ: no spread is known"
    return Comparison(difference, *ends, p, n, estimator, warning=few)


def comparison_warning(
    metric: str,
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    costs: NDArray[np.floating] | None = None,
) -> str | None:
    """Return why the interval of a paired difference may not hold what it says, or None.

    Args:
        metric: The metric's name.
        a: Probabilities of A, shape (S, N, C).
        b: Probabilities of B, shape (S', N, C), same items and classes.
        labels: Class indices, shape (N,).
        costs: Shape (C, C), rows the true class.
    """
    few = _doubt_of_any(metric, len(labels)) or few_of_a_class(metric, labels)
    if few is None and metric == "auroc":
        areas = [mean_score(metric, arm, labels) for arm in (a, b)]
        few = few_answers(areas[0], len(labels)) or few_answers(areas[1], len(labels))
    if few is None and (k := _that_differ(metric, a, b, labels, costs)) < FEW_THAT_DIFFER:
        few = f"the two differ on {k or 'no'} item{'s' * (k > 1)}: the interval is rough"
    return few


def _doubt_of_any(metric: str, n: int) -> str | None:
    """Return the warning that any two systems would get with this metric on so many items."""
    if metric == "ece":
        return "noise of the bins biases ECE, of the two not alike: the interval is rough"
    return few_items(n, FEW_PAIRED_ITEMS)


def _that_differ(
    metric: str,
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    labels: NDArray[np.integer],
    costs: NDArray[np.floating] | None,
) -> int:
    """Return how many items A and B decide differently, where the metric sees it.

    F1 sees every other decision, accuracy only a right one for a wrong one. Seeds are averaged.
    """

    def seen(arm: NDArray[np.floating]) -> NDArray[np.float64]:
        decided = decide(arm, costs)  # (S, N)
        if metric in ("accuracy", "balanced_accuracy"):
            values = (decided == labels)[..., None]
        elif metric == "mean_cost" and costs is not None:
            values = costs[labels, decided][..., None]
        else:
            values = np.eye(arm.shape[2])[decided]
        return np.asarray(values.mean(axis=0), dtype=np.float64)  # (N, 1) or (N, C)

    return int((np.abs(seen(a) - seen(b)) > _ROUNDING).any(axis=1).sum())


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the order given.

    Reference:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 6 (1979).

    Example:
        >>> [round(x, 3) for x in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted = [0.0] * len(p)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for the share of false calls, in the order given.

    The i-th smallest of m becomes min over j ≥ i of m p_j / j. Calling those below 0.05 different
    leaves at most 5 % false ones among the calls, on average; `holm` allows any false call at all
    in 5 % of the families.

    Args:
        p: Each in [0, 1]; of tests that are independent or positively dependent.

    Reference:
        Benjamini & Hochberg, Controlling the False Discovery Rate, J. R. Statist. Soc. B 57 (1995).

    Example:
        >>> [round(x, 3) for x in benjamini_hochberg([0.01, 0.04, 0.03, 0.005])]
        [0.02, 0.04, 0.04, 0.02]
    """
    order = sorted(range(len(p)), key=lambda i: p[i], reverse=True)
    adjusted = [0.0] * len(p)
    lowest = 1.0
    for place, i in enumerate(order):
        lowest = min(lowest, len(p) * p[i] / (len(p) - place))
        adjusted[i] = lowest
    return adjusted


def detectable_difference(comparison: Comparison) -> float:
    """Return the smallest true difference that is found with probability 0.8 at 0.05.

    Half the interval is 1.96 standard errors; 1.96 + 0.84 of them are needed.
    """
    standard_error = (comparison.high - comparison.low) / (2 * 1.959964)
    return (1.959964 + 0.841621) * standard_error
