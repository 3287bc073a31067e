"""Intervals of detection and of corruption errors, against brute force and known laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from regraft.errors import ShapeError
from regraft.measure.detection import auroc_interval, fpr_interval
from regraft.measure.out_of_distribution import fpr_at_tpr, ood_auroc
from regraft.measure.robustness import corruption_error_intervals, corruption_errors
from regraft.measure.spreads import effective_items, wilson_ends


def samples(n: int, m: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=n), random.normal(size=m) + shift


def test_the_variance_is_delongs_by_its_definition() -> None:
    inside, outside = (one.round(1) for one in samples(40, 50, 0.8))  # with ties
    above = (outside[None, :] > inside[:, None]) + 0.5 * (outside[None, :] == inside[:, None])
    value = above.mean()
    variance = above.mean(axis=1).var(ddof=1) / 40 + above.mean(axis=0).var(ddof=1) / 50
    effective = effective_items(float(value), float(np.sqrt(variance)), 40)
    found = auroc_interval(inside, outside)
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx(wilson_ends(float(value), effective))


@pytest.mark.parametrize("shift", [0.5, 2.0])
def test_the_intervals_hold_the_truth_as_often_as_they_say(shift: float) -> None:
    area, false = norm.cdf(shift / np.sqrt(2)), norm.cdf(norm.ppf(0.95) - shift)
    held = np.zeros(2)
    for seed in range(150):
        inside, outside = samples(80, 80, shift, seed)
        for i, (found, truth) in enumerate(
            [(auroc_interval(inside, outside), area), (fpr_interval(inside, outside), false)]
        ):
            held[i] += found.low <= truth <= found.high
    assert np.all(held / 150 > 0.9)


def test_what_is_told_apart_always_or_never_keeps_an_interval_and_is_warned_of() -> None:
    inside, outside = samples(100, 60, 50.0)
    area, false = auroc_interval(inside, outside), fpr_interval(inside, outside)
    assert (area.value, false.value) == (1.0, 0.0)
    assert area.low < 0.97
    assert false.high > 0.03
    assert area.warning
    assert false.warning
    assert "few" in (auroc_interval(inside[:9], outside).warning or "")
    with pytest.raises(ShapeError):
        auroc_interval(inside[:0], outside)


def test_the_values_are_those_of_the_plain_functions() -> None:
    inside, outside = samples(70, 90, 1.0)
    assert auroc_interval(inside, outside).value == ood_auroc(inside, outside)
    assert fpr_interval(inside, outside).value == fpr_at_tpr(inside, outside)


def wrongs(share: float, n: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        name: (random.random((3, n)) < share * np.array([[1.0], [1.5], [2.0]])).astype(float)
        for name in ("fog", "jpeg", "snow")
    }


def test_the_mean_corruption_error_is_that_of_the_shares_of_errors() -> None:
    ours, theirs = wrongs(0.1, 200, 0), wrongs(0.2, 200, 1)
    clean, clean_theirs = np.zeros(200), np.repeat([1.0, 0.0], 100) * 0.1
    mce, relative = corruption_error_intervals(
        ours, theirs, clean=clean, clean_reference=clean_theirs
    )
    plain = corruption_errors(
        {k: list(v.mean(axis=1)) for k, v in ours.items()},
        {k: list(v.mean(axis=1)) for k, v in theirs.items()},
        clean=0.0,
        clean_reference=0.05,
    )
    assert mce.value == pytest.approx(plain.mean)
    assert relative is not None
    assert relative.value == pytest.approx(plain.relative)
    assert mce.low < 0.5 < mce.high
    assert mce.high - mce.low < 0.3
    assert mce.warning is None


def test_a_classifier_against_itself_has_no_spread() -> None:
    ours = wrongs(0.2, 100, 0)
    mce, relative = corruption_error_intervals(
        ours, ours, clean=np.zeros(100), clean_reference=np.zeros(100)
    )
    assert (mce.low, mce.value, mce.high) == pytest.approx((1.0, 1.0, 1.0))
    assert relative is not None
    assert relative.low == pytest.approx(1.0)


def test_a_reference_that_loses_nothing_has_no_relative_error() -> None:
    ours, theirs = wrongs(0.2, 60, 0), wrongs(0.05, 60, 1)
    mce, relative = corruption_error_intervals(
        ours, theirs, clean=np.zeros(60), clean_reference=np.full(60, 0.9)
    )
    assert relative is None
    assert "hardly errs" in (mce.warning or "")
