from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regraft.errors import ShapeError
from regraft.measure.calibration import ece, fit_temperature, reliability_bins
from regraft.measure.metrics import score, softmax


def drawn(
    seed: int, *, n: int, temperature: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return logits (n, 3) and labels drawn from softmax(logits / temperature)."""
    random = np.random.default_rng(seed)
    logits = 2.0 * random.normal(size=(n, 3))
    shares = softmax(logits / temperature).cumsum(axis=1)
    return logits, (random.uniform(size=(n, 1)) > shares).sum(axis=1).clip(max=2)


def slow_ece(p: NDArray[np.float64], y: NDArray[np.int64], bins: int) -> float:
    """Return the expected calibration error item by item."""
    total = 0.0
    for b in range(bins):
        rows = [
            i
            for i in range(len(y))
            if b / bins <= p[i].max() < (b + 1) / bins or (b == bins - 1 and p[i].max() == 1.0)
        ]
        if rows:
            accuracy = np.mean([p[i].argmax() == y[i] for i in rows])
            total += len(rows) / len(y) * abs(accuracy - np.mean([p[i].max() for i in rows]))
    return float(total)


def test_a_constant_confidence_has_the_known_error() -> None:
    p = np.full((10, 2), [0.8, 0.2])
    assert ece(p, np.array([0] * 6 + [1] * 4)) == pytest.approx(0.2)


def test_calibrated_probabilities_of_many_items_have_a_small_error_that_is_not_zero() -> None:
    logits, labels = drawn(0, n=20_000, temperature=1.0)
    assert 0.0005 < ece(softmax(logits), labels) < 0.012


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_the_error_equals_the_slow_one(bins: int) -> None:
    logits, labels = drawn(1, n=200, temperature=2.0)
    p = softmax(logits)
    assert ece(p, labels, bins=bins) == pytest.approx(slow_ece(p, labels, bins), abs=1e-12)
    if bins == 15:
        assert score("ece", p, labels) == pytest.approx(ece(p, labels), abs=1e-12)


def test_certainty_falls_into_the_last_bin_and_empty_bins_say_so() -> None:
    bins = reliability_bins(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
    assert [b.n for b in bins] == [0] * 14 + [2]
    assert (bins[14].confidence, bins[14].accuracy, bins[14].high) == (1.0, 0.5, 1.0)
    assert bins[0].confidence is None
    assert bins[0].accuracy is None


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    logits, labels = drawn(2, n=20_000, temperature=temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


@given(st.integers(0, 1000), st.floats(0.1, 10.0))
def test_logits_times_k_have_k_times_the_temperature(seed: int, k: float) -> None:
    logits, labels = drawn(seed, n=60, temperature=1.5)
    assert fit_temperature(k * logits, labels) == pytest.approx(
        k * fit_temperature(logits, labels), rel=1e-4
    )


@given(st.integers(0, 1000))
def test_the_temperature_never_raises_the_log_loss_nor_changes_a_decision(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits, labels = 5 * random.normal(size=(30, 4)), random.integers(0, 4, 30)
    temperature = fit_temperature(logits, labels)
    before, after = softmax(logits), softmax(logits / temperature)
    assert score("log_loss", after, labels) <= score("log_loss", before, labels) + 1e-9
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))


def test_separable_logits_keep_the_temperature_in_its_range() -> None:
    logits = np.array([[3.0, -3.0], [-3.0, 3.0]])
    assert 1e-3 <= fit_temperature(logits, np.array([0, 1])) < 1.0


def test_a_temperature_needs_items() -> None:
    with pytest.raises(ShapeError, match=r"0 rows of logits and 0 labels"):
        fit_temperature(np.empty((0, 3)), np.empty(0, np.int64))
    with pytest.raises(ShapeError, match=r"2 rows of logits and 3 labels"):
        fit_temperature(np.zeros((2, 3)), np.zeros(3, np.int64))
