from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, cosine
from scipy.stats import t as student

from made_features import rotation
from regraft.errors import ShapeError
from regraft.measure.shift import (
    cosine_drift,
    mmd2_paired,
    mmd2_paired_test,
    paired_shift,
)
from regraft.measure.similarity import cka_linear

Rows = NDArray[np.float64]


def moved(seed: int, *, n: int = 12, d: int = 4, size: float = 0.5) -> tuple[Rows, Rows]:
    """Return features of the same items before and after a move that is in part common."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, d))
    return x, x + size * (0.5 + random.normal(size=(n, d)))


def pair_terms(x: Rows, y: Rows) -> Rows:
    """Return h_ij of the U-statistic pair by pair, in units and widths of all the items."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    x, y = (x - mean) / deviation, (y - mean) / deviation
    pooled = np.concatenate([x, y])
    squares = cdist(pooled, pooled, "sqeuclidean")
    median2 = np.median(squares[np.triu_indices(len(pooled), 1)])

    def k(a: Rows, b: Rows) -> float:
        square = ((a - b) ** 2).sum()
        return float(np.mean([np.exp(-square / (2 * w**2 * median2)) for w in (0.5, 1.0, 2.0)]))

    n = len(x)
    terms = np.zeros((n, n))
    for i, j in product(range(n), repeat=2):
        if i != j:
            terms[i, j] = k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(y[i], x[j])
    return terms


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_interval_is_the_jackknifes_with_each_item_left_out_in_turn(seed: int) -> None:
    x, y = moved(seed)
    terms, n = pair_terms(x, y), len(x)
    without = []
    for i in range(n):
        rest = np.delete(np.delete(terms, i, axis=0), i, axis=1)
        without.append(rest.sum() / ((n - 1) * (n - 2)))
    spread = np.sqrt((n - 1) / n * ((np.array(without) - np.mean(without)) ** 2).sum())
    half = student.ppf(0.975, n - 1) * spread
    found = paired_shift(x, y, permutations=50, seed=3)
    assert found.mmd2 == pytest.approx(terms.sum() / (n * (n - 1)), abs=1e-10)
    assert (found.low, found.high) == pytest.approx(
        (found.mmd2 - half, found.mmd2 + half), abs=1e-10
    )
    assert found.n == n
    assert found.mmd2 == pytest.approx(mmd2_paired(x, y), abs=1e-15)
    assert found.p == mmd2_paired_test(x, y, permutations=50, seed=3)


def test_the_p_comes_near_that_over_all_swaps_within_pairs() -> None:
    x, y = moved(4, n=9, size=0.6)
    terms = pair_terms(x, y)
    drawn = [np.array(signs) @ terms @ np.array(signs) for signs in product((-1, 1), repeat=9)]
    known = float(np.mean(np.array(drawn) >= terms.sum() - 1e-9))
    assert 0.02 < known < 0.5
    found = paired_shift(x, y, permutations=4000).p
    assert found == pytest.approx(known, abs=4 * np.sqrt(known * (1 - known) / 4000))


def test_the_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    large = np.random.default_rng(99)
    x = large.normal(size=(1200, 3))
    truth = mmd2_paired(x, x + 0.4 + 0.3 * large.normal(size=x.shape))
    held = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        x = random.normal(size=(60, 3))
        found = paired_shift(x, x + 0.4 + 0.3 * random.normal(size=x.shape), permutations=1)
        held += found.low <= truth <= found.high
    assert 88 <= held <= 100


def test_no_change_is_no_shift_and_a_diverged_run_has_none() -> None:
    x, y = moved(0)
    same = paired_shift(x, x.copy())
    assert (same.mmd2, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    for diverged in (np.inf, -np.inf, np.nan):
        y[2, 1] = diverged
        lost = paired_shift(x, y)
        assert np.isnan([lost.mmd2, lost.low, lost.high, lost.p]).all()
        assert np.isnan([mmd2_paired(x, y), mmd2_paired_test(x, y), cka_linear(x, y)]).all()
        assert np.flatnonzero(np.isnan(cosine_drift(x, y))).tolist() == [2]
    with pytest.raises(ShapeError, match="n ≥ 3"):
        paired_shift(x[:2], y[:2])


@settings(max_examples=25)
@given(st.integers(0, 500))
def test_shift_and_interval_ignore_order_origin_and_units(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = moved(seed)
    order, units, offset = (
        random.permutation(12),
        random.uniform(0.2, 5.0, 4),
        random.normal(size=4),
    )
    known = paired_shift(x, y, permutations=1)
    other = paired_shift(x[order] * units + offset, y[order] * units + offset, permutations=1)
    assert (other.mmd2, other.low, other.high) == pytest.approx(
        (known.mmd2, known.low, known.high), abs=1e-9
    )


@given(st.integers(0, 500))
def test_a_rotation_of_the_new_features_alone_is_a_shift_that_cka_does_not_see(seed: int) -> None:
    x, _ = moved(seed, n=40)
    turn = rotation(seed, 4)
    turn[:, 0] *= -1 if np.trace(turn) > 0 else 1  # away from the identity
    assert mmd2_paired(x + 2.0, (x + 2.0) @ turn) > 0.05
    assert cka_linear(x, x @ turn) == pytest.approx(1.0)


def test_the_larger_the_move_the_larger_is_each_measure_of_it() -> None:
    x, _ = moved(0, n=80, d=6)
    step = np.random.default_rng(1).normal(size=x.shape) + 0.5
    sizes = (0.0, 0.1, 0.3, 0.6, 1.2, 2.4)
    for measure in (
        mmd2_paired,
        lambda a, b: float(cosine_drift(a, b).mean()),
        lambda a, b: 1.0 - cka_linear(a, b),
    ):
        found = [measure(x, x + size * step) for size in sizes]
        assert found[0] == pytest.approx(0.0, abs=1e-12)
        assert found == sorted(found)


# cosine drift


def test_known_angles_have_their_drift() -> None:
    x = np.array([[1.0, 0.0]] * 5)
    y = np.array([[2.0, 0.0], [1.0, np.sqrt(3.0)], [0.0, 4.0], [-1.0, 1.0], [-3.0, 0.0]])
    known = [0.0, 0.5, 1.0, 1.0 + np.sqrt(0.5), 2.0]
    np.testing.assert_allclose(cosine_drift(x, y), known, atol=1e-15)


def test_an_item_that_did_not_move_drifts_exactly_not_at_all_and_nothing_has_no_angle() -> None:
    x = np.array([[0.1, 0.2, 0.3], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    y = np.array([[0.1, 0.2, 0.3], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    found = cosine_drift(x.astype(np.float32), y.astype(np.float32))
    assert found[:2].tolist() == [0.0, 0.0]
    assert np.isnan(found[2:]).all()
    with pytest.raises(ShapeError, match=r"before \(4, 3\) and after \(3, 3\)"):
        cosine_drift(x, y[1:])


@given(st.integers(0, 1000))
def test_the_drift_is_scipys_and_ignores_rotation_scale_and_sides_and_keeps_the_order(
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    x, y = moved(seed)
    known = cosine_drift(x, y)
    np.testing.assert_allclose(known, [cosine(a, b) for a, b in zip(x, y, strict=True)], atol=1e-12)
    turn, order = rotation(seed, 4), random.permutation(12)
    np.testing.assert_allclose(cosine_drift(x @ turn, y @ turn), known, atol=1e-12)
    lengths = random.uniform(0.1, 10.0, size=(2, 12, 1))
    np.testing.assert_allclose(cosine_drift(lengths[0] * x, lengths[1] * y), known, atol=1e-12)
    np.testing.assert_allclose(cosine_drift(y, x), known, atol=1e-12)
    np.testing.assert_array_equal(cosine_drift(x[order], y[order]), known[order])
