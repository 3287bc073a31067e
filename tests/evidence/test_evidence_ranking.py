from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata

from regraft.errors import ShapeError
from regraft.evidence.ranking import (
    FROM_FEATURES,
    Candidate,
    Ranking,
    rank,
    rows_to_rank,
    trust_in,
)
from regraft.measure.transferability.discriminant import etran
from regraft.measure.transferability.judging import kendall_w
from regraft.measure.transferability.source_head import leep, nce

LABELS = np.arange(90) % 3


def candidate(name: str, *, signal: float, seed: int, source: bool = False) -> Candidate:
    random = np.random.default_rng(seed)
    x = signal * random.normal(size=(3, 8))[LABELS] + random.normal(size=(90, 8))
    theta = np.exp(signal * np.eye(3)[LABELS] + random.normal(size=(90, 3)))
    return Candidate(name, x, theta / theta.sum(axis=1, keepdims=True) if source else None)


def three(*, source: bool = False) -> list[Candidate]:
    return [
        candidate("poor", signal=0.0, seed=0, source=source),
        candidate("good", signal=3.0, seed=1, source=source),
        candidate("fair", signal=0.7, seed=2, source=source),
    ]


@pytest.fixture(scope="module")
def ranking() -> Ranking:
    return rank(three(), LABELS, half_samples=6)


def test_the_more_informative_model_comes_first(ranking: Ranking) -> None:
    assert [one.name for one in ranking.places] == ["good", "fair", "poor"]
    assert ranking.places[0].first == 1.0
    assert ranking.trust == "firm"
    assert ranking.sentence.startswith("good comes first in 100% of the half-samples, and 11 ")
    assert (ranking.n_items, ranking.n_classes, ranking.half_samples) == (90, 3, 6)


def test_each_estimator_says_what_its_function_says(ranking: Ranking) -> None:
    models = three()
    views = {view.name: view for view in ranking.estimators}
    for name, of in FROM_FEATURES.items():
        assert views[name].scores == {one.name: of(one.features, LABELS) for one in models}
    known = etran([one.features for one in models], LABELS)
    assert list(views["etran"].scores.values()) == known.tolist()


def test_ranks_mean_ranks_and_concordance_follow_from_the_scores(ranking: Ranking) -> None:
    names = ["poor", "good", "fair"]
    heard = [view for view in ranking.estimators if view.scores]
    scores = np.array([[view.scores[name] for name in names] for view in heard])
    ranks = rankdata(-scores, axis=1)
    for view, known in zip(heard, ranks, strict=True):
        assert [view.ranks[name] for name in names] == known.tolist()
    means = dict(zip(names, ranks.mean(axis=0), strict=True))
    for place in ranking.places:
        assert place.mean_rank == pytest.approx(means[place.name])
        assert 1.0 <= place.low <= place.high <= 3.0
    assert ranking.concordance == pytest.approx(kendall_w(scores))


def test_without_source_heads_leep_and_nce_say_so(ranking: Ranking) -> None:
    silent = [view for view in ranking.estimators if not view.scores]
    assert [(view.name, view.note) for view in silent] == [
        ("leep", "no source head"),
        ("nce", "no source head"),
    ]
    assert json.loads(json.dumps(ranking.to_json()))["estimators"][-1]["stability"] is None


def test_source_heads_count_where_every_model_has_one() -> None:
    models = three(source=True)
    found = rank(models, LABELS, half_samples=1)
    views = {view.name: view for view in found.estimators}
    assert len(views) == 13
    for one in models:
        assert one.source is not None
        assert views["leep"].scores[one.name] == leep(one.source, LABELS)
        assert views["nce"].scores[one.name] == nce(one.source.argmax(axis=1), LABELS)


def test_source_heads_of_some_are_scored_and_do_not_count() -> None:
    models = three(source=True)
    models[2] = replace(models[2], source=None)
    mixed = rank(models, LABELS, half_samples=4)
    views = {view.name: view for view in mixed.estimators}
    for name in ("leep", "nce"):
        view = views.pop(name)
        assert view.note == "no source head: fair; it does not count"
        assert set(view.scores) == set(view.ranks) == set(view.low) == {"poor", "good"}
        assert view.ranks == {"poor": 2.0, "good": 1.0}
        assert view.stability == 1.0
    assert views["logme"].note == ""
    without = rank(three(), LABELS, half_samples=4)
    assert mixed.places == without.places
    assert mixed.sentence == without.sentence
    json.dumps(mixed.to_json(), allow_nan=False)


def test_the_same_model_twice_is_a_tie_and_no_order_to_trust() -> None:
    one = candidate("one", signal=1.0, seed=0)
    found = rank([one, replace(one, name="two")], LABELS, half_samples=2)
    assert [place.mean_rank for place in found.places] == [1.5, 1.5]
    assert [place.first for place in found.places] == [0.5, 0.5]
    assert found.trust == "weak"
    assert found.to_json()["concordance"] is None


@pytest.mark.parametrize(
    ("first", "concordance", "word"),
    [
        (0.9, 0.7, "firm"),
        (0.89, 0.9, "fair"),
        (1.0, 0.69, "fair"),
        (0.6, 0.4, "fair"),
        (0.59, 1.0, "weak"),
        (1.0, 0.39, "weak"),
        (1.0, float("nan"), "weak"),
    ],
)
def test_trust_needs_both_stability_and_agreement(
    first: float, concordance: float, word: str
) -> None:
    assert trust_in(first, concordance) == word


def test_models_that_say_nothing_are_not_trusted() -> None:
    noise = [candidate(str(seed), signal=0.0, seed=seed) for seed in range(4)]
    assert rank(noise, LABELS, half_samples=6).trust == "weak"


def test_a_ranking_is_repeatable_and_its_spread_depends_on_the_seed() -> None:
    models = [candidate(str(s), signal=1.0, seed=s) for s in range(3)]
    first = rank(models, LABELS, half_samples=4, seed=1).to_json()
    assert first == rank(models, LABELS, half_samples=4, seed=1).to_json()
    other = rank(models, LABELS, half_samples=4, seed=2).to_json()
    assert other["places"] != first["places"]
    scores = [[view["scores"] for view in one["estimators"]] for one in (first, other)]
    assert scores[0] == scores[1]


def test_a_rare_class_stays_in_every_half() -> None:
    labels = LABELS.copy()
    labels[labels == 2] = 1
    labels[5] = 2
    assert rank(three(), labels, half_samples=3).n_classes == 3


def test_what_gives_no_ranking_is_refused() -> None:
    with pytest.raises(ShapeError, match="1 candidates"):
        rank(three()[:1], LABELS)
    with pytest.raises(ShapeError, match="2 candidates, 1 names"):
        rank([three()[0]] * 2, LABELS)
    with pytest.raises(ShapeError, match="0 half-samples"):
        rank(three(), LABELS, half_samples=0)
    with pytest.raises(ShapeError, match="one class"):
        rank(three(), np.zeros(90, int))


def test_the_rows_looked_at_are_all_or_a_stratified_draw() -> None:
    labels: NDArray[np.int64] = np.repeat([0, 1], [80, 20])
    np.testing.assert_array_equal(rows_to_rank(labels, most=100, seed=0), range(100))
    drawn = rows_to_rank(labels, most=50, seed=0)
    assert np.bincount(labels[drawn]).tolist() == [40, 10]
    np.testing.assert_array_equal(drawn, rows_to_rank(labels, most=50, seed=0))
    assert drawn.tolist() != rows_to_rank(labels, most=50, seed=1).tolist()
