from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.errors import ShapeError
from regraft.measure.extrapolation import Forecast, forecast

STEPS = (5, 10, 20, 40, 80, 160)


@pytest.mark.parametrize(("floor", "height", "exponent"), [(0.1, 0.8, 0.5), (0.05, 1.5, 1.0)])
def test_a_noiseless_power_law_is_recovered(floor: float, height: float, exponent: float) -> None:
    seen = [floor + height * step**-exponent for step in STEPS]
    at = 10_000
    known = floor + height * at**-exponent
    assert forecast(STEPS, seen, at=at, noise=0.002).mean == pytest.approx(known, abs=1e-2)


@pytest.mark.parametrize("n_seen", [1, 2, 4])
def test_nine_of_ten_curves_end_within_the_interval(n_seen: int) -> None:
    random, inside, curves = np.random.default_rng(n_seen), 0, 0
    steps = np.array(STEPS[:n_seen])
    while curves < 400:
        last, exponent = random.uniform(0.2, 0.6), random.uniform(0.1, 2.0)
        floor = random.uniform(0, last)
        height = (last - floor) * steps[-1] ** exponent
        if floor + height * steps[0] ** -exponent > 1:  # no error rate
            continue
        curves += 1
        seen = floor + height * steps**-exponent + random.normal(0, 0.01, n_seen)
        end = floor + height * 400.0**-exponent + random.normal(0, 0.01)
        low, high = forecast(steps.tolist(), seen.tolist(), at=400, noise=0.01).interval()
        inside += low <= end <= high
    assert 0.86 <= inside / curves <= 0.94


@settings(max_examples=25)
@given(st.floats(0.05, 1), st.floats(0.05, 1), st.floats(1, 50))
def test_one_of_two_ends_lower(first: float, second: float, further: float) -> None:
    one, other = (forecast([10], [y], at=10 * further, noise=0.01) for y in (first, second))
    assert one.chance_below(other) + other.chance_below(one) == pytest.approx(1.0, abs=1e-6)
    assert (one.chance_below(other) >= 0.5) == (first <= second) or abs(first - second) < 1e-9


def test_a_longer_way_makes_the_end_less_certain() -> None:
    widths = []
    for at in (10, 20, 80, 640):
        low, high = forecast([10], [0.5], at=at, noise=0.01).interval()
        widths.append(high - low)
    assert widths == sorted(widths)


def test_two_normals_are_compared_in_closed_form() -> None:
    one = Forecast(np.array([0.0]), np.array([3.0]), np.array([1.0]))
    other = Forecast(np.array([5.0]), np.array([4.0]), np.array([1.0]))
    assert one.chance_below(other) == pytest.approx(0.8413447, abs=1e-6)  # Φ(5 / 5)
    assert one.interval(0.95) == pytest.approx((-5.879892, 5.879892), abs=1e-4)


def test_points_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="do not fit"):
        forecast([], [], at=10, noise=0.1)
    with pytest.raises(ShapeError, match="do not fit"):
        forecast([1, 2], [0.5], at=10, noise=0.1)
