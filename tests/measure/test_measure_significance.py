from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare, norm, ttest_1samp
from scipy.stats import wilcoxon as scipy_wilcoxon

from regraft.errors import ConfigError, ShapeError
from regraft.measure.comparison import benjamini_hochberg, holm
from regraft.measure.dominance import aso
from regraft.measure.rankings import critical_difference, friedman, nemenyi
from regraft.measure.significance import (
    Significance,
    mcnemar,
    nadeau_bengio,
    permutation_test,
    wilcoxon,
)

SCORES = st.lists(
    st.tuples(st.integers(-20, 20), st.integers(-20, 20)), min_size=2, max_size=10
).map(lambda pairs: (np.array([x for x, _ in pairs]) / 8, np.array([y for _, y in pairs]) / 8))
BITS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12).map(
    lambda pairs: (np.array([x for x, _ in pairs]), np.array([y for _, y in pairs]))
)


def right(only_a: int, only_b: int, both: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return 0/1 scores with so many items that only A, only B, or both get right."""
    a = np.array([1] * only_a + [0] * only_b + [1] * both)
    b = np.array([0] * only_a + [1] * only_b + [1] * both)
    return a, b


def turned(found: Significance, other: Significance) -> bool:
    return found.difference == pytest.approx(-other.difference) and found.p == pytest.approx(
        other.p
    )


# McNemar


@given(BITS)
def test_mcnemar_equals_the_listing_of_all_outcomes(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    gaps = a.astype(int) - b.astype(int)
    differ, observed = int(np.abs(gaps).sum()), abs(int(gaps.sum()))
    far = Counter(abs(sum(signs)) for signs in product((-1, 1), repeat=differ))
    as_far = sum(n for distance, n in far.items() if distance >= observed)
    exact, mid_p = (mcnemar(a, b, method=method).p for method in ("exact", "mid_p"))
    assert exact == pytest.approx(as_far / 2**differ)
    half = far[observed] / 2 if observed else 0.0
    assert mid_p == pytest.approx((as_far - half) / 2**differ)
    assert mid_p <= exact
    assert turned(mcnemar(a, b), mcnemar(b, a))


def test_mcnemar_has_its_known_values() -> None:
    a, b = right(1, 9)  # 2 · 11/1024, 11/512 − 10/1024, (8 − 1)² / 10
    assert mcnemar(a, b, method="exact").p == pytest.approx(0.021484375)
    assert mcnemar(a, b).p == pytest.approx(0.01171875)
    found = mcnemar(a, b, method="chi2")
    assert (found.statistic, found.p) == pytest.approx((4.9, 0.026857), abs=1e-6)
    assert found.difference == pytest.approx(-0.8)


@pytest.mark.parametrize("method", ["mid_p", "exact", "chi2"])
def test_items_on_which_both_agree_do_not_speak(method: str) -> None:
    few, many = mcnemar(*right(7, 2), method=method), mcnemar(*right(7, 2, 500), method=method)  # type: ignore[arg-type]
    assert few.p == many.p
    assert mcnemar(*right(0, 0, 5), method=method).p == 1.0  # type: ignore[arg-type]


def test_mcnemar_refuses_scores_and_methods_that_it_does_not_know() -> None:
    with pytest.raises(ShapeError, match=r"mcnemar: scores are not 0/1"):
        mcnemar([0.5, 1.0], [1.0, 0.0])
    with pytest.raises(ConfigError, match=r"unknown method 'midp'. Did you mean 'mid_p'"):
        mcnemar([1], [0], method="midp")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"scores \(2,\) and \(3,\) are no pairs"):
        mcnemar([1, 0], [1, 0, 1])


# permutation


@given(SCORES)
def test_the_permutation_test_equals_the_listing_of_all_signs(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    a, b = pair
    gaps = a - b
    sums = [abs(np.dot(signs, gaps)) for signs in product((-1, 1), repeat=len(gaps))]
    known = np.mean([one >= abs(gaps.sum()) - 1e-9 for one in sums])
    assert permutation_test(a, b).p == pytest.approx(known)
    assert turned(permutation_test(a, b), permutation_test(b, a))


@given(SCORES, st.floats(0.01, 1000), st.floats(-5, 5))
def test_scale_and_place_do_not_move_the_paired_tests(
    pair: tuple[np.ndarray, np.ndarray], scale: float, shift: float
) -> None:
    a, b = pair
    for test in (permutation_test, wilcoxon):
        assert test(scale * a + shift, scale * b + shift).p == pytest.approx(test(a, b).p)


def test_many_pairs_are_permuted_at_random_and_never_certain() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 40))
    found = permutation_test(a, b, seed=1)
    assert found.p == pytest.approx(ttest_1samp(a - b, 0).pvalue, abs=0.02)
    assert found == permutation_test(a, b, seed=1)
    certain = permutation_test(np.ones(40), np.zeros(40), permutations=999)
    assert certain.p == 1 / 1000
    assert "999 patterns" in certain.test


# Wilcoxon


@pytest.mark.parametrize(("n", "least"), [(1, 1.0), (4, 0.125), (5, 0.0625), (6, 0.03125)])
def test_the_least_p_of_wilcoxon(n: int, least: float) -> None:
    assert wilcoxon(np.arange(1, n + 1), np.zeros(n)).p == least


@given(SCORES)
def test_wilcoxon_equals_the_listing_of_all_signs(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    gaps = (a - b)[a != b]
    found = wilcoxon(a, b)
    if not len(gaps):
        assert found.p == 1.0
        return
    order = np.abs(gaps)
    ranks = np.array([(order < x).sum() + ((order == x).sum() + 1) / 2 for x in order])
    sums = [
        ranks[np.array(signs, bool)].sum() for signs in product((False, True), repeat=len(gaps))
    ]
    low = min(found.statistic, ranks.sum() - found.statistic)
    assert found.statistic == ranks[gaps > 0].sum()
    assert found.p == pytest.approx(min(1.0, 2 * np.mean(np.array(sums) <= low)))
    assert turned(found, wilcoxon(b, a))


@pytest.mark.parametrize("n", [12, 150, 400])
def test_wilcoxon_equals_scipys(n: int) -> None:
    a, b = np.random.default_rng(n).normal(size=(2, n))
    known = scipy_wilcoxon(a + 0.1, b, method="exact" if n <= 200 else "approx", correction=True)
    assert wilcoxon(a + 0.1, b).p == pytest.approx(known.pvalue)


def test_rounding_does_not_tell_equal_differences_apart() -> None:
    found, whole = wilcoxon([0.3, 0.2, 0.4], [0.2, 0.1, 0.5]), wilcoxon([3, 2, 4], [2, 1, 5])
    assert (found.p, found.statistic) == (whole.p, whole.statistic) == (1.0, 4.0)


# corrected t


def test_nadeau_and_bengio_turn_a_t_of_5196_into_3576() -> None:
    gaps = np.array([1.0] * 5 + [3.0] * 5)
    gaps = 2.0 + (gaps - 2.0) * (2.0 * np.sqrt(10) / 5.196) / gaps.std(ddof=1)
    zeros = np.zeros(10)
    assert ttest_1samp(gaps, 0).statistic == pytest.approx(5.196)
    found = nadeau_bengio(gaps, zeros, n_train=90, n_test=10)
    assert found.statistic == pytest.approx(3.576, abs=5e-4)
    assert turned(found, nadeau_bengio(zeros, gaps, n_train=90, n_test=10))
    assert found.p == pytest.approx(0.00595, abs=1e-4)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.integers(1, 50))
def test_the_correction_only_makes_the_t_test_more_careful(gaps: list[float], n: int) -> None:
    if np.std(gaps) < 1e-6:
        return
    found = nadeau_bengio(gaps, np.zeros(len(gaps)), n_train=100, n_test=n)
    assert 1.0 >= found.p >= ttest_1samp(gaps, 0).pvalue - 1e-12


def test_equal_differences_on_all_splits_are_certain_or_nothing() -> None:
    sure = nadeau_bengio([0.3, 0.2], [0.2, 0.1], n_train=9, n_test=1)
    assert (sure.statistic, sure.p) == (np.inf, 0.0)
    assert nadeau_bengio([0.3, 0.2], [0.3, 0.2], n_train=9, n_test=1).p == 1.0
    with pytest.raises(ShapeError, match=r"1 splits of 9 to train"):
        nadeau_bengio([0.3], [0.2], n_train=9, n_test=1)


# almost stochastic order


def test_scores_all_above_dominate_and_all_below_do_not() -> None:
    high, low = np.linspace(0.8, 0.9, 6), np.linspace(0.6, 0.7, 5)
    assert (aso(high, low).violation, aso(high, low).upper) == (0.0, 0.0)
    assert aso(high, low).is_better
    assert (aso(low, high).violation, aso(low, high).upper) == (1.0, 1.0)
    assert not aso(low, high).is_better


def test_the_violation_has_its_closed_form() -> None:
    # A = {0, 3}, B = {1, 1}: half of the quantiles 1 below, half 2 above: 1 / (1 + 4)
    assert aso([0.0, 3.0], [1.0, 1.0]).violation == pytest.approx(0.2)
    assert aso([0.5, 0.5], [0.5, 0.5]).upper == 0.5


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=6),
    st.lists(st.integers(0, 9), min_size=2, max_size=6),
    st.floats(0.1, 10),
)
def test_the_two_violations_share_the_whole(a: list[int], b: list[int], scale: float) -> None:
    ab, ba = aso(a, b, resamples=50), aso(b, a, resamples=50)
    assert ab.violation + ba.violation == pytest.approx(1.0)
    assert 0.0 <= ab.violation <= ab.upper <= 1.0
    assert aso(scale * np.array(a), scale * np.array(b), resamples=50).upper == pytest.approx(
        ab.upper, abs=1e-9
    )


def slow_violation(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Return ε from the quantiles at .0025, .0075, …, one after the other."""
    below = whole = 0.0
    for step in range(200):
        t = (step + 0.5) / 200
        gap = sorted(b)[math.ceil(t * len(b)) - 1] - sorted(a)[math.ceil(t * len(a)) - 1]
        whole += gap**2
        below += max(gap, 0.0) ** 2
    return below / whole if whole else 0.5


@pytest.mark.parametrize("comparisons", [1, 4])
def test_the_upper_bound_is_that_of_all_resamples(comparisons: int) -> None:
    a, b = (0.3, 0.9, 1.4), (0.4, 0.5, 0.6)
    violation = slow_violation(a, b)
    every = [
        slow_violation(x, y) for x in product(a, repeat=len(a)) for y in product(b, repeat=len(b))
    ]
    known = violation - np.std(every) * norm.ppf(0.05 / comparisons)
    found = aso(a, b, resamples=40_000, comparisons=comparisons)
    assert found.violation == pytest.approx(violation)
    assert violation + 0.1 < known < 1.0
    assert found.upper == pytest.approx(known, abs=0.01)


def test_more_comparisons_ask_for_more() -> None:
    a, b = np.random.default_rng(0).normal([[0.8], [0.0]], size=(2, 10))
    assert aso(a, b).upper < aso(a, b, comparisons=10).upper
    with pytest.raises(ShapeError, match=r"scores of B have shape \(1,\)"):
        aso([1.0, 2.0], [1.0])


# many systems, many data sets


@given(st.integers(0, 10_000))
def test_friedman_equals_scipys_with_and_without_ties(seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 5, size=(7, 4))
    found = friedman(table)
    assert 0.0 <= found.p <= 1.0
    if np.ptp(table, axis=1).any():
        known = friedmanchisquare(*table.T)
        assert (found.chi2, found.p_chi2) == pytest.approx((known.statistic, known.pvalue))
    assert friedman(3.0 * table + 1.0) == found
    assert sum(found.mean_ranks) == pytest.approx(10.0)


def test_systems_that_always_rank_alike_or_never_differ() -> None:
    always = friedman([[3, 2, 1]] * 5)
    assert (always.mean_ranks, always.chi2, always.p) == ((1.0, 2.0, 3.0), 10.0, 0.0)
    assert friedman([[1, 1, 1]] * 5).p == 1.0
    with pytest.raises(ShapeError, match=r"shape \(5, 2\)"):
        friedman(np.zeros((5, 2)))


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_has_its_tabled_quantiles(k: int, q: float) -> None:
    assert critical_difference(k, 14) == pytest.approx(q * np.sqrt(k * (k + 1) / 84), abs=5e-4)


def test_nemenyi_tells_apart_just_what_differs_by_more_than_the_critical_difference() -> None:
    table = np.random.default_rng(1).normal(size=(12, 4)) + np.array([1.5, 0.8, 0.4, 0.0])
    found = nemenyi(table)
    for i, j in product(range(4), repeat=2):
        gap = abs(found.mean_ranks[i] - found.mean_ranks[j])
        assert (found.p[i][j] < 0.05) == (gap > found.critical_difference)
        assert found.p[i][j] == found.p[j][i]
    assert found.mean_ranks == friedman(table).mean_ranks
    assert found.p[0][3] < 0.05


# families


FAMILY = st.lists(st.floats(0, 1), min_size=1, max_size=9)


@given(FAMILY)
def test_benjamini_and_hochberg_equals_its_definition(p: list[float]) -> None:
    ordered = sorted(p)
    m = len(p)
    known = [min([1.0, *(m * q / (j + 1) for j, q in enumerate(ordered) if q >= own)]) for own in p]
    assert benjamini_hochberg(p) == pytest.approx(known)


@given(FAMILY)
def test_corrections_keep_order_lie_above_p_and_holm_above_hochberg(p: list[float]) -> None:
    for correct in (holm, benjamini_hochberg):
        adjusted = correct(p)
        ranks = sorted(range(len(p)), key=lambda i: p[i])
        assert all(adjusted[i] <= adjusted[j] for i, j in pairwise(ranks))
        assert all(q - 1e-15 <= a <= 1.0 for a, q in zip(adjusted, p, strict=True))
    pairs = zip(holm(p), benjamini_hochberg(p), strict=True)
    assert all(a >= b - 1e-15 for a, b in pairs)
