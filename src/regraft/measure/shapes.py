"""Whether arrays fit together, said in one way by all that measures them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regraft.errors import ShapeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def check_probabilities(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], *, where: str
) -> None:
    """Refuse probabilities and labels that do not fit together.

    Args:
        probabilities: Must have shape (N, C), N ≥ 1.
        labels: Must be class indices in 0…C−1, shape (N,).
        where: The function that was called.

    Raises:
        ShapeError: They do not fit, or a label is not a class.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ShapeError(
            f"probabilities {probabilities.shape} and labels {labels.shape} do not fit. "
            "Give (N, C) and (N,) with N of at least 1.",
            where=where,
        )
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ShapeError(
            f"labels reach from {labels.min()} to {labels.max()}, classes from 0 to "
            f"{probabilities.shape[1] - 1}. Give class indices.",
            where=where,
        )
