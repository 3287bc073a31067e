from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from regraft.errors import ShapeError
from regraft.measure.limits import (
    correlation_power,
    critical_spearman,
    detectable_correlation,
    rank_correlation,
    transfer_limits,
)
from regraft.measure.rank_laws import doubled_ranks, kendall_law, spearman_law

CELLS = st.lists(st.integers(0, 4), min_size=4, max_size=6)


def slow_p(a: NDArray[np.float64], b: NDArray[np.float64], statistic: object) -> float:
    assert callable(statistic)
    seen = abs(statistic(a, b))
    drawn = [abs(statistic(a, np.array(order))) for order in permutations(b)]
    return float(np.mean([x >= seen - 1e-9 for x in drawn]))


def rho(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(((a - a.mean()) * (b - b.mean())).sum())


def concordance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float((np.sign(a[:, None] - a) * np.sign(b[:, None] - b)).sum())


@settings(max_examples=25)
@given(CELLS, st.integers(0, 100))
def test_exact_p_values_equal_those_over_all_orders(cells: list[int], seed: int) -> None:
    a = np.array(cells, dtype=float)
    b = np.random.default_rng(seed).integers(0, 5, len(cells)).astype(float)
    for kind, ranked, slow in (("spearman", True, rho), ("kendall", False, concordance)):
        found = rank_correlation(a, b, kind, resamples=20)
        if np.ptp(a) == 0 or np.ptp(b) == 0:
            assert np.isnan(found.value)
            assert found.p == 1.0
            continue
        sides = [doubled_ranks(x).astype(float) for x in (a, b)] if ranked else [a, b]
        assert found.p == pytest.approx(slow_p(sides[0], sides[1], slow))
        other = spearmanr(a, b) if ranked else kendalltau(a, b)
        assert found.value == pytest.approx(other.statistic)
        assert found.estimator == f"all {len(cells)}! orders"


@pytest.mark.parametrize("n", [5, 8, 10])
def test_the_exact_kendall_p_equals_scipys_without_ties(n: int) -> None:
    random = np.random.default_rng(n)
    a, b = random.permutation(n).astype(float), random.permutation(n).astype(float)
    found = rank_correlation(a, b, "kendall", resamples=10)
    assert found.p == pytest.approx(kendalltau(a, b, method="exact").pvalue)


def test_the_laws_are_laws() -> None:
    tied = doubled_ranks(np.array([1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 4.0, 5.0, 6.0, 6.0]))
    ranks = doubled_ranks(np.arange(10.0))
    for law in (spearman_law, kendall_law):
        for sides in ((ranks, ranks), (tied, ranks), (ranks, tied), (tied, tied)):
            values, shares = law(*sides)
            assert shares.sum() == pytest.approx(1.0)
            if law is kendall_law:
                assert values @ shares == pytest.approx(0.0, abs=1e-9)
            else:
                assert values @ shares == pytest.approx(10 * sides[0].mean() * sides[1].mean())


@pytest.mark.parametrize(
    ("n", "critical"), [(5, 1.0), (6, 0.886), (7, 0.786), (8, 0.738), (9, 0.700), (10, 0.648)]
)
def test_the_critical_values_are_those_of_the_tables(n: int, critical: float) -> None:
    """Two-sided 0.05 values of Spearman's rho as printed in tables (Zar 1972)."""
    assert critical_spearman(n) == pytest.approx(critical, abs=6e-4)


def test_four_cells_can_show_nothing_and_many_need_little() -> None:
    assert critical_spearman(4) == np.inf
    assert correlation_power(4, 0.99, trials=50) == 0.0
    assert detectable_correlation(4) is None
    assert critical_spearman(30) == pytest.approx(0.361, abs=2e-3)


def test_ten_cells_find_only_strong_correlations() -> None:
    assert correlation_power(10, 0.0) == pytest.approx(0.048, abs=0.015)
    powers = [correlation_power(10, r) for r in (0.3, 0.6, 0.9)]
    assert powers == sorted(powers)
    assert powers[1] < 0.6
    found = detectable_correlation(10)
    assert found is not None
    assert 0.72 < found < 0.85
    assert correlation_power(10, found) >= 0.8 > correlation_power(10, found - 0.01)


def test_the_summary_of_ten_cells_that_go_together() -> None:
    movement = np.arange(10.0)
    gain = -movement + np.array([0, 3, 0, 0, -3, 0, 0, 0, 2, 0])
    found = transfer_limits(movement, gain, resamples=400)
    assert found.spearman.value == pytest.approx(spearmanr(movement, gain).statistic)
    assert found.spearman.value < -found.critical
    assert found.spearman.p < 0.05
    assert found.kendall.p < 0.05
    assert found.spearman.low <= found.spearman.value <= found.spearman.high < 0
    assert (found.n, found.critical) == (10, critical_spearman(10))


def test_more_cells_are_shuffled_at_random() -> None:
    random = np.random.default_rng(5)
    a = random.normal(size=40)
    b = a + 2 * random.normal(size=40)
    for kind, other in (("spearman", spearmanr(a, b)), ("kendall", kendalltau(a, b))):
        found = rank_correlation(a, b, kind, permutations=2000, resamples=300)
        assert found.value == pytest.approx(other.statistic)
        assert found.p == pytest.approx(other.pvalue, abs=0.02)
        assert found.estimator == "2000 random orders"
    perfect = rank_correlation(a, a, "spearman", permutations=99, resamples=10)
    assert (perfect.value, perfect.p) == (pytest.approx(1.0), 0.01)


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_monotone_changes_of_scale_change_nothing(seed: int) -> None:
    a, b = np.random.default_rng(seed).normal(size=(2, 7))
    for kind in ("spearman", "kendall"):
        one = rank_correlation(a, b, kind, resamples=10)
        other = rank_correlation(np.exp(a), -(b**3), kind, resamples=10)
        assert other.value == pytest.approx(-one.value)
        assert other.p == pytest.approx(one.p)


def test_independent_cells_are_called_significant_at_most_as_often_as_allowed() -> None:
    random = np.random.default_rng(1)
    p = [
        rank_correlation(*random.normal(size=(2, 7)), "spearman", resamples=2).p for _ in range(150)
    ]
    assert np.mean(np.array(p) <= 0.05) <= 0.1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"movement \(3,\) and gain \(3,\).*at least 4 cells"):
        transfer_limits(np.zeros(3), np.zeros(3))
    with pytest.raises(ShapeError, match="not finite"):
        transfer_limits(np.array([1, 2, 3, np.inf]), np.zeros(4))
    with pytest.raises(ShapeError, match="3 cells are too few"):
        critical_spearman(3)
    with pytest.raises(ShapeError, match="2 is no correlation"):
        correlation_power(10, 2)
