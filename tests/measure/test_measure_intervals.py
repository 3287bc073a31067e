from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from regraft.errors import ConfigError
from regraft.measure.calibration import ece
from regraft.measure.intervals import interval
from regraft.measure.metrics import item_values, score, softmax
from regraft.measure.spreads import (
    calibration_ends,
    effective_items,
    mean_ends,
    recall_deviation,
    wilson_ends,
)

VALUES = st.lists(st.integers(-50, 50), min_size=3, max_size=30).map(lambda v: np.array(v) / 7)


def drawn(
    n: int, seed: int, *, skill: float = 1.5, sharp: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return probabilities (n, 3) and labels of half, 30 % and 20 % of the items."""
    labels = np.repeat(np.arange(3), [n // 2, round(0.3 * n), n - n // 2 - round(0.3 * n)])
    noise = np.random.default_rng(seed).normal(size=(n, 3))
    return softmax(sharp * (noise + skill * np.eye(3)[labels])), labels


def calibrated(
    n: int, seed: int, *, power: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return probabilities and labels drawn from them; below power 1 they are overconfident."""
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.full(3, 0.5), size=n)
    true = p**power / (p**power).sum(axis=1, keepdims=True)
    labels = (random.random(n)[:, None] > true.cumsum(axis=1)).sum(axis=1)
    return p, np.minimum(labels, 2)


# formulas


@given(st.integers(1, 60), st.integers(2, 60))
def test_the_effective_items_of_a_plain_proportion_are_its_items(k: int, n: int) -> None:
    share = min(k, n) / n
    deviation = float(np.sqrt(share * (1 - share) / n))
    assert effective_items(share, deviation, n) == pytest.approx(n)
    low, high = wilson_ends(share, n)
    for end in (low, high):  # the ends solve |p − share| = z √(p(1 − p)/n)
        if 0.0 < end < 1.0:
            away = norm.ppf(0.975) * np.sqrt(end * (1 - end) / n)
            assert abs(end - share) == pytest.approx(away, abs=1e-9)


@given(VALUES, st.floats(0.1, 9), st.floats(-9, 9))
def test_the_ends_of_a_mean_move_with_its_values(
    values: NDArray[np.float64], scale: float, shift: float
) -> None:
    low, high, skew = mean_ends(values)
    assert low <= values.mean() + 1e-12
    assert high >= values.mean() - 1e-12
    moved = mean_ends(scale * values + shift)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift, skew), abs=1e-6)
    assert mean_ends(-values) == pytest.approx((-high, -low, -skew), abs=1e-9)


def test_the_ends_of_a_mean_undo_the_published_transformation() -> None:
    values = np.random.default_rng(0).exponential(size=25)
    low, high, skew = mean_ends(values)
    error = values.std() / np.sqrt(24)
    quantiles = []
    for end in (high, low):
        t = (values.mean() - end) / error
        quantiles.append(t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6)
    assert quantiles == pytest.approx([-2.063899, 2.063899], abs=1e-5)  # t(0.975, 24)


def test_even_values_have_the_plain_t_interval() -> None:
    low, high, skew = mean_ends(np.array([-1.0, 0.0, 1.0]))
    assert skew == pytest.approx(0.0, abs=1e-12)
    assert (low, high) == pytest.approx((-2.484138, 2.484138), abs=1e-5)  # 4.302653 / √3
    assert mean_ends(np.array([2.0, 2.0])) == (2.0, 2.0, 0.0)


def test_a_class_without_mistakes_is_not_certain() -> None:
    labels = np.array([0] * 9 + [1] * 4)
    found = recall_deviation(np.ones(13), labels)
    known = np.sqrt(9.5 / 10 * 0.5 / 10 / 9 + 4.5 / 5 * 0.5 / 5 / 4) / 2
    assert found == pytest.approx(known)


def test_what_a_calibrated_model_would_show_shrinks_with_the_items() -> None:
    noise = [
        calibration_ends(calibrated(n, 0)[0][None], calibrated(n, 0)[1])[2] for n in (100, 1600)
    ]
    assert noise[0] == pytest.approx(4 * noise[1], rel=0.25)
    p, labels = calibrated(1600, 0)
    assert ece(p, labels) == pytest.approx(noise[1], rel=0.5)


def test_values_per_item_average_to_the_metric() -> None:
    p, labels = drawn(40, 0)
    costs = np.array([[0.0, 1, 2], [3, 0, 1], [1, 1, 0]])
    for name in ("accuracy", "log_loss", "brier", "mean_cost"):
        values = item_values(name, p, labels, costs=costs)
        assert values.mean() == pytest.approx(score(name, p, labels, costs=costs))
    with pytest.raises(ConfigError, match=r"'macro_f1' has no value per item"):
        item_values("macro_f1", p, labels)


# what they promise


def cover(metric: str, n: int, truth: float, **of: float) -> float:
    """Return how often 300 intervals hold the truth."""
    hits = 0
    for seed in range(300):
        p, labels = drawn(n, seed, **of)
        found = interval(metric, p, labels, resamples=200, seed=seed)
        hits += found.low <= truth <= found.high
    return hits / 300


@pytest.mark.parametrize("metric", ["macro_f1", "balanced_accuracy", "auroc", "brier", "log_loss"])
@pytest.mark.parametrize(("n", "skill"), [(60, 1.0), (100, 2.5)])
def test_intervals_hold_the_truth_as_often_as_they_say(metric: str, n: int, skill: float) -> None:
    truth = score(metric, *drawn(100_000, 10_000, skill=skill))
    assert 0.91 <= cover(metric, n, truth, skill=skill) <= 0.99


@pytest.mark.parametrize("power", [1.0, 0.3])
def test_intervals_of_ece_hold_the_true_error_in_spite_of_its_bias(power: float) -> None:
    truth = ece(*calibrated(200_000, 10_000, power=power))
    hits = warned = 0
    for seed in range(200):
        p, labels = calibrated(100, seed, power=power)
        found = interval("ece", p, labels, resamples=200, seed=seed)
        hits += found.low <= truth <= found.high
        warned += found.warning is not None
        assert found.low <= found.value <= found.high
    assert 0.89 <= hits / 200 <= 1.0
    assert power < 1.0 or warned / 200 > 0.95


# warnings


@pytest.mark.parametrize(
    ("right", "warning"),
    [
        (98, "fewer than 5 answers are wrong: the interval is rough"),
        (96, "fewer than 5 answers are wrong: the interval is rough"),
        (95, None),
        (5, None),
        (2, "fewer than 5 answers are right: the interval is rough"),
    ],
)
def test_few_wrong_or_right_answers_are_warned_of(right: int, warning: str | None) -> None:
    labels = np.arange(100) % 2
    guess = np.where(np.arange(100) < right, labels, 1 - labels)
    assert interval("accuracy", np.eye(2)[guess], labels).warning == warning


def test_a_loss_that_few_items_make_up_is_warned_of() -> None:
    p = np.full((60, 2), [0.99, 0.01])
    labels = np.zeros(60, np.int64)
    labels[:2] = 1
    found = interval("log_loss", p, labels)
    assert found.warning == "a few of the 60 items make up most of it: the interval is rough"
    assert found.high - found.value > found.value - found.low
    same = interval("log_loss", np.full((60, 2), 0.5), labels)
    assert (same.low, same.high) == pytest.approx((same.value, same.value))
    assert same.warning == "all 60 items have the same value: no spread is known"


def test_an_ece_within_the_noise_of_its_bins_is_warned_of() -> None:
    p, labels = calibrated(100, 0)
    warning = interval("ece", p, labels).warning
    assert warning is not None
    assert warning.startswith(
        "bins of 100 items are noisy: a calibrated model would show about 0.09"
    )
    far = interval("ece", np.tile([0.95, 0.05], (500, 1)), np.arange(500) % 2)
    assert far.warning is None
    assert far.low <= 0.45 <= far.high
    few = interval("ece", np.tile([0.95, 0.05], (500, 1)), (np.arange(500) > 38).astype(np.int64))
    assert few.warning == "fewer than 40 answers are right: the interval is rough"
    small = interval("ece", np.tile([0.95, 0.05], (499, 1)), np.arange(499) % 2)
    assert small.warning == "499 items are few: the interval is rough"
