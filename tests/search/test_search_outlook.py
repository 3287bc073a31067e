"""Outlook: the chance of a candidate that is behind to end ahead."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from regraft.search.halving import Standing
from regraft.search.outlook import UNLIKELY, chances


def standing(
    run: str,
    curve: Sequence[tuple[int, float]],
    *,
    n: int = 2000,
    total: int = 90,
    ended: bool = False,
) -> Standing:
    step, value = curve[-1]
    return Standing(run, value, 1.0, step, total, 1.0, n, ended, tuple(curve))


def test_the_best_has_no_one_to_overtake_and_the_hopeless_no_chance() -> None:
    best = standing("best", [(10, 0.85), (30, 0.95)])
    flat = standing("flat", [(10, 0.50), (30, 0.50)])
    found = chances([flat, best], "accuracy")
    assert found["best"] == 1.0
    assert found["flat"] < UNLIKELY


def test_who_climbs_faster_may_overtake() -> None:
    best = standing("best", [(10, 0.80), (30, 0.80)])
    steep = standing("steep", [(10, 0.30), (30, 0.79)])
    slow = standing("slow", [(10, 0.78), (30, 0.79)])
    found = chances([best, steep, slow], "macro_f1")
    assert found["steep"] > 0.8 > found["slow"]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_fewer_validation_items_leave_more_open(metric: str) -> None:
    sign = 1 if metric == "accuracy" else -1
    seen = []
    for n in (20, 2000):
        best = standing("best", [(30, 0.9 if sign > 0 else -0.3)], total=33, n=n)
        behind = standing("behind", [(30, 0.8 if sign > 0 else -0.5)], total=33, n=n)
        seen.append(chances([best, behind], metric)["behind"])
    few, many = seen
    assert many < few < 0.5


def test_a_run_that_has_ended_stays_where_it_is() -> None:
    best = standing("best", [(90, 0.9)], ended=True)
    behind = standing("behind", [(90, 0.7)], ended=True)
    assert chances([best, behind], "accuracy")["behind"] < 1e-6
