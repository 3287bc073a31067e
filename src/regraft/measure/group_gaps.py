"""Intervals that hold for all groups together: the worst group, and the gap between groups."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from regraft.measure.intervals import Interval
from regraft.measure.rates import nothing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def sidak(level: float, n: int) -> float:
    """Return the level of each of n independent intervals that hold together with `level`.

    Reference:
        Šidák, Rectangular Confidence Regions for the Means of Multivariate Normal Distributions,
        JASA 62 (1967).

    Example:
        >>> round(sidak(0.95, 2), 4)
        0.9747
    """
    return float(level ** (1.0 / max(n, 1)))


def worst_interval(
    groups: Mapping[str, Interval], *, higher_is_better: bool = True, level: float = 0.95
) -> Interval:
    """Return the value of the worst group with the interval of the worst value.

    Where the groups' intervals hold together, the worst value lies between the worst of the lower
    ends and the worst of the upper ends, whichever group is truly the worst.

    Args:
        groups: A quantity of each group; each interval of level `sidak(level, groups)`. Groups
            without a value (NaN) are left out, and the warning names them.
        higher_is_better: Its direction.
        level: Of the result, for the record.

    Returns:
        NaN with n = 0 where no group has a value.
    """
    defined = _defined(groups)
    if not defined:
        return nothing(level)
    worst = min if higher_is_better else max
    name = worst(sorted(defined), key=lambda key: defined[key].value)
    return Interval(
        value=defined[name].value,
        low=worst(one.low for one in defined.values()),
        high=worst(one.high for one in defined.values()),
        n=sum(one.n for one in defined.values()),
        estimator=f"worst of {len(defined)} groups, Šidák over groups; {defined[name].estimator}",
        level=level,
        warning=group_warning(groups),
    )


def pair_level(level: float, n_groups: int, families: int = 1) -> float:
    """Return the level of the groups' intervals for `gap_interval`: Bonferroni over all pairs."""
    pairs = n_groups * (n_groups - 1) // 2 * families
    return 1.0 - (1.0 - level) / max(pairs, 1)


def gap_interval(families: Sequence[Mapping[str, Interval]], *, level: float = 0.95) -> Interval:
    """Return the largest difference between two groups, with its interval.

    Each pair has the interval of a difference that follows from the intervals of its parts:
    d − √((v₁ − l₁)² + (u₂ − v₂)²) and d + √((u₁ − v₁)² + (v₂ − l₂)²), for proportions Newcombe's
    hybrid score. The largest |d| lies between the largest lower and the largest upper end of |d|.
    The observed gap of many small groups is larger than the true one; the interval allows for it.

    Args:
        families: The quantity of each group; several (true- and false-positive rate) where the
            largest gap of any of them counts. Each interval of level
            `pair_level(level, groups, families)`.
        level: Of the result, for the record.

    Returns:
        NaN with n = 0 where no family has two groups with a value.

    Reference:
        Newcombe, Interval Estimation for the Difference between Independent Proportions, Statist.
        Med. 17 (1998), method 10; Zou & Donner, Statist. Med. 27 (2008) for other quantities.
    """
    value, low, high = 0.0, 0.0, 0.0
    n_pairs, n = 0, 0
    how = ""
    for family in families:
        defined = list(_defined(family).values())
        for one, other in combinations(defined, 2):
            difference, below, above = _difference(one, other)
            least = max(below, -above, 0.0)
            value = max(value, abs(difference))
            low, high = max(low, least), max(high, abs(below), abs(above))
            n_pairs, how = n_pairs + 1, one.estimator
        n = max(n, sum(one.n for one in defined))
    if not n_pairs:
        return nothing(level)
    corrected = f", Bonferroni over {n_pairs} pairs" if n_pairs > 1 else ""
    warnings = [one for one in map(group_warning, families) if one]
    return Interval(
        value=value,
        low=min(low, value),
        high=max(high, value),
        n=n,
        estimator=f"difference from the groups' intervals{corrected}; {how}",
        level=level,
        warning=warnings[0] if warnings else None,
    )


def group_warning(groups: Mapping[str, Interval]) -> str | None:
    """Return which groups have no value, or an interval that is rough; None where all are well."""
    without = [name for name, one in groups.items() if np.isnan(one.value)]
    if without:
        return f"no item of {_listed(without)} defines it: left out"
    rough = [name for name, one in groups.items() if one.warning]
    if not rough:
        return None
    return f"{_listed(rough)}: {groups[rough[0]].warning}"


def gap_change(ours: Interval, theirs: Interval) -> Interval:
    """Return by how much one system's gap is wider than another's on the same items.

    d − √((v₁ − l₁)² + (u₂ − v₂)²) and d + √((u₁ − v₁)² + (v₂ − l₂)²) from the intervals of the two
    gaps. That both were measured on the same items is left out: answers of two systems agree more
    often than not, so that the interval is wide rather than narrow.

    Args:
        ours: The gap of one system, as `gap_interval` gives it.
        theirs: That of the other.
    """
    change, low, high = _difference(ours, theirs)
    return Interval(
        value=change,
        low=low,
        high=high,
        n=min(ours.n, theirs.n),
        estimator="difference from the two gaps' intervals, pairing left out",
        level=ours.level,
        warning=ours.warning or theirs.warning,
    )


def _difference(one: Interval, other: Interval) -> tuple[float, float, float]:
    difference = one.value - other.value
    below = np.hypot(one.value - one.low, other.high - other.value)
    above = np.hypot(one.high - one.value, other.value - other.low)
    return difference, difference - float(below), difference + float(above)


def _defined(groups: Mapping[str, Interval]) -> dict[str, Interval]:
    return {name: one for name, one in groups.items() if not np.isnan(one.value)}


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
