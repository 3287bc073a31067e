"""Halving: who goes on, at what share of the steps, and what a race costs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.search.halving import (
    ETA,
    Standing,
    held_against,
    kept,
    promoted,
    racing_share,
    rungs,
)


def standing(run: int, value: float, loss: float = 1.0, **more: float) -> Standing:
    given = {"step": 10, "total_steps": 90, "seconds": 1.0, "n_items": 100, **more}
    return Standing(str(run), value, loss, ended=False, **given)  # type: ignore[arg-type]


standings = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 3)), min_size=1, max_size=40).map(
    lambda pairs: [standing(i, value, loss) for i, (value, loss) in enumerate(pairs)]
)


@pytest.mark.parametrize(
    ("n", "shares"),
    [
        (1, []),
        (2, []),
        (3, [1 / 3]),
        (4, [1 / 9, 1 / 3]),
        (9, [1 / 9, 1 / 3]),
        (10, [1 / 27, 1 / 9, 1 / 3]),
        (500, [1 / 27, 1 / 9, 1 / 3]),
    ],
)
def test_more_candidates_are_compared_earlier(n: int, shares: list[float]) -> None:
    assert rungs(n) == pytest.approx(shares)


@given(st.integers(1, 200))
def test_the_share_of_a_race_is_what_a_race_takes(n: int) -> None:
    steps, done, left = 0.0, 0.0, n
    for share in [*rungs(n), 1.0]:
        steps += left * (share - done)
        done, left = share, kept(left)
    assert racing_share(n) == pytest.approx(steps / n)
    assert racing_share(n) == 1.0 if n < ETA else racing_share(n) < 0.75


@given(standings, st.floats(0, 1e6))
def test_the_better_third_goes_on_and_always_the_best(
    field: list[Standing], available: float
) -> None:
    chosen = promoted(field, to_share=1.0, available=available)
    assert 1 <= len(chosen) <= kept(len(field)) == math.ceil(len(field) / ETA)
    rank = sorted(field, key=lambda one: (-one.value, one.log_loss))
    assert chosen == rank[: len(chosen)]


def test_the_time_left_holds_those_that_go_on() -> None:
    field = [standing(i, 1 - i / 10, seconds=2.0) for i in range(9)]
    each = field[0].seconds_to(1.0)
    assert each == pytest.approx(16.0)
    for n in (1, 2, 3):
        assert len(promoted(field, to_share=1.0, available=n * each + 1.0)) == n
    assert len(promoted(field, to_share=1.0, available=-5.0)) == 1
    done = Standing("done", 0.5, 1.0, 90, 90, 20.0, 100, ended=True)
    assert done.seconds_to(1.0) == 0.0
    assert promoted([*field[:4], done], to_share=1.0, available=0.0) == field[:1]


def runs(*names: int) -> frozenset[str]:
    return frozenset(map(str, names))


def test_of_an_off_switch_as_many_go_on_as_of_its_ingredient_the_best() -> None:
    field = [standing(i, value) for i, value in enumerate([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])]
    pairs = [(runs(0, 1), runs(3, 4, 5))]
    assert [one.run for one in held_against(field[:2], field, pairs)] == ["3", "4"]
    assert [one.run for one in held_against(field[:1], field, pairs)] == ["3"]
    assert held_against([field[2]], field, pairs) == []  # both are out
    assert [one.run for one in held_against(field[3:5], field, pairs)] == ["0"]
    assert held_against([field[0], field[5]], field, pairs) == []  # one goes on by merit
    assert held_against(field[:2], field, []) == []


def test_what_an_off_switch_is_held_against_itself_goes_on_too() -> None:
    field = [standing(i, value) for i, value in enumerate([0.9, 0.5, 0.4, 0.3])]
    pairs = [(runs(1), runs(3)), (runs(2), runs(3)), (runs(0), runs(1)), (runs(0), runs(2))]
    assert {one.run for one in held_against(field[:1], field, pairs)} == {"1", "2", "3"}


def test_an_off_switch_that_failed_holds_nothing_up() -> None:
    field = [standing(0, 0.9), standing(1, 0.8)]
    assert held_against(field[:1], field, [(runs(0), runs(7, 8)), (runs(0), runs())]) == []
