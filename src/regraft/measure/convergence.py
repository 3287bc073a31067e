"""How soon a run was as good as it got, and how much sooner than one from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARE = 0.95


def convergence_index(
    values: Sequence[float], *, higher_is_better: bool = True, share: float = SHARE
) -> int | None:
    """Return which evaluation first gained 95 % of what the best gained over the first.

    The threshold is m0 + share · (best − m0), for metrics where lower is better with the sign
    turned.

    Args:
        values: A validation metric, in order of time.
        higher_is_better: The metric's direction.
        share: The share of the whole gain that counts as converged, in (0, 1].

    Returns:
        An index into `values`; 0 when nothing was gained; None when there are no values.
    """
    if not values:
        return None
    sign = 1.0 if higher_is_better else -1.0
    signed = [sign * value for value in values]
    threshold = signed[0] + share * (max(signed) - signed[0])
    return next(i for i, value in enumerate(signed) if value >= threshold)


def convergence_step(
    steps: Sequence[int], values: Sequence[float], *, higher_is_better: bool = True
) -> int | None:
    """Return the optimiser step of the evaluation that `convergence_index` names.

    Args:
        steps: Optimiser steps of the evaluations, ascending.
        values: The validation metric after each.
        higher_is_better: The metric's direction.

    Raises:
        ShapeError: The two differ in length.

    Example:
        >>> convergence_step([10, 20, 30, 40], [0.5, 0.8, 0.89, 0.9])
        30
    """
    if len(steps) != len(values):
        raise ShapeError(f"convergence_step: {len(steps)} steps and {len(values)} values differ.")
    index = convergence_index(values, higher_is_better=higher_is_better)
    return None if index is None else int(steps[index])


def convergence_seconds(
    seconds: Sequence[float], values: Sequence[float], *, higher_is_better: bool = True
) -> float | None:
    """Return the seconds, from the run's start, of the evaluation that `convergence_index` names.

    Raises:
        ShapeError: The two differ in length.
    """
    if len(seconds) != len(values):
        raise ShapeError(
            f"convergence_seconds: {len(seconds)} times and {len(values)} values differ."
        )
    index = convergence_index(values, higher_is_better=higher_is_better)
    return None if index is None else float(seconds[index])


def time_to_reach(
    times: Sequence[float], values: Sequence[float], target: float, *, higher_is_better: bool = True
) -> float | None:
    """Return the time (steps or seconds) of the first evaluation at or beyond a target.

    Args:
        times: Of the evaluations, ascending.
        values: The validation metric at each.
        target: The metric's value to reach.
        higher_is_better: The metric's direction.

    Returns:
        None where the target was never reached.

    Raises:
        ShapeError: The two differ in length.
    """
    if len(times) != len(values):
        raise ShapeError(f"time_to_reach: {len(times)} times and {len(values)} values differ.")
    sign = 1.0 if higher_is_better else -1.0
    reached = (
        time for time, value in zip(times, values, strict=True) if sign * value >= sign * target
    )
    first = next(reached, None)
    return None if first is None else float(first)


@dataclass(frozen=True, slots=True)
class SpeedUp:
    """How many times sooner a transferred run was as good as the best from scratch.

    Attributes:
        target: The best value of the run from scratch.
        scratch: Steps or seconds that it took from scratch, to the first evaluation that good.
        transfer: Steps or seconds of the transferred run; ∞ where it never was as good.
        ratio: scratch / transfer; 0 where never reached, ∞ where reached before the first step.
    """

    target: float
    scratch: float
    transfer: float
    ratio: float

    def text(self) -> str:
        """Return the ratio in words: ``5.0 ×``, ``never reached`` or ``from the start``."""
        if np.isinf(self.transfer):
            return "never reached"
        return "from the start" if np.isinf(self.ratio) else f"{self.ratio:.1f} ×"


def speed_up(
    scratch_times: Sequence[float],
    scratch: Sequence[float],
    transfer_times: Sequence[float],
    transfer: Sequence[float],
    *,
    higher_is_better: bool = True,
) -> SpeedUp:
    """Return how many times sooner transfer reaches the best of the run from scratch.

    Args:
        scratch_times: Steps or seconds of the evaluations from scratch, ascending.
        scratch: The validation metric at each; at least one.
        transfer_times: Steps or seconds of the transferred run, in the same unit.
        transfer: The validation metric at each.
        higher_is_better: The metric's direction.

    Raises:
        ShapeError: Times and values differ in length, or there are none from scratch.

    Example:
        >>> speed_up([100, 200, 300], [0.5, 0.7, 0.8], [10, 60], [0.75, 0.85]).text()
        '5.0 ×'
    """
    if not scratch:
        raise ShapeError("speed_up: the run from scratch has no evaluations. Give at least one.")
    target = max(scratch) if higher_is_better else min(scratch)
    slow = time_to_reach(scratch_times, scratch, target, higher_is_better=higher_is_better)
    fast = time_to_reach(transfer_times, transfer, target, higher_is_better=higher_is_better)
    if slow is None:
        raise ShapeError("speed_up: a value from scratch is no number. Leave it out.")
    if fast is None:
        return SpeedUp(target, slow, float("inf"), 0.0)
    if fast > 0:
        return SpeedUp(target, slow, fast, slow / fast)
    return SpeedUp(target, slow, fast, float("inf") if slow > 0 else 1.0)


def area_under_curve(
    times: Sequence[float],
    values: Sequence[float],
    *,
    low: float | None = None,
    high: float | None = None,
) -> float:
    """Return the mean over time of (value − low) / (high − low), by trapezoids.

    1 is a run that is at its best from the start. Where lower is better, `low` is the larger of the
    two, and the area reads the same.

    Args:
        times: Steps or seconds of the evaluations, strictly ascending, at least 2.
        values: The validation metric at each.
        low: The value that counts as 0; by default the first. Give the same to runs compared.
        high: The value that counts as 1; by default the furthest that the run gets from `low`.

    Returns:
        NaN where low equals high: nothing was gained.

    Raises:
        ShapeError: The lengths differ, are below 2, or the times do not ascend.

    Example:
        >>> area_under_curve([0, 10, 20], [0.5, 0.9, 0.9])
        0.75
    """
    if len(times) != len(values) or len(times) < 2 or (np.diff(times) <= 0).any():
        raise ShapeError(
            f"area_under_curve: {len(times)} times and {len(values)} values. "
            "Give at least 2 of each, times strictly ascending."
        )
    curve = np.asarray(values, dtype=np.float64)
    start = float(curve[0]) if low is None else low
    end = float(curve[np.abs(curve - start).argmax()]) if high is None else high
    if start == end:
        return float("nan")
    width = float(times[-1] - times[0])
    return float(np.trapezoid((curve - start) / (end - start), np.asarray(times)) / width)
