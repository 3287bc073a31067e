"""What learning one task after another gives to later tasks and takes from earlier ones.

R[i, j] is the metric (higher is better) on task j after learning tasks 0…i, in the order learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ContinualScores:
    """The summary of a matrix R of T tasks; NaN where a mean is over no task.

    Attributes:
        accuracy: ACC, see `average_accuracy`.
        backward: BWT, see `backward_transfer`.
        forward: FWT, see `forward_transfer`; None without a baseline.
        forgetting: See `forgetting`.
    """

    accuracy: float
    backward: float
    forward: float | None
    forgetting: float


def average_accuracy(scores: NDArray[np.floating]) -> float:
    """Return ACC = mean_j R[T, j], over all tasks after the last was learnt.

    Raises:
        ShapeError: R is not square.
    """
    return float(_square(scores)[-1].mean())


def backward_transfer(scores: NDArray[np.floating]) -> float:
    """Return BWT = mean_{j<T} (R[T, j] − R[j, j]); below 0 where earlier tasks were harmed.

    Args:
        scores: R, shape (T, T).

    Returns:
        NaN for one task.

    Raises:
        ShapeError: R is not square.

    Reference:
        Lopez-Paz & Ranzato, Gradient Episodic Memory for Continual Learning, NeurIPS 2017, eq. 3.

    Example:
        >>> round(backward_transfer(np.array([[0.9, 0.2], [0.7, 0.8]])), 6)
        -0.2
    """
    matrix = _square(scores)
    return _mean(matrix[-1, :-1] - np.diag(matrix)[:-1])


def forward_transfer(scores: NDArray[np.floating], baseline: NDArray[np.floating]) -> float:
    """Return FWT = mean_{j>1} (R[j−1, j] − b_j); above 0 where earlier tasks helped in advance.

    Args:
        scores: R, shape (T, T).
        baseline: b, the metric on each task of a model that learnt nothing, shape (T,).

    Returns:
        NaN for one task.

    Raises:
        ShapeError: R is not square, or the baseline has another length.

    Reference:
        Lopez-Paz & Ranzato, Gradient Episodic Memory for Continual Learning, NeurIPS 2017, eq. 4.
    """
    matrix = _square(scores)
    if baseline.shape != matrix.shape[:1]:
        raise ShapeError(
            f"forward_transfer: a baseline of shape {baseline.shape} for {len(matrix)} tasks. "
            "Give one value per task."
        )
    return _mean(np.diag(matrix, k=1) - baseline[1:])


def forgetting(scores: NDArray[np.floating]) -> float:
    """Return mean_{j<T} (max_{l<T} R[l, j] − R[T, j]); 0 where nothing was lost.

    Args:
        scores: R, shape (T, T).

    Returns:
        Negative where earlier tasks gained; NaN for one task.

    Raises:
        ShapeError: R is not square.

    Reference:
        Chaudhry et al., Riemannian Walk for Incremental Learning, ECCV 2018, eq. 3.
    """
    matrix = _square(scores)
    if len(matrix) == 1:
        return float("nan")
    return _mean(matrix[:-1, :-1].max(axis=0) - matrix[-1, :-1])


def upstream_retention(before: float, after: float) -> float:
    """Return after / before, the share of the source task's metric that adaptation left.

    Args:
        before: The source metric of the pretrained model, > 0; higher is better.
        after: The same of the adapted one.

    Raises:
        ShapeError: `before` is not above 0.

    Example:
        >>> upstream_retention(0.8, 0.6)
        0.7499999999999999
    """
    if not before > 0:
        raise ShapeError(f"upstream_retention: {before} before is no base. Give one above 0.")
    return after / before


def continual_scores(
    scores: NDArray[np.floating], *, baseline: NDArray[np.floating] | None = None
) -> ContinualScores:
    """Return ACC, BWT, FWT and forgetting of R.

    Args:
        scores: R, shape (T, T), T ≥ 1.
        baseline: The metric on each task of a model that learnt nothing, shape (T,); for FWT.

    Raises:
        ShapeError: R is not square, or the baseline has another length.
    """
    return ContinualScores(
        accuracy=average_accuracy(scores),
        backward=backward_transfer(scores),
        forward=None if baseline is None else forward_transfer(scores, baseline),
        forgetting=forgetting(scores),
    )


def _mean(values: NDArray[np.floating]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _square(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or not scores.size:
        raise ShapeError(
            f"scores {scores.shape} are no matrix of tasks by tasks. Give (T, T), row i after "
            "learning task i."
        )
    return scores.astype(np.float64)
