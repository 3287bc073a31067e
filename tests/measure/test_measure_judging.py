from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import spearmanr, weightedtau

from regraft.errors import ShapeError
from regraft.measure.transferability.judging import (
    judge,
    kendall_w,
    random_order,
    regret,
    rel_at_k,
    static_order,
    weighted_tau,
)

FOUR = np.array([0.9, 0.8, 0.7, 0.6])


def slow_tau(scores: NDArray[np.float64], accuracies: NDArray[np.float64]) -> float:
    """Return the mean of the two weighted τ by sums over pairs, without ties."""
    values = []
    for by in (scores, accuracies):
        rank = {model: place for place, model in enumerate(np.argsort(-by))}
        total = agreed = 0.0
        for i in range(len(scores)):
            for j in range(i):
                weight = 1 / (1 + rank[i]) + 1 / (1 + rank[j])
                agreed += (
                    weight * np.sign(scores[i] - scores[j]) * np.sign(accuracies[i] - accuracies[j])
                )
                total += weight
        values.append(agreed / total)
    return float(np.mean(values))


def test_the_known_values_of_four_models() -> None:
    assert weighted_tau(FOUR, FOUR) == pytest.approx(1.0)
    assert weighted_tau(-FOUR, FOUR) == pytest.approx(-1.0)
    assert weighted_tau(FOUR[[1, 0, 2, 3]], FOUR) == pytest.approx(0.52)
    assert weighted_tau(FOUR[[0, 1, 3, 2]], FOUR) == pytest.approx(0.8133, abs=5e-5)


@given(st.permutations(range(7)), st.permutations(range(7)))
def test_tau_is_its_sum_over_pairs(first: list[int], second: list[int]) -> None:
    scores, accuracies = np.array(first, float), np.array(second, float)
    assert weighted_tau(scores, accuracies) == pytest.approx(slow_tau(scores, accuracies))


@given(st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_tau_with_ties_is_scipys(scores: list[int]) -> None:
    accuracies = np.array([0.5, 0.7, 0.7, 0.2, 0.9])
    found = weighted_tau(np.array(scores, float), accuracies)
    if len(set(scores)) == 1:
        assert np.isnan(found)
    else:
        assert found == weightedtau(np.array(scores, float), accuracies).statistic


def test_the_regret_and_the_share_of_the_best() -> None:
    scores = np.array([1.0, 2.0, 3.0, 0.0])
    assert regret(scores, FOUR) == pytest.approx(0.2)
    assert rel_at_k(scores, FOUR) == pytest.approx(0.7 / 0.9)
    assert rel_at_k(scores, FOUR, k=2) == pytest.approx(0.8 / 0.9)
    assert rel_at_k(scores, FOUR, k=3) == 1.0
    assert rel_at_k(scores, FOUR, k=9) == 1.0


def test_equal_scores_are_taken_against_the_estimator() -> None:
    assert regret(np.zeros(4), FOUR) == pytest.approx(0.3)
    assert rel_at_k(np.zeros(4), FOUR, k=2) == pytest.approx(0.7 / 0.9)


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_there_is_no_regret_where_the_first_k_hold_the_best(
    first: list[int], second: list[int]
) -> None:
    scores, accuracies = np.array(first, float), np.array(second, float) + 1
    shares = [rel_at_k(scores, accuracies, k=k) for k in range(1, 7)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert regret(scores, accuracies) == pytest.approx(accuracies.max() * (1 - shares[0]))


def test_a_judgement_holds_the_three_with_their_intervals() -> None:
    random = np.random.default_rng(0)
    accuracies = random.uniform(0.5, 0.9, size=30)
    scores = accuracies + random.normal(scale=0.1, size=30)
    found = judge(scores, accuracies, k=2, resamples=400, seed=1)
    assert found.weighted_tau.value == weighted_tau(scores, accuracies)
    assert found.rel_at_k.value == rel_at_k(scores, accuracies, k=2)
    assert found.regret.value == regret(scores, accuracies)
    draws = np.random.default_rng(1).integers(0, 30, size=(400, 30))
    taus = [weightedtau(scores[d], accuracies[d]).statistic for d in draws]
    low, high = np.quantile(taus, [0.025, 0.975])
    assert (found.weighted_tau.low, found.weighted_tau.high) == pytest.approx((low, high))
    assert found.weighted_tau.n == 30
    assert found.weighted_tau.warning == ""
    assert found == judge(scores, accuracies, k=2, resamples=400, seed=1)
    assert found.to_json()["regret"]["value"] == found.regret.value


def test_few_models_are_said_to_be_few_and_a_constant_score_has_no_tau() -> None:
    found = judge(np.zeros(4), FOUR, resamples=50)
    assert np.isnan(found.weighted_tau.value)
    assert "undefined" in found.weighted_tau.estimator
    assert found.regret.warning == "4 models are few: the interval is rough"


def test_draws_of_models_that_all_failed_do_not_count() -> None:
    found = judge(np.arange(3.0), np.array([0.0, 0.0, 0.5]), k=1, resamples=200)
    assert (found.rel_at_k.value, found.rel_at_k.low) == (1.0, 1.0)
    with pytest.raises(ShapeError, match="no accuracy is above 0"):
        judge(np.arange(3.0), np.zeros(3))


def test_the_static_order_is_minus_the_mean_rank_on_other_tasks() -> None:
    past = np.array([[0.9, 0.8, 0.7], [0.5, 0.6, 0.4]])
    np.testing.assert_allclose(static_order(past), [-1.5, -1.5, -3.0])
    np.testing.assert_allclose(static_order(np.array([[0.5, 0.5]])), [-1.5, -1.5])
    with pytest.raises(ShapeError, match="D ≥ 1"):
        static_order(np.zeros((0, 3)))


def test_chance_has_no_tau_on_average() -> None:
    accuracies = np.arange(6.0)
    taus = [weighted_tau(random_order(6, seed=seed), accuracies) for seed in range(400)]
    assert abs(np.mean(taus)) < 3 * np.std(taus) / 20
    np.testing.assert_array_equal(random_order(4, seed=1), random_order(4, seed=1))
    with pytest.raises(ShapeError, match="1 models"):
        random_order(1, seed=0)


def test_concordance_is_one_of_one_order_and_zero_of_opposite_ones() -> None:
    assert kendall_w(np.array([FOUR, 10 * FOUR, FOUR**3])) == pytest.approx(1.0)
    assert kendall_w(np.array([FOUR, -FOUR])) == pytest.approx(0.0)
    assert np.isnan(kendall_w(np.zeros((2, 3))))


@given(st.integers(0, 1000))
def test_concordance_is_that_of_the_mean_spearman_correlation(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(4, 6))
    pairs = [spearmanr(scores[i], scores[j]).statistic for i in range(4) for j in range(i)]
    assert kendall_w(scores) == pytest.approx((3 * np.mean(pairs) + 1) / 4)


def test_ties_count_by_their_mid_ranks() -> None:
    # Ranks 1.5, 1.5, 3 and 1, 2, 3: sums 2.5, 3.5, 6; S = 6.5; the largest is 4·24 − 2·6 = 84.
    assert kendall_w(np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 2.0]])) == pytest.approx(12 * 6.5 / 84)


def test_the_judge_refuses_what_does_not_fit() -> None:
    for of in (weighted_tau, regret, rel_at_k, judge):
        with pytest.raises(ShapeError, match="M ≥ 2"):
            of(np.zeros(1), np.zeros(1))
        with pytest.raises(ShapeError, match="M ≥ 2"):
            of(np.zeros(3), np.zeros(4))
        with pytest.raises(ShapeError, match="not all finite"):
            of(np.array([0.0, np.nan]), np.ones(2))
    with pytest.raises(ShapeError, match="k = 0"):
        rel_at_k(FOUR, FOUR, k=0)
    with pytest.raises(ShapeError, match="no accuracy is above 0"):
        rel_at_k(FOUR, np.zeros(4))
    with pytest.raises(ShapeError, match="E ≥ 2"):
        kendall_w(np.zeros((1, 3)))
