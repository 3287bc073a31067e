"""Bootstrap resamples of items, as weights, shared by all that is compared on those items."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import ShapeError
from regraft.measure.metrics import metric_named, weighted_metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_CHUNK_NUMBERS = 1 << 19
_KEPT_DRAWS = 24 << 20
"""Most draws, a byte each, of resamples that are kept for whoever asks for the same next."""
AUROC_RESAMPLES = 2000
"""Each AUROC resample needs a pass over the sorted items per class; more would take minutes."""


def resamples_of(metric: str, resamples: int) -> int:
    """Return how many resamples are really drawn for a metric."""
    return min(resamples, AUROC_RESAMPLES) if metric == "auroc" else resamples


def resample_weights(
    strata: Sequence[NDArray[np.intp]],
    *,
    n_items: int,
    resamples: int,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Return weights (n_items, resamples): of the n items of a stratum, n−1 drawn with replacement.

    A drawn item weighs n/(n−1), so that each stratum keeps its weight and the variance of a
    weighted mean is the unbiased one however small the stratum is. An item alone in its stratum
    always weighs 1.

    Args:
        strata: Row indices of each stratum; together every row once.
        n_items: Number of rows.
        resamples: Number of columns.
        generator: Source of chance.

    Reference:
        Rao & Wu, Resampling Inference with Complex Survey Data, JASA 83 (1988), section 2 (n_h − 1
        draws).
    """
    weights = np.zeros((n_items, resamples))
    columns = np.arange(resamples)[:, None]
    for rows in strata:
        n = len(rows)
        if n == 1:
            weights[rows] = 1.0
            continue
        drawn = generator.integers(0, n, size=(resamples, n - 1))
        drawn *= resamples
        drawn += columns
        counts = np.bincount(drawn.ravel(), minlength=n * resamples).reshape(n, resamples)
        weights[rows] = counts * (n / (n - 1))
    return weights


def resampled_scores(
    metric: str,
    arms: Sequence[NDArray[np.floating]],
    labels: NDArray[np.integer],
    *,
    costs: NDArray[np.floating] | None = None,
    resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return the metric of each arm on the same resamples of items, mean over an arm's repetitions.

    Metrics that weigh classes alike are resampled within classes, others over all items.

    Args:
        metric: A metric's name.
        arms: Probabilities of each arm, shape (S, N, C); S may differ.
        labels: Class indices, shape (N,).
        costs: Shape (C, C), rows the true class.
        resamples: Resamples asked for; `resamples_of` says how many are drawn.
        seed: Of the resampling; the same seed gives the same resamples to any arms.

    Returns:
        Shape (arms, resamples drawn); resamples where the metric is undefined are NaN.

    Raises:
        ConfigError: The metric is unknown, or is ``mean_cost`` and no costs are given.
        ShapeError: The shapes do not fit together.
    """
    found = resampled_repetitions(metric, arms, labels, costs=costs, resamples=resamples, seed=seed)
    return np.stack([one.mean(axis=0) for one in found])


def resampled_repetitions(
    metric: str,
    arms: Sequence[NDArray[np.floating]],
    labels: NDArray[np.integer],
    *,
    costs: NDArray[np.floating] | None = None,
    resamples: int,
    seed: int,
) -> list[NDArray[np.float64]]:
    """Return what `resampled_scores` averages: for each arm, shape (S, resamples drawn)."""
    for arm in arms:
        if arm.ndim != 3 or arm.shape[1] != len(labels):
            raise ShapeError(
                f"probabilities {arm.shape} do not fit {len(labels)} labels. Give (seeds, N, C)."
            )
    measures = [[weighted_metric(metric, p, labels, costs=costs) for p in arm] for arm in arms]
    strata = _strata(labels, by_class=metric_named(metric).class_average)
    chunks: list[list[NDArray[np.float64]]] = [[] for _ in arms]
    for weights in _weights(strata, len(labels), resamples_of(metric, resamples), seed):
        for place, seeds in enumerate(measures):
            chunks[place].append(np.stack([of(weights) for of in seeds]))
    return [np.concatenate(one, axis=1) for one in chunks]


def mean_score(
    metric: str,
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    costs: NDArray[np.floating] | None = None,
) -> float:
    """Return the metric, mean over repetitions; probabilities are (S, N, C) or (N, C)."""
    ones = np.ones((len(labels), 1))
    parts = probabilities if probabilities.ndim == 3 else probabilities[None]
    values = [weighted_metric(metric, p, labels, costs=costs)(ones)[0] for p in parts]
    return float(np.mean(values))


def centred(draws: NDArray[np.float64], value: float) -> NDArray[np.float64]:
    """Return the draws that are defined, moved so that their mean is the estimate.

    A resample of items holds repetitions, which moves some estimators (ECE most); the move is their
    bias.
    """
    defined = draws[~np.isnan(draws)]
    return defined - (defined.mean() - value) if len(defined) else defined


def _weights(
    strata: Sequence[NDArray[np.intp]], n_items: int, resamples: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    """Yield the weights of all resamples, some columns at a time."""
    if n_items * resamples > _KEPT_DRAWS:
        yield from _drawn(strata, n_items, resamples, seed)
        return
    each = _weight_of_a_draw(strata, n_items)
    for counts in _counts(tuple(rows.tobytes() for rows in strata), n_items, resamples, seed):
        yield counts * each


@lru_cache(maxsize=4)
def _counts(
    strata: tuple[bytes, ...], n_items: int, resamples: int, seed: int
) -> list[NDArray[np.uint8]]:
    """Return how often each item was drawn.

    The metrics and arms of a part of the data ask for the same resamples in turn.
    """
    rows = [np.frombuffer(one, np.intp) for one in strata]
    each = _weight_of_a_draw(rows, n_items)
    return [
        np.rint(weights / each).astype(np.uint8)
        for weights in _drawn(rows, n_items, resamples, seed)
    ]


def _weight_of_a_draw(strata: Sequence[NDArray[np.intp]], n_items: int) -> NDArray[np.float64]:
    """Return n/(n−1) of each item's stratum, shape (n_items, 1); 1 where it is alone."""
    each = np.ones((n_items, 1))
    for rows in strata:
        each[rows] = len(rows) / max(len(rows) - 1, 1)
    return each


def _drawn(
    strata: Sequence[NDArray[np.intp]], n_items: int, resamples: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    for size in _chunk_sizes(resamples, n_items):
        yield resample_weights(strata, n_items=n_items, resamples=size, generator=generator)


def _strata(labels: NDArray[np.integer], *, by_class: bool) -> list[NDArray[np.intp]]:
    if not by_class:
        return [np.arange(len(labels))]
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _chunk_sizes(resamples: int, n_items: int) -> Iterator[int]:
    size = max(1, _CHUNK_NUMBERS // n_items)
    while resamples > 0:
        yield min(size, resamples)
        resamples -= size
