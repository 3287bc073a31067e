from __future__ import annotations

from itertools import combinations
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier

from regraft.errors import ConfigError, ShapeError
from regraft.measure import two_sample
from regraft.measure.permutation import permutation_p, split_sums
from regraft.measure.two_sample import c2st, energy_distance, energy_test, proxy_a_distance

Rows = NDArray[np.float64]


def normal(seed: int, n: int, d: int = 3, *, shift: float = 0.0) -> Rows:
    return np.random.default_rng(seed).normal(size=(n, d)) + shift / np.sqrt(d)


def slow_energy(x: Rows, y: Rows) -> float:
    within = cdist(x, x).mean() + cdist(y, y).mean()
    return float(np.sqrt(max(2 * cdist(x, y).mean() - within, 0.0)))


def test_on_a_line_the_energy_distance_is_that_of_scipy() -> None:
    x, y = normal(0, 40, 1), normal(1, 25, 1, shift=0.7)
    known = stats.energy_distance(x[:, 0], y[:, 0])
    assert energy_distance(x, y) == pytest.approx(known, rel=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 500))
def test_the_energy_distance_equals_its_definition_wherever_the_rows_lie(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = normal(seed, 14), normal(seed + 1, 9, shift=1.0)
    known = slow_energy(x, y)
    assert energy_distance(x, y) == pytest.approx(known, rel=1e-9)
    assert energy_distance(y, random.permutation(x)) == pytest.approx(known, rel=1e-9)
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    moved = [4.0 * z @ turn + 10.0 for z in (x, y)]
    # The root of the distance grows with the root of the unit.
    assert energy_distance(*moved) == pytest.approx(2.0 * known, rel=1e-8)
    assert energy_distance(x, x) == pytest.approx(0.0, abs=1e-7)
    assert energy_distance(torch.from_numpy(x), y) == pytest.approx(known, rel=1e-9)


def test_rows_in_common_do_not_move_the_energy_distance() -> None:
    x = normal(0, 200, 16) + 50.0
    y = np.concatenate([x[:150], normal(1, 50, 16) + 50.5])
    assert energy_distance(x, y) == pytest.approx(slow_energy(x, y), rel=1e-9)


def test_the_energy_test_permutes_the_pooled_rows() -> None:
    x, y = normal(0, 12), normal(1, 9, shift=0.8)
    found = energy_test(x, y, permutations=40, seed=3)
    assert found.statistic == pytest.approx(slow_energy(x, y), rel=1e-9)
    pooled, generator = np.concatenate([x, y]), np.random.default_rng(3)
    as_large = 0
    for _ in range(40):
        first = generator.choice(21, 12, replace=False)
        second = np.setdiff1d(np.arange(21), first)
        as_large += slow_energy(pooled[first], pooled[second]) >= found.statistic - 1e-9
    assert found.p == (1 + as_large) / 41
    assert energy_test(x, y + 3.0, permutations=199).p == 1 / 200


def test_split_sums_are_the_sums_of_the_parts() -> None:
    half = normal(0, 2000, 2000 // 100)
    kernel = half @ half.T
    np.fill_diagonal(kernel, 0.0)
    sums = split_sums(kernel, 700, permutations=3, seed=5)
    generator = np.random.default_rng(5)
    splits = [np.arange(700), *(generator.choice(2000, 700, replace=False) for _ in range(3))]
    for at, first in enumerate(splits):
        second = np.setdiff1d(np.arange(2000), first)
        assert sums.within_first[at] == pytest.approx(kernel[np.ix_(first, first)].sum())
        assert sums.within_second[at] == pytest.approx(kernel[np.ix_(second, second)].sum())
        assert sums.between[at] == pytest.approx(kernel[np.ix_(first, second)].sum())


def test_p_counts_the_observed_among_the_permuted_and_equal_ones_as_large() -> None:
    assert permutation_p(np.array([5.0, 1.0, 2.0, 3.0])) == 0.25
    assert permutation_p(np.array([0.1 + 0.2, 0.3, 0.3, 0.0])) == 0.75


def test_domains_that_are_apart_have_proxy_distance_two_and_one_law_about_none() -> None:
    x = normal(0, 100)
    assert proxy_a_distance(x, normal(1, 60, shift=30.0)) == 2.0
    same = [proxy_a_distance(normal(2 * i, 200), normal(2 * i + 1, 80)) for i in range(10)]
    assert 0.0 <= np.mean(same) < 0.2


def test_the_proxy_distance_is_that_of_the_best_error_where_it_is_known() -> None:
    # Two unit normals 2 apart: the best error is Φ(−1), whatever the sizes.
    known = 2 * (1 - 2 * stats.norm.cdf(-1.0))
    x, y = normal(0, 4000, shift=0.0), normal(1, 1000, shift=2.0)
    assert proxy_a_distance(x, y) == pytest.approx(known, abs=0.08)


def test_the_proxy_distance_takes_any_classifier_and_ignores_units() -> None:
    x, y = normal(0, 60), 4.0 * normal(1, 60)
    assert proxy_a_distance(x, y, classifier=KNeighborsClassifier(9)) > proxy_a_distance(x, y)
    z = normal(2, 60, shift=1.0)
    units = np.array([1e-3, 1.0, 1e3])
    assert proxy_a_distance(x * units, z * units) == pytest.approx(proxy_a_distance(x, z))


def every_permutation_p(side: NDArray[np.int_], predicted: NDArray[np.int_]) -> float:
    """Return the share of all ways to deal out the sides with as high a balanced accuracy."""

    def accuracy(truth: NDArray[np.int_]) -> float:
        return float(np.mean([(predicted[truth == one] == one).mean() for one in (0, 1)]))

    n, observed, found = len(side), accuracy(side), []
    for chosen in combinations(range(n), int(side.sum())):
        truth = np.zeros(n, dtype=int)
        truth[list(chosen)] = 1
        found.append(accuracy(truth))
    return float(np.mean(np.array(found) >= observed - 1e-12))


@settings(max_examples=40)
@given(st.integers(2, 5), st.lists(st.integers(0, 1), min_size=9, max_size=9))
def test_the_hypergeometric_tail_is_the_p_over_all_permutations(n: int, said: list[int]) -> None:
    side, predicted = np.repeat([0, 1], [9 - n, n]), np.array(said)
    known = every_permutation_p(side, predicted)
    assert two_sample._hypergeometric_p(side, predicted) == pytest.approx(known, rel=1e-12)


def test_a_classifier_finds_a_shift_and_another_one_a_spread() -> None:
    x, y = normal(0, 200), normal(1, 120, shift=2.0)
    found = c2st(x, y)
    assert found.statistic == pytest.approx(stats.norm.cdf(1.0), abs=0.08)
    assert found.p < 1e-6
    wide = 5.0 * normal(2, 200)
    assert c2st(x, wide).p > 0.001
    assert c2st(x, wide, classifier=KNeighborsClassifier(15)).p < 1e-6


def test_the_binomial_p_is_of_right_answers() -> None:
    x, y = normal(0, 60), normal(1, 60, shift=0.8)
    found = c2st(x, y, null="binomial")
    right = round(found.statistic * 60)
    known = stats.binomtest(right, 60, 0.5, alternative="greater").pvalue
    assert found.p == pytest.approx(known, rel=1e-9)
    # Three quarters right is what one gets who always names the larger sample.
    assert c2st(normal(0, 300), normal(1, 100), null="binomial").p > 0.5


@pytest.mark.parametrize("null", ["permutation", "binomial"])
def test_under_one_law_the_classifier_seldom_finds_anything(
    null: Literal["permutation", "binomial"],
) -> None:
    values = [
        c2st(normal(2 * i, 60), normal(2 * i + 1, 60), null=null, seed=i).p for i in range(80)
    ]
    assert np.mean(np.array(values) <= 0.1) <= 0.19
    assert 0.44 <= np.mean(values) <= 0.68


def test_under_one_law_the_energy_p_is_uniform() -> None:
    values = [
        energy_test(normal(2 * i, 20), normal(2 * i + 1, 16), permutations=99, seed=i).p
        for i in range(200)
    ]
    assert 0.05 <= np.mean(np.array(values) <= 0.1) <= 0.17
    assert 0.42 <= np.mean(values) <= 0.58


def test_what_cannot_be_told_apart_is_refused() -> None:
    x = normal(0, 10)
    with pytest.raises(ShapeError, match=r"y has the shape \(4, 3\).*n ≥ 5"):
        proxy_a_distance(x, x[:4])
    with pytest.raises(ConfigError, match="null 'normal' is neither"):
        c2st(x, x, null="normal")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"held_out = 1\.0 of 10 rows leaves nothing"):
        c2st(x, x, held_out=1.0)
    with pytest.raises(ConfigError, match="permutations is 0"):
        energy_test(x, x, permutations=0)
