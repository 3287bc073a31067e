"""The median of measurements, with an interval that assumes nothing of how they are spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom

from regraft.errors import ShapeError
from regraft.measure.intervals import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEAST = 6


def median_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Return the median with the interval between two order statistics.

    The r-th smallest and the r-th greatest value hold the true median between them with chance
    1 − 2 P(Binomial(n, ½) < r), whatever the distribution of independent values.

    Args:
        values: Measurements, at least one. Of fewer than 6 no two hold 95 %: a warning says so.
        level: Nominal coverage; the true one is at least as high.

    Raises:
        ShapeError: There are no values.

    Reference:
        David & Nagaraja, Order Statistics, 3rd edition (2003), section 7.1.

    Example:
        >>> one = median_interval([5.0, 1.0, 3.0, 2.0, 4.0, 6.0, 7.0, 8.0, 9.0])
        >>> one.value, one.low, one.high
        (5.0, 2.0, 8.0)
    """
    if not len(values):
        raise ShapeError("median_interval: no values. Give at least one.")
    ordered, n = np.sort(np.asarray(values, np.float64)), len(values)
    # The greatest r with P(Binomial(n, 1/2) <= r - 1) at most half of what may miss.
    r = max(1, int(np.sum(binom.cdf(np.arange(n), n, 0.5) <= (1 - level) / 2)))
    warning = f"{n} values are few: the interval is rough" if n < _LEAST else None
    return Interval(
        value=float(np.median(ordered)),
        low=float(ordered[r - 1]),
        high=float(ordered[n - r]),
        n=n,
        estimator="median, between order statistics",
        level=level,
        warning=warning,
    )
