"""Where the errors are: slices that fail more than the rest, confusions, hardest items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import hypergeom

from regraft.errors import ShapeError
from regraft.measure.comparison import ALPHA, holm
from regraft.measure.intervals import Interval, wilson
from regraft.measure.shapes import check_probabilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FEWEST = 10
CLUSTERS = 8
MOST_VALUES = 50


def cluster_slices(
    features: NDArray[np.floating], *, n_clusters: int = CLUSTERS, seeds: Sequence[int] = (0,)
) -> dict[str, NDArray[np.bool_]]:
    """Return k-means clusters of features as candidate slices.

    Features are centred and scaled as a whole; the same seeds give the same clusters. Several seeds
    give several partitions: what is found with all of them does not hang on one start.

    Args:
        features: Shape (N, d), N ≥ 2.
        n_clusters: Clusters of each partition, in [2, N].
        seeds: One partition each.

    Returns:
        Name, for example ``cluster 3``, or ``cluster 3 (seed 1)`` with several seeds → the items in
        it, shape (N,).

    Raises:
        ShapeError: There are fewer items than clusters, or fewer than 2 clusters.
    """
    from sklearn.cluster import KMeans

    if features.ndim != 2 or not 2 <= n_clusters <= len(features):
        raise ShapeError(
            f"cluster_slices: {n_clusters} clusters of features {features.shape}. "
            "Give (N, d) and from 2 to N clusters."
        )
    wide = features.astype(np.float64)
    wide = (wide - wide.mean(axis=0)) / (wide.std() or 1.0)
    slices = {}
    for seed in seeds:
        members = KMeans(n_clusters, n_init=3, random_state=seed).fit_predict(wide)
        ending = f" (seed {seed})" if len(seeds) > 1 else ""
        for cluster in np.unique(members):
            slices[f"cluster {cluster}{ending}"] = members == cluster
    return slices


def metadata_slices(
    columns: Mapping[str, Sequence[object]], *, most_values: int = MOST_VALUES
) -> dict[str, NDArray[np.bool_]]:
    """Return the values of metadata columns as candidate slices, ``column = value``.

    Args:
        columns: Column → one value per item.
        most_values: Columns of more different values than this (identifiers) give no slices.
    """
    slices = {}
    for column, values in columns.items():
        texts = np.asarray([str(value) for value in values])
        known = np.unique(texts)
        if len(known) <= most_values:
            slices.update({f"{column} = {value}": texts == value for value in known})
    return slices


@dataclass(frozen=True, slots=True)
class ErrorSlice:
    """A slice and how often the classifier errs in it.

    Attributes:
        name: As the candidate was named.
        errors: Wrong items in it.
        rate: Share of its items that is wrong, with Wilson's interval; its n counts the items.
        rest: Share of all other items that is wrong.
        p: One-sided mid-p that so many errors fall into a slice of this size by chance.
        p_adjusted: p after Holm's correction for all slices tested.
    """

    name: str
    errors: int
    rate: Interval
    rest: float
    p: float
    p_adjusted: float

    @property
    def is_worse(self) -> bool:
        """Whether errors are significantly more frequent here than elsewhere, at 0.05."""
        return self.p_adjusted < ALPHA


def error_slices(
    wrong: NDArray[np.bool_],
    candidates: Mapping[str, NDArray[np.bool_]],
    *,
    fewest: int = FEWEST,
) -> list[ErrorSlice]:
    """Return the candidate slices with their error rates, the most significant first.

    Of N items with K errors, a slice of n drawn by chance holds X ~ Hypergeometric(N, K, n) errors;
    p = P(X > k) + ½ P(X = k). Slices below `fewest` items, or of all items, are not tested and do
    not count in the correction. Candidates must not be made from what is tested: clusters of
    features and metadata are fair, groups of errors are not.

    Args:
        wrong: Whether each item is wrong, shape (N,).
        candidates: Name → the items in it, shape (N,).
        fewest: Smallest slice that is tested, ≥ 1.

    Raises:
        ShapeError: A candidate has another length than `wrong`.

    Reference:
        Fisher's exact test with the mid-p of Lancaster, JASA 56 (1961); Holm, Scand. J. Statist. 6
        (1979).
    """
    n_all, n_wrong = len(wrong), int(wrong.sum())
    tested, counts = [], []
    for name, rows in candidates.items():
        if rows.shape != wrong.shape:
            raise ShapeError(
                f"slice {name!r} covers {rows.shape} items, there are {wrong.shape}. "
                "Give one truth value per item."
            )
        n = int(rows.sum())
        if max(1, fewest) <= n < n_all:
            tested.append(name)
            counts.append((n, int((wrong & rows).sum())))
    p = [_mid_p(k, n_all, n_wrong, n) for n, k in counts]
    found = [
        ErrorSlice(name, k, wilson(k, n), (n_wrong - k) / (n_all - n), one, adjusted)
        for name, (n, k), one, adjusted in zip(tested, counts, p, holm(p), strict=True)
    ]
    return sorted(found, key=lambda one: (one.p, -one.rate.value, one.name))


def _mid_p(errors: int, n_all: int, n_wrong: int, n: int) -> float:
    law = hypergeom(n_all, n_wrong, n)
    # Rounding of the two terms may leave 1 + 1e-16.
    return float(min(1.0, law.sf(errors) + 0.5 * law.pmf(errors)))


@dataclass(frozen=True, slots=True)
class Confusion:
    """One class taken for another.

    Attributes:
        label: The right class.
        prediction: What it is taken for.
        n: How often.
        share: Of the items of the right class.
    """

    label: int
    prediction: int
    n: int
    share: float


def ranked_confusions(
    predictions: NDArray[np.integer], labels: NDArray[np.integer]
) -> list[Confusion]:
    """Return every confusion that occurs, the most frequent first.

    Args:
        predictions: Predicted classes, shape (N,).
        labels: Class indices, shape (N,).

    Raises:
        ShapeError: The shapes differ.

    Example:
        >>> ranked_confusions(np.array([1, 1, 0]), np.array([0, 0, 1]))[0]
        Confusion(label=0, prediction=1, n=2, share=1.0)
    """
    if predictions.shape != labels.shape or labels.ndim != 1:
        raise ShapeError(
            f"predictions {predictions.shape} and labels {labels.shape} do not fit. "
            "Give (N,) twice."
        )
    is_wrong = predictions != labels
    pairs = np.stack([labels[is_wrong], predictions[is_wrong]], axis=1)
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    found = [
        Confusion(int(label), int(taken), int(n), float(n / (labels == label).sum()))
        for (label, taken), n in zip(unique, counts, strict=True)
    ]
    return sorted(found, key=lambda one: (-one.n, -one.share, one.label, one.prediction))


def hardest_items(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], *, most: int = 20
) -> NDArray[np.intp]:
    """Return the rows of the items whose right class has the lowest probability, lowest first.

    Args:
        probabilities: Shape (N, C), N ≥ 1.
        labels: Class indices, shape (N,).
        most: How many to return at most.

    Raises:
        ShapeError: The shapes do not fit together, or a label is not a class.
    """
    check_probabilities(probabilities, labels, where="hardest_items")
    right = probabilities[np.arange(len(labels)), labels]
    return np.argsort(right, kind="stable")[:most]
