"""How soon a run was as good as it got."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
