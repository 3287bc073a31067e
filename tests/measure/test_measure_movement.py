from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from regraft.errors import ShapeError
from regraft.measure.convergence import convergence_seconds, convergence_step
from regraft.measure.shift import mmd2_paired, mmd2_paired_test
from regraft.measure.similarity import cka_linear


def features(seed: int, *, n: int = 40, width: int = 6) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, width))


def slow_mmd2(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Return the paired U-statistic pair by pair."""
    mean, scale = before.mean(axis=0), before.std(axis=0)
    x, y = (before - mean) / scale, (after - mean) / scale
    pooled = np.concatenate([x, y])
    distances = cdist(pooled, pooled)[np.triu_indices(len(pooled), 1)]
    # Of an even number of distances the median of squares is the mean of the middle two's squares.
    median = np.sqrt(np.median(distances**2))

    def kernel(u: NDArray[np.float64], v: NDArray[np.float64]) -> float:
        squared = ((u - v) ** 2).sum()
        return float(np.mean([np.exp(-squared / (2 * (w * median) ** 2)) for w in (0.5, 1.0, 2.0)]))

    n = len(x)
    total = sum(
        kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(y[i], x[j])
        for i in range(n)
        for j in range(n)
        if i != j
    )
    return total / (n * (n - 1))


def slow_hsic(k: NDArray[np.float64], m: NDArray[np.float64]) -> float:
    """Return the unbiased HSIC by its definition over distinct indices (Song et al. 2012)."""
    n = len(k)
    every = range(n)
    two = sum(k[i, j] * m[i, j] for i in every for j in every if i != j)
    four = three = 0.0
    for i in every:
        for j in every:
            for q in every:
                if len({i, j, q}) == 3:
                    three += k[i, j] * m[i, q]
                    four += sum(k[i, j] * m[q, r] for r in every if r not in (i, j, q))
    pairs, triples = n * (n - 1), n * (n - 1) * (n - 2)
    return two / pairs + four / (triples * (n - 3)) - 2 * three / triples


def test_no_change_is_exactly_no_shift() -> None:
    x = features(0).astype(np.float32)
    assert mmd2_paired(x, x.copy()) == 0.0
    assert mmd2_paired_test(x, x.copy()) == 1.0


@pytest.mark.parametrize("seed", [0, 1])
def test_the_shift_equals_the_slow_sum(seed: int) -> None:
    x = features(seed, n=14)
    y = x + 0.7 * features(seed + 10, n=14)
    assert mmd2_paired(x, y) == pytest.approx(slow_mmd2(x, y), abs=1e-10)


def test_a_larger_move_is_a_larger_shift() -> None:
    x, step = features(0, n=100), features(1, n=100)
    shifts = [mmd2_paired(x, x + size * (1 + 0.1 * step)) for size in (0.0, 0.25, 0.5, 1.0, 2.0)]
    assert shifts == sorted(shifts)
    assert shifts[0] == 0.0
    assert shifts[-1] > 0.1


@given(st.integers(0, 500))
def test_the_shift_ignores_order_origin_and_units(seed: int) -> None:
    random = np.random.default_rng(seed)
    x = features(seed, n=12)
    y = x + features(seed + 1, n=12)
    order = random.permutation(12)
    scale, offset = random.uniform(0.5, 4.0, size=6), random.normal(size=6)
    known = mmd2_paired(x, y)
    assert mmd2_paired(x[order], y[order]) == pytest.approx(known, abs=1e-9)
    assert mmd2_paired(scale * x + offset, scale * y + offset) == pytest.approx(known, abs=1e-9)


def test_features_that_never_vary_do_no_harm() -> None:
    x = np.concatenate([features(0), np.ones((40, 1))], axis=1)
    assert np.isfinite(mmd2_paired(x, x + 0.1))


def test_a_common_move_is_significant_and_a_swap_within_pairs_is_not() -> None:
    x = features(0, n=80)
    assert mmd2_paired_test(x, x + 1.0, permutations=199, seed=0) == 1 / 200
    y = x + 0.5 * features(1, n=80)
    swapped = np.random.default_rng(2).uniform(size=(80, 1)) < 0.5
    first, second = np.where(swapped, x, y), np.where(swapped, y, x)
    assert mmd2_paired_test(first, second, permutations=199, seed=0) > 0.05


def test_under_the_null_p_is_uniform() -> None:
    values = []
    for trial in range(150):
        x, y = features(2 * trial, n=16, width=3), features(2 * trial + 1, n=16, width=3)
        values.append(mmd2_paired_test(x, y, permutations=99, seed=trial))
    assert 0.0 <= np.mean(np.array(values) <= 0.1) <= 0.18
    assert 0.4 <= np.mean(values) <= 0.6


def test_the_permutation_test_is_repeatable() -> None:
    x, y = features(0), features(0) + 0.1 * features(1)
    assert mmd2_paired_test(x, y, seed=3) == mmd2_paired_test(x, y, seed=3)


def test_what_a_diverged_run_leaves_behind_has_no_movement() -> None:
    x, y = features(0), features(1)
    y[3, 2] = np.nan
    assert np.isnan([mmd2_paired(x, y), mmd2_paired_test(x, y), cka_linear(x, y)]).all()


def test_shift_needs_pairs() -> None:
    with pytest.raises(ShapeError, match=r"before \(40, 6\) and after \(39, 6\)"):
        mmd2_paired(features(0), features(0)[1:])
    with pytest.raises(ShapeError, match="n ≥ 2"):
        mmd2_paired_test(features(0, n=1), features(0, n=1))


def test_cka_of_a_rotation_and_scaling_is_one() -> None:
    x = features(0, n=50, width=5)
    rotation, _ = np.linalg.qr(features(1, n=5, width=5))
    assert cka_linear(x, x) == pytest.approx(1.0)
    assert cka_linear(x, 3 * x @ rotation + 2) == pytest.approx(1.0)


def test_cka_of_independent_features_is_about_zero_where_the_biased_one_is_not() -> None:
    pairs = [
        (features(2 * i, n=20, width=16), features(2 * i + 1, n=20, width=16)) for i in range(200)
    ]
    assert np.mean([cka_linear(x, y) for x, y in pairs]) == pytest.approx(0.0, abs=0.02)


def test_cka_equals_its_definition() -> None:
    x, y = features(0, n=7, width=3), features(0, n=7, width=3) + features(1, n=7, width=3)
    grams = [(z - z.mean(axis=0)) @ (z - z.mean(axis=0)).T for z in (x, y)]
    known = slow_hsic(grams[0], grams[1]) / np.sqrt(
        slow_hsic(grams[0], grams[0]) * slow_hsic(grams[1], grams[1])
    )
    assert cka_linear(x, y) == pytest.approx(known, abs=1e-10)


def test_cka_is_symmetric_and_needs_no_equal_widths() -> None:
    x, y = features(0, n=30, width=4), features(0, n=30, width=4) @ features(1, n=4, width=9)
    assert cka_linear(x, y) == pytest.approx(cka_linear(y, x))


def test_cka_without_variance_is_undefined() -> None:
    assert np.isnan(cka_linear(np.ones((10, 2)), features(0, n=10)))
    with pytest.raises(ShapeError, match="n ≥ 4"):
        cka_linear(features(0, n=3), features(1, n=3))


def test_convergence_is_the_first_evaluation_within_five_percent_of_the_gain() -> None:
    assert convergence_step([1, 2, 3, 4], [0.0, 0.94, 0.95, 1.0]) == 3
    assert convergence_step([5, 6, 7], [2.0, 1.06, 1.0], higher_is_better=False) == 7
    assert convergence_seconds([0.5, 1.5, 2.5], [2.0, 1.05, 1.0], higher_is_better=False) == 1.5


def test_convergence_without_gain_is_at_once_and_without_values_never() -> None:
    assert convergence_step([10, 20], [0.7, 0.6]) == 10
    assert convergence_step([], []) is None
    assert convergence_seconds([], []) is None


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=10), st.floats(0.1, 9), st.floats(-3, 3))
def test_convergence_ignores_units_of_the_metric(
    values: list[float], scale: float, offset: float
) -> None:
    values = [round(v, 2) for v in values]
    steps = list(range(len(values)))
    moved = [scale * v + offset for v in values]
    first = convergence_step(steps, values)
    second = convergence_step(steps, moved)
    assert first is not None
    assert second is not None
    threshold = values[0] + 0.95 * (max(values) - values[0])
    assert first == second or abs(values[min(first, second)] - threshold) < 1e-9


def test_convergence_needs_as_many_steps_as_values() -> None:
    with pytest.raises(ShapeError, match="2 steps and 1 values"):
        convergence_step([1, 2], [0.5])
    with pytest.raises(ShapeError, match="0 times and 1 values"):
        convergence_seconds([], [0.5])
