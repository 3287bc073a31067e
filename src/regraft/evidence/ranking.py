"""Which of several models will transfer best, before any training; and how far to trust that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from regraft.errors import ShapeError
from regraft.measure.transferability.discriminant import etran, ped, sfda
from regraft.measure.transferability.judging import kendall_w
from regraft.measure.transferability.labelled import class_indices
from regraft.measure.transferability.log_evidence import logme
from regraft.measure.transferability.neighbours import (
    knn_transfer,
    linear_probe,
    parc,
    stratified,
)
from regraft.measure.transferability.scatter import h_score_shrunk
from regraft.measure.transferability.separation import gbc, transrate
from regraft.measure.transferability.source_head import leep, n_leep, nce
from regraft.seeds import derive, numpy_generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_ITEMS = 1000
HALVES = 30
NO_SOURCE_HEAD = "no source head"

FROM_FEATURES: dict[str, Callable[[NDArray[np.floating], NDArray[np.generic]], float]] = {
    "linear_probe": linear_probe,
    "knn": knn_transfer,
    "logme": logme,
    "h_score_shrunk": h_score_shrunk,
    "n_leep": n_leep,
    "sfda": sfda,
    "ped": ped,
    "transrate": transrate,
    "gbc": gbc,
    "parc": parc,
}
"""Estimators of one model from its features; ETran, of all together, comes beside them."""

FROM_SOURCE: dict[str, Callable[[NDArray[np.floating], NDArray[np.generic]], float]] = {
    "leep": leep,
    "nce": lambda source, labels: nce(source.argmax(axis=1), labels),
}
"""Estimators of one model from its source head's probabilities. They count towards the order where
every candidate brings one."""

_FIRM = (0.9, 0.7)
_FAIR = (0.6, 0.4)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A model that may be chosen.

    Attributes:
        name: Its reference.
        features: Its pooled features of the labelled items, shape (n, d).
        source: Its source head's probabilities of them, shape (n, Z); None where it has no head.
    """

    name: str
    features: NDArray[np.floating]
    source: NDArray[np.floating] | None = None


@dataclass(frozen=True, slots=True)
class EstimatorView:
    """What one estimator says.

    Attributes:
        name: The estimator.
        scores: By candidate that it can score; empty where it can score none, as all below.
        ranks: Of these, 1 for the best.
        low: 2.5 % quantile of the rank over half-samples of the items.
        high: 97.5 % quantile.
        stability: Share of the half-samples in which its first candidate is the same; None where
            it can score none.
        note: Why it does not count; empty where it does.
    """

    name: str
    scores: Mapping[str, float]
    ranks: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    stability: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A candidate's place in the whole order.

    Attributes:
        name: The candidate.
        mean_rank: Over the estimators that count; lower is better.
        low: 2.5 % quantile of its place over half-samples of the items.
        high: 97.5 % quantile.
        first: Share of the half-samples in which it is first.
    """

    name: str
    mean_rank: float
    low: float
    high: float
    first: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates in order, best first, and how far to trust it.

    Attributes:
        places: Candidates by mean rank.
        estimators: What each estimator says.
        concordance: Kendall's W of the estimators that count, in [0, 1]; nan where all tie.
        trust: ``firm``, ``fair`` or ``weak``.
        sentence: The same in words.
        n_items: Items it rests on.
        n_classes: Their classes.
        half_samples: How often half of the items were drawn.
    """

    places: tuple[Place, ...]
    estimators: tuple[EstimatorView, ...]
    concordance: float
    trust: str
    sentence: str
    n_items: int
    n_classes: int
    half_samples: int

    def to_json(self) -> dict[str, Any]:
        """Return the plain record; an undefined concordance is None."""
        defined = None if np.isnan(self.concordance) else self.concordance
        return {**asdict(self), "concordance": defined}


def rank(
    candidates: Sequence[Candidate],
    labels: NDArray[np.generic],
    *,
    half_samples: int = HALVES,
    seed: int = 0,
) -> Ranking:
    """Order candidates by their mean rank over the estimators.

    The spread is that of stratified half-samples drawn without replacement, all candidates on the
    same ones: a half without replacement spreads as much as a bootstrap of the whole, and holds no
    item twice, which leave-one-out estimators would take for a neighbour.

    Args:
        candidates: Two or more, their features in the same order of items.
        labels: Shape (n,), n ≥ 4, two classes or more.
        half_samples: How often; ≥ 1.
        seed: Of the half-samples.

    Returns:
        The order. It is *firm* where the first is first in 90 % of the half-samples and W ≥ 0.7,
        *fair* from 60 % and 0.4, else *weak*.

    Raises:
        ShapeError: There are fewer than two candidates, or features and labels do not fit.

    Reference:
        Politis & Romano, Large Sample Confidence Regions Based on Subsamples under Minimal
        Assumptions, Ann. Stat. 22 (1994), for the half-samples.
    """
    names = _names(candidates, half_samples)
    classes, _ = class_indices(labels)
    scores = _scores(candidates, classes)
    ranks = {name: _ranks(one) for name, one in scores.items()}
    generator = numpy_generator(seed, "halves")
    draws = [_of_half(candidates, classes, generator) for _ in range(half_samples)]
    views = [_view(name, names, scores[name], [d[name] for d in draws]) for name in scores]
    missing = [
        EstimatorView(name, {}, {}, {}, {}, None, NO_SOURCE_HEAD)
        for name in FROM_SOURCE
        if name not in scores
    ]
    counted = [name for name, one in scores.items() if not np.isnan(one).any()]
    places = _places(names, *({name: one[name] for name in counted} for one in (ranks, *draws)))
    concordance = kendall_w(np.stack([scores[name] for name in counted]))
    trust = trust_in(places[0].first, concordance)
    return Ranking(
        places=places,
        estimators=(*views, *missing),
        concordance=concordance,
        trust=trust,
        sentence=_sentence(places, concordance, trust, n_estimators=len(counted)),
        n_items=len(labels),
        n_classes=len(np.unique(classes)),
        half_samples=half_samples,
    )


def trust_in(first: float, concordance: float) -> str:
    """Return ``firm``, ``fair`` or ``weak``.

    Args:
        first: Share of the half-samples in which the first candidate is first.
        concordance: Kendall's W of the estimators; nan is weak.
    """
    for word, (share, agreement) in (("firm", _FIRM), ("fair", _FAIR)):
        if first >= share and concordance >= agreement:
            return word
    return "weak"


def rows_to_rank(labels: NDArray[np.integer], *, most: int, seed: int) -> NDArray[np.intp]:
    """Return the rows that a ranking looks at: all, or a stratified draw of about `most`."""
    classes, _ = class_indices(labels)
    return stratified(classes, most, np.random.default_rng(derive(seed, "items")))


def _names(candidates: Sequence[Candidate], half_samples: int) -> list[str]:
    names = [one.name for one in candidates]
    if len(set(names)) < max(2, len(names)) or half_samples < 1:
        raise ShapeError(
            f"{len(names)} candidates, {len(set(names))} names and {half_samples} half-samples "
            "give no ranking. Give two candidates or more, each with a name of its own, and one "
            "half-sample or more."
        )
    return names


def _scores(
    candidates: Sequence[Candidate], classes: NDArray[np.intp]
) -> dict[str, NDArray[np.float64]]:
    """Return the score of each candidate by estimator; nan of one without a source head."""
    found = {
        name: np.array([of(one.features, classes) for one in candidates])
        for name, of in FROM_FEATURES.items()
    }
    found["etran"] = etran([one.features for one in candidates], classes)
    if any(one.source is not None for one in candidates):
        for name, of in FROM_SOURCE.items():
            found[name] = np.array(
                [np.nan if one.source is None else of(one.source, classes) for one in candidates]
            )
    return found


def _of_half(
    candidates: Sequence[Candidate], classes: NDArray[np.intp], generator: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Return the ranks by estimator on half of each class's items; each class keeps one."""
    drawn = []
    for one in np.unique(classes):
        rows = generator.permutation(np.flatnonzero(classes == one))
        drawn.append(rows[: (len(rows) + 1) // 2])
    half = np.sort(np.concatenate(drawn))
    parts = [
        Candidate(one.name, one.features[half], None if one.source is None else one.source[half])
        for one in candidates
    ]
    return {name: _ranks(one) for name, one in _scores(parts, classes[half]).items()}


def _ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    ranks: NDArray[np.float64] = rankdata(-scores, nan_policy="omit")
    return ranks


def _view(
    estimator: str,
    names: Sequence[str],
    scores: NDArray[np.float64],
    draws: Sequence[NDArray[np.float64]],
) -> EstimatorView:
    scored = ~np.isnan(scores)
    ranks, drawn = _ranks(scores)[scored], np.stack(draws)[:, scored]
    lacking = [name for name, has in zip(names, scored, strict=True) if not has]

    def by_name(values: NDArray[np.float64]) -> dict[str, float]:
        known = (name for name, has in zip(names, scored, strict=True) if has)
        return dict(zip(known, values.tolist(), strict=True))

    return EstimatorView(
        name=estimator,
        scores=by_name(scores[scored]),
        ranks=by_name(ranks),
        low=by_name(np.quantile(drawn, 0.025, axis=0)),
        high=by_name(np.quantile(drawn, 0.975, axis=0)),
        stability=float((drawn.argmin(axis=1) == int(ranks.argmin())).mean()),
        note=f"{NO_SOURCE_HEAD}: {', '.join(lacking)}; it does not count" if lacking else "",
    )


def _places(
    names: Sequence[str],
    ranks: dict[str, NDArray[np.float64]],
    *draws: dict[str, NDArray[np.float64]],
) -> tuple[Place, ...]:
    means = np.mean(list(ranks.values()), axis=0)
    drawn = np.stack([np.mean(list(one.values()), axis=0) for one in draws])
    placed = rankdata(drawn, axis=1)
    low, high = np.quantile(placed, [0.025, 0.975], axis=0)
    best = drawn == drawn.min(axis=1, keepdims=True)  # those that tie share the first place
    first = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    order = np.argsort(means, kind="stable")
    return tuple(
        Place(names[i], float(means[i]), float(low[i]), float(high[i]), float(first[i]))
        for i in order
    )


def _sentence(places: Sequence[Place], concordance: float, trust: str, *, n_estimators: int) -> str:
    said = {
        "firm": "the order can be trusted as far as frozen features tell",
        "fair": "take the first few into a study",
        "weak": "the order is hardly better than a guess; let a study decide",
    }
    best = places[0]
    return (
        f"{best.name} comes first in {best.first:.0%} of the half-samples, and {n_estimators} "
        f"estimators agree with W = {concordance:.2f}: {said[trust]}."
    )
