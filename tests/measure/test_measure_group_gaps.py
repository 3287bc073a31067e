from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.errors import ShapeError
from regraft.measure.group_gaps import (
    gap_change,
    gap_interval,
    pair_level,
    sidak,
    worst_interval,
)
from regraft.measure.groups import by_group, rows_by_group
from regraft.measure.intervals import Interval, interval, wilson
from regraft.measure.medians import median_interval
from regraft.measure.rates import RATES, nothing, rate

counts = st.lists(
    st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    min_size=2,
    max_size=6,
)


def spread(value: float, low: float, high: float) -> Interval:
    return Interval(value, low, high, 40, "test")


def of(pairs: list[tuple[int, int]], level: float = 0.95) -> dict[str, Interval]:
    return {f"g{i}": wilson(k, n, level=level) for i, (k, n) in enumerate(pairs)}


def test_the_levels_of_single_intervals_hold_together() -> None:
    assert sidak(0.95, 1) == 0.95
    assert sidak(0.95, 3) ** 3 == pytest.approx(0.95)
    assert pair_level(0.95, 2) == pytest.approx(0.95)
    assert pair_level(0.95, 5) == pytest.approx(1 - 0.05 / 10)
    assert pair_level(0.95, 3, 2) == pytest.approx(1 - 0.05 / 6)


def test_the_worst_value_lies_between_the_worst_ends() -> None:
    groups = {"a": spread(0.8, 0.6, 0.9), "b": spread(0.7, 0.65, 0.75), "c": spread(0.9, 0.5, 1)}
    found = worst_interval(groups)
    assert (found.value, found.low, found.high, found.n) == (0.7, 0.5, 0.75, 120)
    found = worst_interval(groups, higher_is_better=False)
    assert (found.value, found.low, found.high) == (0.9, 0.65, 1)


@given(counts)
def test_the_gap_of_two_groups_is_newcombes_and_of_more_the_widest_pair(
    pairs: list[tuple[int, int]],
) -> None:
    groups = of(pairs)
    found = gap_interval([groups])
    shares = [k / n for k, n in pairs]
    assert found.value == pytest.approx(max(shares) - min(shares))
    assert 0.0 <= found.low <= found.value <= found.high <= np.sqrt(2)
    lows, highs = [], []
    for one, other in combinations(groups.values(), 2):  # Newcombe 1998, method 10
        d = one.value - other.value
        low = d - np.sqrt((one.value - one.low) ** 2 + (other.high - other.value) ** 2)
        high = d + np.sqrt((one.high - one.value) ** 2 + (other.value - other.low) ** 2)
        lows.append(0.0 if low <= 0 <= high else min(abs(low), abs(high)))
        highs.append(max(abs(low), abs(high)))
    assert found.low == pytest.approx(min(max(lows), found.value))
    assert found.high == pytest.approx(max(highs))


def test_newcombes_printed_example() -> None:
    """56 of 70 and 48 of 80: method 10 gives .0524 to .3339 (Newcombe 1998, table II)."""
    found = gap_interval([of([(56, 70), (48, 80)])])
    assert (found.low, found.high) == (
        pytest.approx(0.0524, abs=5e-5),
        pytest.approx(0.3339, abs=5e-5),
    )


@given(counts)
def test_the_order_of_groups_does_not_matter(pairs: list[tuple[int, int]]) -> None:
    one, other = gap_interval([of(pairs)]), gap_interval([of(pairs[::-1])])
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_several_families_give_the_largest_of_their_gaps() -> None:
    near, far = of([(9, 10), (8, 10)]), of([(9, 10), (1, 10)])
    both, alone = gap_interval([near, far]), gap_interval([far])
    assert (both.value, both.low, both.high) == (alone.value, alone.low, alone.high)


@pytest.mark.parametrize(
    ("sizes", "shares"),
    [((60, 60), (0.9, 0.7)), ((40, 60, 80, 100), (0.6, 0.9, 0.9, 0.85)), ((50,) * 5, (0.85,) * 5)],
)
def test_the_intervals_hold_the_truth_as_often_as_they_say(
    sizes: tuple[int, ...], shares: tuple[float, ...]
) -> None:
    random = np.random.default_rng(1)
    worst = gap = 0
    for _ in range(500):
        pairs = [(int(random.binomial(n, p)), n) for n, p in zip(sizes, shares, strict=True)]
        low = worst_interval(of(pairs, sidak(0.95, len(sizes))))
        wide = gap_interval([of(pairs, pair_level(0.95, len(sizes)))])
        worst += low.low <= min(shares) <= low.high
        gap += wide.low <= max(shares) - min(shares) + 1e-12 <= wide.high
    assert worst >= 0.93 * 500
    assert gap >= 0.93 * 500


def test_a_gap_is_called_wider_only_where_the_two_intervals_say_so() -> None:
    wide, narrow = (
        gap_interval([of([(190, 200), (60, 200)])]),
        gap_interval([of([(95, 100), (94, 100)])]),
    )
    found = gap_change(wide, narrow)
    assert found.value == pytest.approx(0.65 - 0.01)
    assert found.low > 0
    assert gap_change(narrow, wide).high < 0
    same = gap_change(wide, wide)
    assert same.value == 0.0
    assert same.low == pytest.approx(-same.high)


def test_groups_without_a_value_are_left_out_and_named() -> None:
    groups = {"a": wilson(40, 60), "b": wilson(50, 60), "empty": nothing()}
    assert worst_interval(groups).value == 40 / 60
    assert worst_interval(groups).warning == "no item of empty defines it: left out"
    assert gap_interval([groups]).value == pytest.approx(10 / 60)
    assert np.isnan(worst_interval({"empty": nothing()}).value)
    assert np.isnan(gap_interval([{"a": wilson(4, 6), "empty": nothing()}]).value)


def test_few_items_of_a_group_are_warned_of() -> None:
    found = worst_interval({"many": wilson(50, 60), "few": wilson(5, 6)})
    assert found.warning == "few: 6 items are few: the interval is rough"
    rough = {name: wilson(3, 6) for name in "abcde"}
    assert str(gap_interval([rough]).warning).startswith("a, b, c and 2 more: 6 items")


def test_a_metric_of_groups_takes_repetitions_and_a_level() -> None:
    random = np.random.default_rng(2)
    p = random.dirichlet(np.ones(3), size=(2, 80))
    labels, groups = random.integers(0, 3, 80), [f"g{i % 2}" for i in range(80)]
    found = by_group("accuracy", p, labels, groups, level=0.99)
    for name, rows in rows_by_group(groups, 80).items():
        expected = interval("accuracy", p[:, rows], labels[rows], level=0.99)
        assert (found[name].low, found[name].high) == pytest.approx((expected.low, expected.high))
        assert found[name].level == 0.99
        one = by_group("accuracy", p[0], labels, groups, level=0.99)[name]
        right = (p[0, rows].argmax(-1) == labels[rows]).sum()
        expected = wilson(float(right), len(rows), level=0.99)
        assert (one.low, one.high) == pytest.approx((expected.low, expected.high))


def test_rates_are_counts_of_counts_and_equal_scikit_learns() -> None:
    from sklearn.metrics import precision_score, recall_score

    random = np.random.default_rng(3)
    predictions, labels = random.integers(0, 3, 90), random.integers(0, 3, 90)
    for c in range(3):
        only = {"labels": [c], "average": None}
        recall = rate("recall", predictions, labels, positive=c)
        assert recall.value == pytest.approx(recall_score(labels, predictions, **only)[0])
        assert recall.n == (labels == c).sum()
        precision = rate("precision", predictions, labels, positive=c)
        assert precision.value == pytest.approx(precision_score(labels, predictions, **only)[0])
        assert rate("selection_rate", predictions, labels, positive=c).value == pytest.approx(
            (predictions == c).mean()
        )
        others = labels != c
        assert rate("false_positive_rate", predictions, labels, positive=c).value == (
            pytest.approx((predictions[others] == c).mean())
        )


def test_the_rate_of_repetitions_is_their_mean() -> None:
    predictions, labels = np.array([[1, 1, 0, 0], [1, 0, 0, 1]]), np.array([1, 1, 0, 0])
    assert rate("recall", predictions, labels, positive=1).value == 0.75
    assert rate("precision", predictions, labels, positive=1).value == 0.75
    for name in RATES:
        assert rate(name, predictions, labels, positive=1).value <= 1.0


def test_what_no_item_defines_is_no_number() -> None:
    found = rate("recall", np.array([1, 1]), np.array([0, 0]), positive=1)
    assert np.isnan(found.value)
    assert found.n == 0
    with pytest.raises(ShapeError, match=r"predictions \(2,\) and labels \(3,\) do not fit"):
        rate("recall", np.array([1, 1]), np.array([0, 0, 1]), positive=1)


@pytest.mark.parametrize("n", [6, 15, 51])
def test_a_medians_interval_is_that_of_the_binomial(n: int) -> None:
    from math import comb

    found = median_interval([float(i) for i in range(n)])
    r = int(found.low) + 1  # the r-th smallest of 0 … n − 1
    assert found.high == n - r
    below = [sum(comb(n, i) for i in range(k)) / 2**n for k in (r, r + 1)]
    assert below[0] <= 0.025 < below[1]


def test_the_median_of_few_is_warned_of_and_of_none_refused() -> None:
    found = median_interval([3.0, 1.0, 2.0])
    assert (found.value, found.low, found.high) == (2.0, 1.0, 3.0)
    assert found.warning == "3 values are few: the interval is rough"
    with pytest.raises(ShapeError, match="median_interval: no values"):
        median_interval([])
