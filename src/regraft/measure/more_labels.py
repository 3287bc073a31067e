"""How many more labels would narrow an interval enough to decide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from regraft.errors import ShapeError
from regraft.measure.spreads import wilson_ends

if TYPE_CHECKING:
    from collections.abc import Callable

    from regraft.measure.intervals import Interval

MOST_LABELS = 1_000_000
"""More than anybody would label: the value stands at the bound as far as can be told."""


def with_more_items(one: Interval, factor: float, *, proportion: bool) -> Interval:
    """Return the interval that the same value would have on `factor` times as many items.

    Wilson's for a proportion, of as many effective items as the interval shows; else the distances
    of its ends shrink with 1/√factor.

    Args:
        one: An interval; for a proportion, Wilson's.
        factor: ≥ 1.
        proportion: Whether it is of a proportion.

    Raises:
        ShapeError: The factor is below 1.
    """
    if factor < 1.0:
        raise ShapeError(f"with_more_items: factor {factor}. Give 1 or more.")
    if factor == 1.0 or np.isnan(one.value) or one.low == one.high:
        return one
    if proportion:
        low, high = wilson_ends(one.value, factor * wilson_items(one), level=one.level)
    else:
        shrunk = 1.0 / float(np.sqrt(factor))
        low = one.value - shrunk * (one.value - one.low)
        high = one.value + shrunk * (one.high - one.value)
    return replace(one, low=low, high=high)


def wilson_items(one: Interval) -> float:
    """Return the items n of Wilson's interval, from its ends: z² e(1 − e)/(v − e)² for an end e.

    Example:
        >>> from regraft.measure.intervals import wilson
        >>> round(wilson_items(wilson(45, 60)), 6)
        60.0
    """
    z = float(norm.ppf(0.5 + one.level / 2))
    end = one.low if one.value - one.low >= one.high - one.value else one.high
    return z**2 * end * (1 - end) / (one.value - end) ** 2


def labels_needed(n: int, decides: Callable[[float], bool]) -> int | None:
    """Return the least number of labels beside n with which it is decided; None where none helps.

    Args:
        n: Labels that there are, ≥ 1.
        decides: Whether it is decided on so many times the labels; once true, true of all more.

    Example:
        >>> labels_needed(100, lambda factor: factor >= 2.5)
        150
    """
    if decides(1.0):
        return 0
    least, most = 0, 1
    while not decides((n + most) / n):
        least, most = most, 2 * most
        if least >= MOST_LABELS:
            return None
    while most - least > 1:
        middle = (least + most) // 2
        if decides((n + middle) / n):
            most = middle
        else:
            least = middle
    return most if most <= MOST_LABELS else None
