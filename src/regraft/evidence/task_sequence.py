"""What models kept after one task and the next make of all tasks: transfer, and forgetting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.errors import ShapeError
from regraft.evidence.words import number, signed
from regraft.measure.continual import ContinualScores, continual_scores
from regraft.measure.intervals import FEW_ITEMS, Interval, wilson
from regraft.seeds import numpy_generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_DRAWS = 2000
_ESTIMATOR = "percentile bootstrap of each task's items, paired over models"
_MEANINGS = {
    "accuracy": "mean accuracy on all tasks after the last",
    "backward": "what later tasks did to earlier ones",
    "forward": "accuracy on a task before it is learnt, over its most frequent class",
    "forgetting": "what is lost since each earlier task was known best",
}


@dataclass(frozen=True, slots=True)
class TaskSequence:
    """The matrix of a sequence of tasks, and its summaries.

    Attributes:
        names: Of the tasks, in the order learnt.
        scores: R[i][j], accuracy on task j after task i.
        chance: Accuracy on each task of its most frequent class.
        summaries: ``accuracy``, ``backward``, ``forward``, ``forgetting``.
        seed: Of the resampling.
    """

    names: tuple[str, ...]
    scores: tuple[tuple[Interval, ...], ...]
    chance: tuple[float, ...]
    summaries: dict[str, Interval]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Return the plain record."""
        return {
            "tasks": list(self.names),
            "scores": [[one.to_json() for one in row] for row in self.scores],
            "chance": list(self.chance),
            "summaries": {key: one.to_json() for key, one in self.summaries.items()},
            "draws": _DRAWS,
            "seed": self.seed,
            "sentences": self.sentences(),
        }

    def sentences(self) -> list[str]:
        """Return what the summaries say, with their intervals."""
        found = []
        for key, one in self.summaries.items():
            show = number if key == "accuracy" else signed
            ends = f"[{show(one.low)}, {show(one.high)}]"
            warned = f" ({one.warning})" if one.warning else ""
            found.append(f"{key} {show(one.value)} {ends}: {_MEANINGS[key]}{warned}")
        return found


def task_sequence(
    rights: Sequence[Sequence[NDArray[np.bool_]]],
    labels: Sequence[NDArray[np.integer]],
    *,
    names: Sequence[str],
    seed: int,
) -> TaskSequence:
    """Return what T models, kept after task 0, 1 …, make of T tasks.

    Args:
        rights: rights[i][j], shape (n_j,): which items of task j the model after task i has right.
        labels: Of the items of each task, shape (n_j,), in the same order.
        names: Of the tasks.
        seed: Of the resampling.

    Raises:
        ShapeError: There are fewer than two tasks, or rights and labels do not fit.

    Reference:
        Lopez-Paz & Ranzato, Gradient Episodic Memory for Continual Learning, NeurIPS 2017;
        Chaudhry et al., Riemannian Walk for Incremental Learning, ECCV 2018.
    """
    n_tasks = len(labels)
    fits = len(rights) == n_tasks and all(
        [len(one) for one in row] == [len(one) for one in labels] for row in rights
    )
    if n_tasks < 2 or not fits or not all(len(one) for one in labels):
        raise ShapeError("each of two or more tasks needs the answers of every model to its items.")
    common = [one == np.bincount(one).argmax() for one in labels]
    columns = [np.stack([*(row[j] for row in rights), common[j]], axis=1) for j in range(n_tasks)]
    generator = numpy_generator(seed, "task sequence")
    whole = np.stack([one.mean(axis=0) for one in columns], axis=1)
    drawn = np.stack([_resampled(one, generator) for one in columns], axis=2)
    scores = tuple(tuple(wilson(float(one.sum()), len(one)) for one in row) for row in rights)
    fewest = min(len(one) for one in labels)
    warning = f"n = {fewest} in a task" if fewest < FEW_ITEMS else None
    spread = [_summary(one) for one in drawn]
    summaries = {}
    for key in _MEANINGS:
        value = getattr(_summary(whole), key)
        low, high = np.quantile([getattr(one, key) for one in spread], (0.025, 0.975))
        n = sum(len(one) for one in labels)
        low, high = min(float(low), value), max(float(high), value)
        summaries[key] = Interval(value, low, high, n, _ESTIMATOR, warning=warning)
    return TaskSequence(tuple(names), scores, tuple(whole[-1].tolist()), summaries, seed)


def _resampled(columns: NDArray[np.bool_], generator: np.random.Generator) -> NDArray[np.float64]:
    """Return means (draws, k) of columns (n, k) over rows drawn with replacement.

    Rows that are equal are drawn together: how often each kind comes is multinomial.
    """
    kinds, counts = np.unique(columns, axis=0, return_counts=True)
    drawn = generator.multinomial(len(columns), counts / len(columns), size=_DRAWS)
    means: NDArray[np.float64] = drawn @ kinds.astype(np.float64) / len(columns)
    return means


def _summary(scores: NDArray[np.float64]) -> ContinualScores:
    """Summarise (T + 1, T): R, and below it the accuracy of the most frequent class."""
    return continual_scores(scores[:-1], baseline=scores[-1])
