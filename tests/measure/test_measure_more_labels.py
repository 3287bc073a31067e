from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from regraft.errors import ShapeError
from regraft.measure.intervals import Interval, wilson
from regraft.measure.more_labels import MOST_LABELS, labels_needed, wilson_items, with_more_items
from regraft.measure.spreads import wilson_ends

proportions = st.integers(2, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(proportions, st.sampled_from([0.9, 0.95, 0.99]))
def test_the_items_of_wilsons_interval_are_read_from_its_ends(
    pair: tuple[int, int], level: float
) -> None:
    assert wilson_items(wilson(*pair, level=level)) == pytest.approx(pair[1])


@given(proportions, st.integers(2, 20))
def test_an_interval_on_more_items_is_that_of_the_same_share_of_more(
    pair: tuple[int, int], times: int
) -> None:
    k, n = pair
    found = with_more_items(wilson(k, n), times, proportion=True)
    expected = wilson(times * k, times * n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_other_intervals_shrink_with_the_root() -> None:
    one = Interval(0.5, 0.3, 0.9, 100, "t interval")
    found = with_more_items(one, 4.0, proportion=False)
    assert (found.low, found.high) == pytest.approx((0.4, 0.7))
    assert with_more_items(one, 1.0, proportion=False) is one
    with pytest.raises(ShapeError, match=r"factor 0\.5"):
        with_more_items(one, 0.5, proportion=False)


@settings(max_examples=60)
@given(st.integers(20, 200), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_the_labels_needed_are_those_of_trying_every_number(
    n: int, share: float, bound: float
) -> None:
    assume(abs(share - bound) > 0.03)
    one = wilson(share * n, n)

    def decides(low: float, high: float) -> bool:
        return low >= bound or high < bound

    found = labels_needed(
        n,
        lambda f: decides(*(lambda i: (i.low, i.high))(with_more_items(one, f, proportion=True))),
    )
    tried = (m for m in range(100_000) if decides(*wilson_ends(share, n + m)))
    assert found == pytest.approx(next(tried), abs=1)  # rounding of the ends read back
    # Wilson's end is the bound where n = z² b(1 − b)/(v − b)².
    closed = 1.959964**2 * bound * (1 - bound) / (share - bound) ** 2 - n
    assert found == pytest.approx(max(np.ceil(closed), 0), abs=1)


def test_a_value_at_its_bound_is_never_decided() -> None:
    one = wilson(90, 100)
    status = lambda f: with_more_items(one, f, proportion=True).low >= 0.9  # noqa: E731
    assert labels_needed(100, status) is None
    assert labels_needed(100, lambda f: f > MOST_LABELS) is None
    assert labels_needed(100, lambda f: True) == 0
