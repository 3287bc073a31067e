from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from regraft.errors import ShapeError
from regraft.measure.calibration import ece, fit_temperature
from regraft.measure.calibration_errors import (
    ace,
    brier,
    classwise_ece,
    ece_debiased,
    ece_equal_mass,
    equal_mass_index,
)
from regraft.measure.metrics import score, softmax
from regraft.measure.scaling import fit_vector_scaling
from regraft.measure.selective import risk_coverage

ERRORS = [ece_equal_mass, ece_debiased, ace, classwise_ece, brier]


def calibrated(
    seed: int, n: int, *, n_classes: int = 3, temperature: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return logits and labels drawn from softmax(logits / temperature)."""
    random = np.random.default_rng(seed)
    logits = 2.0 * random.normal(size=(n, n_classes))
    shares = softmax(logits / temperature).cumsum(axis=1)
    labels = (random.uniform(size=(n, 1)) > shares).sum(axis=1).clip(max=n_classes - 1)
    return logits, labels


@pytest.mark.parametrize("error", [ece_equal_mass, ece_debiased])
def test_a_constant_confidence_has_the_known_error(error: object) -> None:
    p, labels = np.full((100, 2), [0.8, 0.2]), np.array([0] * 60 + [1] * 40)
    assert callable(error)
    bias = 0.6 * 0.4 / 99 if error is ece_debiased else 0.0
    assert error(p, labels) == pytest.approx(np.sqrt(0.2**2 - bias), abs=1e-12)


def test_the_class_errors_of_a_constant_confidence_are_those_of_both_classes() -> None:
    p, labels = np.full((10, 2), [0.8, 0.2]), np.array([0] * 6 + [1] * 4)
    assert ace(p, labels) == pytest.approx(0.2)
    assert classwise_ece(p, labels) == pytest.approx(0.2)


def test_ece_of_calibrated_items_is_biased_as_known_and_debiasing_mends_it() -> None:
    """Binary confidence uniform in [.5, 1], 20,000 items: .0059 at 15 bins, though truly 0."""
    plain, debiased = [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        confidence = random.uniform(0.5, 1.0, 20_000)
        p = np.stack([confidence, 1 - confidence], axis=1)
        labels = (random.uniform(size=20_000) > confidence).astype(int)
        plain.append(ece(p, labels))
        debiased.append(ece_debiased(p, labels) ** 2)
    assert 0.005 < np.mean(plain) < 0.0075
    assert np.mean(debiased) < np.mean(plain) ** 2 / 2


def test_the_debiased_square_is_unbiased_where_it_is_not_clipped() -> None:
    """True gap 0.1 in one bin of 10 items: the plain square is too large by .6 · .4 / 10."""
    random = np.random.default_rng(0)
    squares, plain = [], []
    for right in random.binomial(10, 0.6, 4000):
        gap = (right / 10 - 0.7) ** 2
        plain.append(gap)
        squares.append(gap - right / 10 * (1 - right / 10) / 9)
    assert np.mean(squares) == pytest.approx(0.01, abs=0.002)
    assert np.mean(plain) == pytest.approx(0.034, abs=0.002)
    one = np.full((10, 2), [0.7, 0.3])
    labels = np.array([0] * 3 + [1] * 7)
    assert ece_debiased(one, labels) ** 2 == pytest.approx(0.16 - 0.21 / 9)


def test_equal_mass_bins_hold_the_same_number_and_never_part_equals() -> None:
    random = np.random.default_rng(1)
    assert set(np.bincount(equal_mass_index(random.random(300), 15))) == {20}
    tied = np.array([0.1, 0.5, 0.5, 0.5, 0.5, 0.9])
    index = equal_mass_index(tied, 3)
    assert len(set(index[1:5])) == 1
    np.testing.assert_array_equal(index[[0, 5]], [0, 2])


def test_equal_mass_error_equals_the_one_of_sklearns_quantile_bins() -> None:
    logits, labels = calibrated(3, 600, n_classes=2, temperature=2.0)
    p = softmax(logits)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
    accuracy, mean = calibration_curve(right, confidence, n_bins=10, strategy="quantile")
    assert ece_equal_mass(p, labels, bins=10) == pytest.approx(
        np.abs(accuracy - mean).mean(), abs=1e-9
    )


def test_class_errors_equal_those_counted_class_by_class() -> None:
    logits, labels = calibrated(4, 300, temperature=2.0)
    p = softmax(logits)
    slow, wide = 0.0, 0.0
    for c in range(3):
        for rows in np.array_split(np.argsort(p[:, c]), 15):
            slow += abs((labels[rows] == c).mean() - p[rows, c].mean()) / 45
        for b in range(15):
            rows = np.flatnonzero((p[:, c] * 15).astype(int) == b)
            if len(rows):
                wide += len(rows) / 900 * abs((labels[rows] == c).mean() - p[rows, c].mean())
    assert ace(p, labels) == pytest.approx(slow, abs=1e-12)
    assert classwise_ece(p, labels) == pytest.approx(wide, abs=1e-12)


def test_the_brier_score_has_its_known_values_and_sklearns() -> None:
    assert brier(np.full((7, 10), 0.1), np.arange(7)) == pytest.approx(0.9)
    assert brier(np.eye(3), np.array([1, 2, 0])) == 2.0
    logits, labels = calibrated(5, 80)
    p = softmax(logits)
    assert brier(p, labels) == pytest.approx(brier_score_loss(labels, p, scale_by_half=False))
    assert brier(p, labels) == pytest.approx(score("brier", p, labels))


@given(st.integers(0, 10_000), st.booleans())
def test_errors_do_not_depend_on_the_order_of_items_or_classes(seed: int, coarse: bool) -> None:
    logits, labels = calibrated(seed, 40)
    p = np.round(softmax(logits), 1) if coarse else softmax(logits)
    random = np.random.default_rng(seed)
    rows, columns = random.permutation(40), random.permutation(3)
    renamed = np.argsort(columns)[labels]
    for error in ERRORS:
        assert error(p[rows], labels[rows]) == pytest.approx(error(p, labels), abs=1e-12)
    if not coarse:  # a rounded tie of two classes is decided by their order
        for error in ERRORS:
            assert error(p[:, columns], renamed) == pytest.approx(error(p, labels), abs=1e-12)


def test_what_does_not_fit_is_refused() -> None:
    p = np.full((3, 2), 0.5)
    with pytest.raises(ShapeError, match=r"\(3, 2\) and labels \(2,\) do not fit"):
        ace(p, np.zeros(2, int))
    with pytest.raises(ShapeError, match="labels reach from 0 to 2, classes from 0 to 1"):
        brier(p, np.array([0, 1, 2]))
    with pytest.raises(ShapeError, match="0 bins"):
        ece_equal_mass(p, np.zeros(3, int), bins=0)
    assert np.isnan(ece_debiased(np.array([[0.6, 0.4]]), np.array([0])))


@pytest.mark.parametrize("seed", [0, 1])
def test_vector_scaling_finds_the_factors_that_made_the_labels(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = 2.0 * random.normal(size=(20_000, 3))
    scale, offset = np.array([0.5, 1.0, 1.5]), np.array([-0.5, 0.0, 0.5])
    _, labels = calibrated(seed, 1)
    shares = softmax(logits * scale + offset).cumsum(axis=1)
    labels = (random.uniform(size=(20_000, 1)) > shares).sum(axis=1).clip(max=2)
    found = fit_vector_scaling(logits, labels)
    np.testing.assert_allclose(found.scale, scale, atol=0.06)
    np.testing.assert_allclose(found.offset, offset, atol=0.06)
    assert found.offset.sum() == pytest.approx(0.0, abs=1e-12)


@given(st.integers(0, 500), st.sampled_from([0.01, 1.0, 100.0]))
def test_vector_scaling_is_never_worse_than_a_temperature(seed: int, k: float) -> None:
    random = np.random.default_rng(seed)
    logits, labels = k * random.normal(size=(30, 4)), random.integers(0, 4, 30)
    heated = score("log_loss", softmax(logits / fit_temperature(logits, labels)), labels)
    scaled = score("log_loss", softmax(fit_vector_scaling(logits, labels).apply(logits)), labels)
    assert scaled <= heated + 1e-9


def test_vector_scaling_ends_at_a_stationary_point() -> None:
    logits, labels = calibrated(8, 400, temperature=3.0)
    found = fit_vector_scaling(logits, labels)
    excess = softmax(found.apply(logits)) - np.eye(3)[labels]
    np.testing.assert_allclose((excess * logits).mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(excess.mean(axis=0), 0.0, atol=1e-5)


def test_the_risk_curve_of_a_worked_case() -> None:
    curve = risk_coverage(np.array([0.9, 0.4, 0.8, 0.6]), np.array([False, True, True, False]))
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(curve.risk, [0.0, 1 / 2, 1 / 3, 1 / 2])
    assert curve.aurc == pytest.approx(1 / 3)
    assert curve.excess == pytest.approx(1 / 3 - (1 / 3 + 1 / 2) / 4)
    assert [curve.risk_at(c) for c in (0.25, 0.3, 1.0)] == pytest.approx([0.0, 0.5, 0.5])


def test_ties_count_as_the_mean_over_their_orders() -> None:
    wrong = np.array([True, False, False, True, False])
    tied = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    random = np.random.default_rng(0)
    drawn = [risk_coverage(tied + 1e-6 * random.random(5), wrong).risk for _ in range(4000)]
    np.testing.assert_allclose(risk_coverage(tied, wrong).risk, np.mean(drawn, axis=0), atol=0.02)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=20))
def test_the_full_risk_is_the_error_and_the_excess_is_never_negative(
    items: list[tuple[int, bool]],
) -> None:
    confidence = np.array([float(c) for c, _ in items])
    wrong = np.array([w for _, w in items])
    curve = risk_coverage(confidence, wrong)
    assert curve.risk[-1] == pytest.approx(wrong.mean())
    assert curve.excess >= 0.0
    best = risk_coverage(-wrong.astype(float), wrong)
    assert best.excess == pytest.approx(0.0, abs=1e-12)
    assert risk_coverage(np.exp(confidence), wrong).aurc == pytest.approx(curve.aurc)


def test_a_risk_curve_needs_items_and_a_share() -> None:
    with pytest.raises(ShapeError, match="risk_coverage"):
        risk_coverage(np.empty(0), np.empty(0, bool))
    with pytest.raises(ShapeError, match="coverage 0 is no share"):
        risk_coverage(np.array([1.0]), np.array([True])).risk_at(0)
