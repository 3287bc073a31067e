from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import curve_fit
from sklearn.isotonic import IsotonicRegression

from regraft.errors import ShapeError
from regraft.measure.convergence import area_under_curve, speed_up, time_to_reach
from regraft.measure.label_savings import (
    area_under_log_n,
    data_saving_ratio,
    label_efficiency,
)
from regraft.measure.power_law import fit_power_law

N = np.array([10, 20, 50, 100, 200, 500, 1000])


def array(*values: float) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def test_the_known_law_is_recovered() -> None:
    law = fit_power_law(N, 0.05 + 0.8 * N**-0.5)
    assert (law.floor, law.scale, law.exponent) == pytest.approx((0.05, 0.8, 0.5), abs=1e-5)
    assert law.residual < 1e-8
    assert (law.floor_interval, law.exponent_interval, law.note) == (None, None, "")


@given(st.floats(0, 0.3), st.floats(0.2, 2.0), st.floats(0.1, 2.0), st.sampled_from([1e-2, 1e3]))
def test_any_law_is_recovered_in_any_unit(a: float, b: float, c: float, unit: float) -> None:
    law = fit_power_law(unit * N, a + b * N**-c)
    for n in (15, 300, 5000):
        assert law.error_at(unit * n) == pytest.approx(a + b * n**-c, abs=1e-3)
    assert law.exponent == pytest.approx(c, abs=0.02)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_fit_is_at_least_as_good_as_scipys(seed: int) -> None:
    random = np.random.default_rng(seed)
    errors = 0.1 + 0.9 * N**-0.4 + 0.01 * random.normal(size=len(N))
    law = fit_power_law(N, errors)
    found, _ = curve_fit(
        lambda n, a, b, c: a + b * n**-c,
        N.astype(float),
        errors,
        p0=(0.1, 1.0, 0.5),
        bounds=([0, 0, 0], [np.inf, np.inf, 5.0]),
    )
    other = np.sqrt(((errors - (found[0] + found[1] * N ** -found[2])) ** 2).mean())
    assert law.residual <= other * (1 + 1e-6)


def test_bounds_hold_where_the_data_would_break_them() -> None:
    rising = fit_power_law(N, np.linspace(0.1, 0.5, len(N)))
    assert rising.scale == 0.0
    assert rising.floor == pytest.approx(0.3)
    assert "exponent says nothing" in rising.note
    below = fit_power_law(N, 0.8 * N**-0.5 - 0.02)
    assert below.floor == 0.0
    assert below.scale > 0
    steep = fit_power_law(array(1, 2, 3, 4), array(1.0, 0.0, 0.0, 0.0))
    assert "at its bound of 5" in steep.note


def test_the_law_says_how_many_labels_an_error_needs() -> None:
    law = fit_power_law(N, 0.05 + 0.8 * N**-0.5)
    assert law.labels_for(0.13) == pytest.approx(100, rel=1e-3)
    assert law.labels_for(0.049) == np.inf
    flat = fit_power_law(N, np.full(len(N), 0.2))
    assert (flat.labels_for(0.1), flat.labels_for(0.3)) == (np.inf, 0.0)


def test_the_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    held = 0
    for trial in range(40):
        draws = (0.1 + 0.9 * N**-0.5)[:, None] + 0.01 * random.normal(size=(len(N), 10))
        law = fit_power_law(N, draws, resamples=100, seed=trial)
        assert law.exponent_interval is not None
        assert law.floor_interval is not None
        held += law.exponent_interval[0] <= 0.5 <= law.exponent_interval[1]
    assert held >= 30


def test_a_shift_in_log_n_is_the_ratio() -> None:
    scratch, transfer = 0.9 - 0.8 * N**-0.5, 0.9 - 0.8 * (4 * N) ** -0.5
    fine = np.geomspace(10, 1000, 400)
    found = data_saving_ratio(
        fine, 0.9 - 0.8 * fine**-0.5, fine, 0.9 - 0.8 * (4 * fine) ** -0.5, target=0.85
    )
    assert found.bound == "exact"
    assert found.ratio == pytest.approx(4.0, rel=1e-3)
    coarse = data_saving_ratio(N, scratch, N, transfer, target=0.85)
    assert coarse.ratio == pytest.approx(4.0, rel=0.2)


def test_the_default_target_is_the_best_of_scratch_reached_where_its_plateau_begins() -> None:
    n = array(1, 10, 100)
    found = data_saving_ratio(n, array(0.4, 0.8, 0.8), n, array(0.7, 0.9, 0.9))
    assert (found.target, found.n_scratch) == (0.8, 10.0)
    assert found.n_transfer == pytest.approx(10**0.5)
    assert found.text() == "3.2 × fewer labels"


@pytest.mark.parametrize(
    ("scratch", "transfer", "target", "bound", "ratio"),
    [
        ((0.1, 0.3), (0.4, 0.6), 0.5, "at least", 100 / 10**1.5),  # scratch never gets there
        ((0.1, 0.3), (0.4, 0.6), 0.2, "at least", 10**1.5 / 10),  # transfer is there at once
        ((0.1, 0.3), (0.6, 0.7), 0.5, "at least", 10.0),  # both of these
        ((0.1, 0.7), (0.1, 0.2), 0.4, "at most", 10**1.5 / 100),
        ((0.5, 0.7), (0.1, 0.5), 0.4, "at most", 10 / 10**1.75),
        ((0.1, 0.3), (0.1, 0.2), 0.4, "unknown", None),
        ((0.5, 0.6), (0.5, 0.7), 0.4, "unknown", None),
    ],
)
def test_what_is_not_reached_is_a_bound(
    scratch: tuple[float, ...],
    transfer: tuple[float, ...],
    target: float,
    bound: str,
    ratio: float | None,
) -> None:
    n = array(10, 100)
    found = data_saving_ratio(n, array(*scratch), n, array(*transfer), target=target)
    assert found.bound == bound
    assert found.ratio == (None if ratio is None else pytest.approx(ratio))
    sign = {"at least": "≥ ", "at most": "≤ "}.get(bound, "")
    assert found.text().startswith("the curves do not tell" if ratio is None else sign)
    turned = data_saving_ratio(
        n, -array(*scratch), n, -array(*transfer), target=-target, higher_is_better=False
    )
    assert (turned.bound, turned.ratio) == (found.bound, found.ratio)


@given(st.integers(0, 1000))
def test_a_noisy_curve_is_read_through_its_isotonic_fit(seed: int) -> None:
    random = np.random.default_rng(seed)
    scratch = 0.5 + 0.05 * np.arange(len(N)) + 0.1 * random.normal(size=len(N))
    fitted = IsotonicRegression().fit_transform(np.arange(len(N)), scratch)
    same = data_saving_ratio(N, scratch, N, scratch)
    assert same.target == pytest.approx(fitted[-1])
    assert same.ratio == pytest.approx(1.0)


@given(st.integers(0, 1000), st.floats(0.3, 0.9))
def test_exchanging_the_two_inverts_an_exact_ratio(seed: int, target: float) -> None:
    random = np.random.default_rng(seed)
    a, b = np.sort(random.random((2, len(N))), axis=1)
    one = data_saving_ratio(N, a, N, b, target=target)
    other = data_saving_ratio(N, b, N, a, target=target)
    if one.bound == "exact":
        assert one.ratio is not None
        assert other.ratio == pytest.approx(1 / one.ratio)
    else:
        turned = {"at least": "at most", "at most": "at least", "unknown": "unknown"}
        assert other.bound == turned[one.bound]


def test_the_area_is_the_mean_over_log_n() -> None:
    assert area_under_log_n(N, np.full(len(N), 0.7)) == pytest.approx(0.7)
    assert area_under_log_n(array(1, 10, 1000), array(0.0, 1.0, 1.0)) == pytest.approx(5 / 6)
    logs = np.log(N)
    assert area_under_log_n(N, logs) == pytest.approx((logs[0] + logs[-1]) / 2)
    assert area_under_log_n(7 * N, logs) == pytest.approx(area_under_log_n(N, logs))


def test_the_summary_holds_the_known_truth() -> None:
    random = np.random.default_rng(4)
    noise = 0.004 * random.normal(size=(2, len(N), 5))
    scratch = (0.9 - 0.8 * N**-0.5)[:, None] + noise[0]
    transfer = (0.9 - 0.8 * (4.0 * N) ** -0.5)[:, None] + noise[1]
    found = label_efficiency(N, scratch, transfer, target=0.85, resamples=100)
    assert found.saving_low is not None
    assert found.saving_high is not None
    assert found.saving_low < 4.0 < found.saving_high
    assert found.area_transfer > found.area_scratch
    assert found.law_scratch is not None
    assert found.law_scratch.floor == pytest.approx(0.1, abs=0.02)
    again = label_efficiency(N, 1 - scratch, 1 - transfer, target=0.15, higher_is_better=False)
    assert again.law_scratch is not None
    assert again.law_scratch.exponent == pytest.approx(found.law_scratch.exponent)
    assert again.saving.ratio == pytest.approx(found.saving.ratio)


def test_a_bound_stays_one_in_the_interval() -> None:
    scratch = np.array([[0.1, 0.2], [0.3, 0.3]])
    found = label_efficiency(array(10, 100), scratch, scratch + 0.5, resamples=50)
    assert found.saving.text() == "≥ 10.0 × fewer labels"
    assert (found.saving_low, found.saving_high) == (pytest.approx(10.0), np.inf)
    assert (found.law_scratch, found.law_transfer) == (None, None)
    alone = label_efficiency(array(10, 100), scratch[:, 0], scratch[:, 0] + 0.5)
    assert (alone.saving_low, alone.saving_high) == (None, None)


def test_speed_to_the_best_of_scratch() -> None:
    found = speed_up([100, 200, 300, 400], [0.5, 0.7, 0.8, 0.8], [20, 60], [0.79, 0.8])
    assert (found.target, found.scratch, found.transfer) == (0.8, 300, 60)
    assert (found.ratio, found.text()) == (5.0, "5.0 ×")
    never = speed_up([1.0, 2.0], [0.5, 0.9], [0.1], [0.6])
    assert (never.transfer, never.ratio, never.text()) == (np.inf, 0.0, "never reached")
    assert speed_up([0, 9], [0.1, 0.5], [0, 9], [0.6, 0.7]).text() == "from the start"
    assert speed_up([0, 9], [0.5, 0.1], [0, 9], [0.6, 0.7]).ratio == 1.0
    loss = speed_up([10, 20], [2.0, 1.0], [5, 10], [1.5, 0.5], higher_is_better=False)
    assert (loss.target, loss.ratio) == (1.0, 2.0)
    assert time_to_reach([1, 2], [0.1, 0.2], 0.3) is None


def test_the_area_of_a_run_is_normalised() -> None:
    assert area_under_curve([0, 10, 20], [0.5, 0.9, 0.9]) == pytest.approx(0.75)
    assert area_under_curve([0, 10, 20], [3.0, 1.0, 1.0]) == pytest.approx(0.75)
    assert area_under_curve([0, 10], [0.6, 0.8], low=0.5, high=0.9) == pytest.approx(0.5)
    assert np.isnan(area_under_curve([0, 10], [0.6, 0.6]))
    assert area_under_curve([0, 5, 40], [0, 1, 2]) == area_under_curve([0, 10, 80], [1, 4, 7])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="at least 3 different ones"):
        fit_power_law(array(1, 2, 2), array(1, 1, 1))
    with pytest.raises(ShapeError, match=r"errors \(2,\) do not fit|do not fit"):
        fit_power_law(array(1, 2, 3), array(1, 1))
    with pytest.raises(ShapeError, match="not finite"):
        fit_power_law(array(1, 2, 3), array(1, 1, np.nan))
    with pytest.raises(ShapeError, match="do not ascend"):
        data_saving_ratio(array(2, 1), array(0, 1), N, N / 1000)
    with pytest.raises(ShapeError, match=r"\(1,\) numbers of labels and \(2,\) values"):
        area_under_log_n(array(1), array(0, 1))
    with pytest.raises(ShapeError, match="one point has no area"):
        area_under_log_n(array(1), array(0))
    with pytest.raises(ShapeError, match="label_efficiency"):
        label_efficiency(array(1, 2), array(0, 1), np.zeros((2, 3)))
    with pytest.raises(ShapeError, match="no evaluations"):
        speed_up([], [], [1], [0.5])
    with pytest.raises(ShapeError, match="no number"):
        speed_up([1.0], [np.nan], [1], [0.5])
    with pytest.raises(ShapeError, match="1 times and 2 values"):
        time_to_reach([1], [1, 2], 0)
    with pytest.raises(ShapeError, match="strictly ascending"):
        area_under_curve([1, 1], [1, 2])
