"""Rates of one class that counts as positive, each with Wilson's interval."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import ShapeError
from regraft.measure.intervals import Interval, wilson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

RATES: Mapping[str, str] = MappingProxyType(
    {
        "recall": "share of the class's items that is predicted as it",
        "precision": "share of what is predicted as the class that is of it",
        "selection_rate": "share of all items that is predicted as the class",
        "false_positive_rate": "share of other items that is predicted as the class",
    }
)
"""What each rate is, by name; higher is better of the first two."""


def rate(
    name: str,
    predictions: NDArray[np.integer],
    labels: NDArray[np.integer],
    *,
    positive: int,
    level: float = 0.95,
) -> Interval:
    """Return a rate of a class with Wilson's interval; of several repetitions, their mean.

    Args:
        name: One of `RATES`.
        predictions: Predicted classes, shape (N,), or (S, N) for S repetitions.
        labels: Class indices, shape (N,).
        positive: The class.
        level: Nominal coverage.

    Returns:
        n is the number of items that the rate is a share of (for the precision of several
        repetitions their mean, rounded); NaN with n = 0 where there are none.

    Raises:
        ShapeError: The shapes do not fit together.

    Example:
        >>> rate("recall", np.array([1, 0, 1]), np.array([1, 1, 0]), positive=1).value
        0.5
    """
    repetitions = predictions if predictions.ndim == 2 else predictions[None]
    if repetitions.shape[1:] != labels.shape:
        raise ShapeError(
            f"rate: predictions {predictions.shape} and labels {labels.shape} do not fit. Give "
            "(N,) or (S, N), and (N,)."
        )
    chosen, actual = repetitions == positive, labels == positive
    among = {
        "recall": np.broadcast_to(actual, chosen.shape),
        "precision": chosen,
        "selection_rate": np.ones_like(chosen),
        "false_positive_rate": np.broadcast_to(~actual, chosen.shape),
    }[name]
    counted = actual if name == "precision" else chosen
    hits = float((among & counted).sum()) / len(repetitions)
    n = float(among.sum()) / len(repetitions)
    if round(n) == 0:
        return nothing(level)
    return wilson(hits / n * round(n), round(n), level=level)


def nothing(level: float = 0.95) -> Interval:
    """Return the interval of what no item defines: NaN, n = 0."""
    nan = float("nan")
    return Interval(nan, nan, nan, 0, "Wilson score interval", level, "no item defines it")
