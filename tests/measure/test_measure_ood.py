from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors

from regraft.errors import ShapeError
from regraft.measure.out_of_distribution import (
    energy_scores,
    fpr_at_tpr,
    knn_scores,
    mahalanobis_scores,
    msp_scores,
    ood_auroc,
    relative_mahalanobis_scores,
)

SCORES = arrays(np.float64, st.integers(1, 30), elements=st.integers(-4, 4).map(float))


def clouds(seed: int, n: int = 300) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return features of three classes, and their labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return random.normal(size=(n, 6)) + 4.0 * np.eye(3, 6)[labels], labels


def test_softmax_and_energy_scores_have_their_closed_forms() -> None:
    logits = np.array([[0.0, 0.0], [np.log(3.0), 0.0]])
    np.testing.assert_allclose(msp_scores(logits), [-0.5, -0.75])
    np.testing.assert_allclose(energy_scores(logits), [-np.log(2), -np.log(4)])
    expected = -2.0 * np.log(np.sqrt(3) + 1)
    assert energy_scores(logits, temperature=2.0)[1] == pytest.approx(expected)


@given(st.floats(-50, 50))
def test_a_shift_of_all_logits_moves_the_energy_alone(shift: float) -> None:
    logits = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_allclose(msp_scores(logits + shift), msp_scores(logits), rtol=1e-9)
    np.testing.assert_allclose(energy_scores(logits + shift), energy_scores(logits) - shift)


def test_mahalanobis_equals_the_distance_counted_one_by_one() -> None:
    train, labels = clouds(0)
    asked = np.random.default_rng(1).normal(size=(7, 6))
    means = np.stack([train[labels == c].mean(axis=0) for c in range(3)])
    tied = LedoitWolf(assume_centered=True).fit(train - means[labels]).precision_
    slow = [min(mahalanobis(x, m, tied) ** 2 for m in means) for x in asked]
    np.testing.assert_allclose(mahalanobis_scores(train, labels, asked), slow)
    whole = LedoitWolf(assume_centered=True).fit(train - train.mean(axis=0)).precision_
    background = [mahalanobis(x, train.mean(axis=0), whole) ** 2 for x in asked]
    np.testing.assert_allclose(
        relative_mahalanobis_scores(train, labels, asked), np.array(slow) - background
    )


def test_with_one_class_nothing_is_left_of_the_relative_distance() -> None:
    train, _ = clouds(2)
    one = np.zeros(len(train), int)
    np.testing.assert_allclose(relative_mahalanobis_scores(train, one, train), 0.0, atol=1e-9)


def test_more_dimensions_than_items_are_no_obstacle() -> None:
    random = np.random.default_rng(3)
    train = random.normal(size=(20, 50))
    scores = mahalanobis_scores(train, np.arange(20) % 2, random.normal(size=(4, 50)))
    assert np.isfinite(scores).all()
    assert (scores > 0).all()


@pytest.mark.parametrize("k", [1, 5])
def test_knn_scores_equal_sklearns_distances(k: int) -> None:
    train, _ = clouds(4, 60)
    asked = np.random.default_rng(5).normal(size=(9, 6))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, asked)]
    distance, _ = NearestNeighbors(n_neighbors=k).fit(unit[0]).kneighbors(unit[1])
    np.testing.assert_allclose(knn_scores(train, asked, k=k), distance[:, -1], atol=1e-7)
    np.testing.assert_allclose(knn_scores(train, 7 * asked, k=k), distance[:, -1], atol=1e-7)


def test_what_lies_elsewhere_scores_higher_with_every_feature_score() -> None:
    train, labels = clouds(6)
    inside, _ = clouds(7, 200)
    outside = np.random.default_rng(8).normal(size=(200, 6)) + 4.0 * np.eye(6)[4]
    for score in (mahalanobis_scores, relative_mahalanobis_scores):
        found = [score(train, labels, x) for x in (inside, outside)]
        assert ood_auroc(*found) > 0.95
        assert fpr_at_tpr(*found) < 0.3
    near = [knn_scores(train, x) for x in (inside, outside)]
    assert ood_auroc(*near) > 0.95


@given(SCORES, SCORES)
def test_auroc_and_fpr_equal_sklearns(
    inside: NDArray[np.float64], outside: NDArray[np.float64]
) -> None:
    scores = np.concatenate([inside, outside])
    is_outside = np.arange(len(scores)) >= len(inside)
    assert ood_auroc(inside, outside) == pytest.approx(roc_auc_score(is_outside, scores))
    fpr, tpr, _ = roc_curve(~is_outside, -scores, drop_intermediate=False)
    assert fpr_at_tpr(inside, outside) == pytest.approx(fpr[tpr >= 0.95 - 1e-12].min())


@given(SCORES, SCORES)
def test_negated_scores_turn_the_auroc_and_equal_sets_are_chance(
    inside: NDArray[np.float64], outside: NDArray[np.float64]
) -> None:
    assert ood_auroc(-inside, -outside) == pytest.approx(1 - ood_auroc(inside, outside))
    assert ood_auroc(inside, inside) == pytest.approx(0.5)
    assert ood_auroc(np.exp(inside), np.exp(outside)) == pytest.approx(ood_auroc(inside, outside))


def test_what_does_not_fit_is_refused() -> None:
    train, labels = clouds(0, 6)
    with pytest.raises(ShapeError, match=r"\(6, 6\) and features \(6, 5\)"):
        mahalanobis_scores(train, labels, train[:, :5])
    with pytest.raises(ShapeError, match=r"labels \(5,\)"):
        mahalanobis_scores(train, labels[:5], train)
    with pytest.raises(ShapeError, match="do not vary within classes"):
        mahalanobis_scores(np.ones((4, 2)), np.zeros(4, int), np.ones((1, 2)))
    with pytest.raises(ShapeError, match="k is 7 and there are 6"):
        knn_scores(train, train, k=7)
    with pytest.raises(ShapeError, match="temperature 0"):
        energy_scores(train, temperature=0)
    with pytest.raises(ShapeError, match="at least one of each"):
        ood_auroc(np.empty(0), np.ones(1))
    with pytest.raises(ShapeError, match="tpr 0"):
        fpr_at_tpr(np.ones(1), np.ones(1), tpr=0)
