from __future__ import annotations

import tracemalloc
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist

from regraft.errors import ConfigError, DataError, ShapeError
from regraft.measure import kernels, random_features
from regraft.measure.kernels import median_bandwidth
from regraft.measure.mmd import (
    mmd2,
    mmd2_block,
    mmd2_block_test,
    mmd2_linear,
    mmd2_linear_test,
    mmd2_test,
)
from regraft.measure.random_features import mmd2_rff

if TYPE_CHECKING:
    from pathlib import Path

Rows = NDArray[np.float64]


def normal(seed: int, n: int, d: int = 5, *, shift: float = 0.0) -> Rows:
    """Rows of N(μ, I) with ‖μ‖ = shift."""
    return np.random.default_rng(seed).normal(size=(n, d)) + shift / np.sqrt(d)


def population_mmd2(d: int, sigma: float, shift: float) -> float:
    """MMD² of N(0, I_d) and N(μ, I_d) in closed form (methods.md E)."""
    width = sigma**2 + 2
    return 2 * (sigma**2 / width) ** (d / 2) * (1 - np.exp(-(shift**2) / (2 * width)))


def slow_mmd2(x: Rows, y: Rows, widths: tuple[float, ...], *, unbiased: bool) -> float:
    def k(a: Rows, b: Rows) -> float:
        return float(np.mean([np.exp(-((a - b) ** 2).sum() / (2 * w**2)) for w in widths]))

    def within(z: Rows) -> float:
        pairs = [(i, j) for i, j in product(range(len(z)), repeat=2) if i != j or not unbiased]
        return float(np.mean([k(z[i], z[j]) for i, j in pairs]))

    return within(x) + within(y) - 2 * float(np.mean([k(a, b) for a in x for b in y]))


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("bandwidth", [1.7, (0.5, 1.0, 2.0), (1.1, 0.6, 2.9)])
def test_mmd_equals_the_sum_over_pairs(unbiased: bool, bandwidth: float | tuple[float]) -> None:
    x, y = normal(0, 11), normal(1, 7, shift=1.3)
    known = slow_mmd2(x, y, tuple(np.atleast_1d(bandwidth)), unbiased=unbiased)
    assert mmd2(x, y, bandwidth=bandwidth, unbiased=unbiased) == pytest.approx(known, abs=1e-12)


def test_the_default_averages_three_widths_around_the_median_distance() -> None:
    x, y = normal(0, 12), normal(1, 9, shift=1.0)
    # 210 pairs, an even number: σ² is the mean of the middle two squares.
    sigma = float(np.sqrt(np.median(pdist(np.concatenate([x, y])) ** 2)))
    assert median_bandwidth(x, y) == pytest.approx(sigma, rel=1e-12)
    widths = (0.5 * sigma, sigma, 2 * sigma)
    assert mmd2(x, y) == pytest.approx(slow_mmd2(x, y, widths, unbiased=True), abs=1e-12)


def test_the_median_looks_at_five_hundred_rows_drawn_with_seed_zero() -> None:
    x, y = normal(0, 900), normal(1, 700, shift=3.0)
    pooled = np.concatenate([x, y])
    drawn = pooled[np.random.default_rng(0).choice(1600, 500, replace=False)]
    known = np.sqrt(np.median(pdist(drawn) ** 2))
    assert median_bandwidth(x, y) == pytest.approx(known, rel=1e-12)
    assert median_bandwidth(x, y) == pytest.approx(float(np.median(pdist(pooled))), rel=0.05)


def test_several_tiles_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(0, 61), normal(1, 40, shift=1.0)
    known = mmd2(x, y), mmd2(x, y, unbiased=False)
    monkeypatch.setattr(kernels, "_TILE_ROWS", 16)
    monkeypatch.setattr(kernels, "_CACHED_BYTES", 3 * 61 * 8)
    assert (mmd2(x, y), mmd2(x, y, unbiased=False)) == pytest.approx(known, abs=1e-13)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads_share_the_rows_and_change_nothing(
    threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = normal(0, 900), normal(1, 700, shift=1.0)
    known = mmd2(x, y), mmd2_rff(x, y, bandwidth=2.0)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr(kernels, "_CACHED_BYTES", 50_000)
    dealt = kernels.in_threads(list, [slice(i, i + 1) for i in range(7)])
    assert len(dealt) <= int(threads)
    assert sorted(one.start for share in dealt for one in share) == list(range(7))
    first = mmd2(x, y), mmd2_rff(x, y, bandwidth=2.0)
    assert first == pytest.approx(known, abs=1e-12)
    assert (mmd2(x, y), mmd2_rff(x, y, bandwidth=2.0)) == first


def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(ZeroDivisionError):
        kernels.in_threads(lambda mine: 1 // (3 - mine[-1].start), [slice(i, 9) for i in range(4)])


def test_the_closed_form_of_shifted_normals() -> None:
    known = population_mmd2(5, 1.7, 1.3)
    assert known == pytest.approx(0.085225, abs=5e-7)
    x, y = normal(0, 4000), normal(1, 4000, shift=1.3)
    assert mmd2(x, y, bandwidth=1.7) == pytest.approx(known, abs=0.006)
    x, y = normal(2, 60_000), normal(3, 60_000, shift=1.3)
    assert mmd2_block(x, y, bandwidth=1.7) == pytest.approx(known, abs=0.006)
    assert mmd2_linear(x, y, bandwidth=1.7) == pytest.approx(known, abs=0.012)


def test_without_a_difference_the_unbiased_mean_is_zero_and_the_biased_one_is_known() -> None:
    trials = [(normal(2 * i, 200), normal(2 * i + 1, 200)) for i in range(60)]
    unbiased = [mmd2(x, y, bandwidth=1.7) for x, y in trials]
    biased = [mmd2(x, y, bandwidth=1.7, unbiased=False) for x, y in trials]
    sigma2 = 1.7**2
    known = (1 - (sigma2 / (sigma2 + 2)) ** 2.5) * 2 / 200
    assert known == pytest.approx(0.00731, abs=5e-6)
    assert np.mean(unbiased) == pytest.approx(0.0, abs=4 * np.std(unbiased) / np.sqrt(60))
    assert np.mean(biased) == pytest.approx(known, abs=4 * np.std(biased) / np.sqrt(60))


def test_the_linear_kernel_compares_means() -> None:
    x, y = normal(0, 30), normal(1, 20, shift=2.0)
    known = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    assert mmd2(x, y, kernel="linear", unbiased=False) == pytest.approx(known, rel=1e-12)
    within = [((z @ z.T).sum() - (z**2).sum()) / (len(z) * (len(z) - 1)) for z in (x, y)]
    unbiased = sum(within) - 2 * (x @ y.T).mean()
    assert mmd2(x, y, kernel="linear") == pytest.approx(unbiased, abs=1e-12)


def test_single_precision_agrees_with_double() -> None:
    x, y = normal(0, 300, 64) + 20.0, normal(1, 300, 64, shift=1.0) + 20.0
    single = mmd2(x.astype(np.float32), y.astype(np.float32))
    assert single == pytest.approx(mmd2(x, y), abs=2e-6)


def test_large_numbers_are_finite_and_opposite_infinities_are_not() -> None:
    large = np.full((3, 4), 2e38, np.float32)
    np.testing.assert_array_equal(kernels.rows_of(large, "x"), large)
    large[1, 2], large[1, 3] = np.inf, -np.inf
    with pytest.raises(DataError, match="x, row 1: a feature is not finite"):
        kernels.rows_of(large, "x")


def test_tensors_are_taken() -> None:
    x, y = normal(0, 20), normal(1, 20, shift=1.0)
    assert mmd2(torch.from_numpy(x), torch.from_numpy(y)) == mmd2(x, y)


def test_equal_samples_have_no_distance() -> None:
    x = normal(0, 40)
    assert mmd2(x, x, unbiased=False) == pytest.approx(0.0, abs=1e-13)
    assert mmd2_linear(x, x) == 0.0
    assert mmd2_linear_test(x, x).p == 1.0


@settings(max_examples=40)
@given(st.integers(0, 500))
def test_mmd_ignores_rotation_units_order_and_sides(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = normal(seed, 15), normal(seed + 1, 10, shift=1.0)
    turn, _ = np.linalg.qr(random.normal(size=(5, 5)))
    scale, offset = random.uniform(0.1, 10.0), random.normal(size=5)
    known = mmd2(x, y)
    assert mmd2(y, x) == pytest.approx(known, abs=1e-12)
    assert mmd2(random.permutation(x), random.permutation(y)) == pytest.approx(known, abs=1e-12)
    moved = [scale * z @ turn + offset for z in (x, y)]
    assert mmd2(*moved) == pytest.approx(known, abs=1e-9)
    assert mmd2(x, y, unbiased=False) >= 0.0


def test_the_linear_time_statistic_equals_its_definition() -> None:
    x, y = normal(0, 9), normal(1, 8, shift=1.0)

    def k(a: Rows, b: Rows) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / (2 * 1.5**2)))

    terms = [
        k(x[i], x[i + 1]) + k(y[i], y[i + 1]) - k(x[i], y[i + 1]) - k(x[i + 1], y[i])
        for i in (0, 2, 4, 6)
    ]
    found = mmd2_linear_test(x, y, bandwidth=1.5)
    assert found.statistic == pytest.approx(np.mean(terms), abs=1e-12)
    assert (found.n, found.m) == (8, 8)
    assert mmd2_linear(x, y, bandwidth=1.5) == found.statistic


def test_blocks_are_the_full_statistic_of_each() -> None:
    x, y = normal(0, 50), normal(1, 47, shift=1.0)
    known = np.mean([mmd2(x[i : i + 6], y[i : i + 6], bandwidth=1.5) for i in range(0, 42, 6)])
    found = mmd2_block_test(x, y, bandwidth=1.5)
    assert found.statistic == pytest.approx(known, abs=1e-12)
    assert found.n == 42
    whole = [x[:20], y[:20]], [x[20:40], y[20:40]]
    assert mmd2_block(x[:40], y[:40], bandwidth=1.5, block=20) == pytest.approx(
        np.mean([mmd2(*one, bandwidth=1.5) for one in whole])
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_permuted_statistics_come_from_the_one_kernel_matrix(seed: int) -> None:
    x, y = normal(seed, 12), normal(seed + 5, 9, shift=1.2)
    found = mmd2_test(x, y, bandwidth=1.5, permutations=40, seed=seed)
    assert found.statistic == pytest.approx(mmd2(x, y, bandwidth=1.5), abs=1e-12)
    pooled, generator = np.concatenate([x, y]), np.random.default_rng(seed)
    as_large = 0
    for _ in range(40):
        first = generator.choice(21, 12, replace=False)
        second = np.setdiff1d(np.arange(21), first)
        as_large += mmd2(pooled[first], pooled[second], bandwidth=1.5) >= found.statistic - 1e-12
    assert found.p == (1 + as_large) / 41


def test_a_difference_is_found_and_counts_as_far_as_permutations_go() -> None:
    x, y = normal(0, 60), normal(1, 50, shift=2.0)
    assert mmd2_test(x, y, permutations=199).p == 1 / 200
    x, y = normal(0, 900), normal(1, 900, shift=2.0)
    assert mmd2_linear_test(x, y).p < 0.01
    assert mmd2_block_test(x, y).p < 1e-6


def test_under_one_law_p_is_uniform() -> None:
    found: dict[str, list[float]] = {"permuted": [], "linear": [], "block": []}
    for trial in range(100):
        x, y = normal(2 * trial, 30, 3), normal(2 * trial + 1, 24, 3)
        found["permuted"].append(mmd2_test(x, y, permutations=99, seed=trial).p)
        x, y = normal(2 * trial, 400, 3), normal(2 * trial + 1, 400, 3)
        found["linear"].append(mmd2_linear_test(x, y, bandwidth=1.5).p)
        found["block"].append(mmd2_block_test(x, y, bandwidth=1.5).p)
    for kind, values in found.items():
        assert 0.02 <= np.mean(np.array(values) <= 0.1) <= 0.19, kind
        assert 0.41 <= np.mean(values) <= 0.59, kind


def test_a_kernel_matrix_has_no_diagonal() -> None:
    x = normal(0, 30)
    scale, transform = kernels.gaussian([1.5, 3.0])
    factors = kernels.distance_factors(x, centre=x.mean(axis=0), scale=scale)
    squared = cdist(x, x, "sqeuclidean")
    known = (np.exp(-squared / 4.5) + np.exp(-squared / 18.0)) / 2 - np.eye(30)
    assert kernels.kernel_matrix(transform, factors) == pytest.approx(known, abs=1e-12)


def wide(seed: int, n: int, *, shift: float) -> NDArray[np.float32]:
    return normal(seed, n, 64, shift=shift).astype(np.float32)


def test_random_features_come_near_the_closed_form_and_the_full_sum() -> None:
    x, y = normal(0, 20_000), normal(1, 20_000, shift=1.3)
    found = mmd2_rff(x, y, bandwidth=1.7)
    assert found == pytest.approx(population_mmd2(5, 1.7, 1.3), abs=0.004)
    x, y = wide(0, 1000, shift=0.0), wide(1, 800, shift=2.0)
    for unbiased in (True, False):
        known = mmd2(x, y, bandwidth=(5.0, 10.0), unbiased=unbiased)
        assert known > 0.01
        found = mmd2_rff(x, y, bandwidth=(5.0, 10.0), unbiased=unbiased)
        assert found == pytest.approx(known, abs=1e-3)


def test_random_features_err_less_the_more_they_are_and_have_no_bias() -> None:
    x, y = wide(0, 200, shift=0.0), wide(1, 150, shift=3.0)
    known = mmd2(x, y, bandwidth=8.0)
    errors = {
        count: np.array(
            [
                mmd2_rff(x, y, bandwidth=8.0, frequencies=count, seed=seed) - known
                for seed in range(60)
            ]
        )
        for count in (16, 256)
    }
    spread = {count: float(values.std()) for count, values in errors.items()}
    assert spread[256] < 0.5 * spread[16]
    for count, values in errors.items():
        assert abs(values.mean()) < 4 * spread[count] / np.sqrt(60)


def test_chunks_give_what_the_array_gives_and_are_read_once() -> None:
    x, y = wide(0, 700, shift=0.0), wide(1, 500, shift=2.0)
    known = mmd2_rff(x, y, bandwidth=8.0)
    pieces = iter([x[:1], x[1:300], x[300:]])
    found = mmd2_rff(pieces, (one for one in np.split(y, 5)), bandwidth=8.0)
    assert found == pytest.approx(known, abs=1e-6)
    assert next(pieces, None) is None
    assert mmd2_rff(torch.from_numpy(x), y, bandwidth=8.0) == known
    # Of an iterable the median is that of the first rows, here nearly that of all.
    assert mmd2_rff([x, x[:0]], [y]) == pytest.approx(mmd2_rff(x, y), abs=1e-3)


def test_random_features_know_only_differences() -> None:
    x, y = wide(0, 300, shift=0.0), wide(1, 300, shift=2.0)
    known = mmd2_rff(x, y, bandwidth=8.0)
    assert mmd2_rff(x + 64.0, y + 64.0, bandwidth=8.0) == pytest.approx(known, abs=1e-5)
    assert mmd2_rff(x, x, bandwidth=8.0, unbiased=False) == pytest.approx(0.0, abs=1e-12)


def test_a_file_on_disk_is_read_piece_by_piece(tmp_path: Path) -> None:
    x, y = wide(0, 9000, shift=0.0), wide(1, 500, shift=2.0)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    known = mmd2_rff(x, y, frequencies=64)
    assert mmd2_rff(mapped, y, frequencies=64) == known


def test_memory_does_not_grow_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_features, "_CHUNK_ROWS", 200)
    chunk = wide(0, 500, shift=0.0)

    def peak(chunks: int) -> int:
        tracemalloc.start()
        mmd2_rff((chunk + 0.1 * i for i in range(chunks)), chunk, bandwidth=8.0, frequencies=64)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few = peak(4)
    assert few > 2 * 200 * 64 * 4
    assert peak(40) < 1.1 * few


def test_what_cannot_be_streamed_is_refused() -> None:
    x = wide(0, 20, shift=0.0)
    with pytest.raises(ShapeError, match="x has no chunks"):
        mmd2_rff(iter([]), x)
    with pytest.raises(ShapeError, match="y has 1 rows in all"):
        mmd2_rff(x, [x[:1]], bandwidth=1.0)
    with pytest.raises(ShapeError, match="a chunk of x has width 3, others 64"):
        mmd2_rff([x, x[:, :3]], x)
    with pytest.raises(ConfigError, match="frequencies is 0"):
        mmd2_rff(x, x, frequencies=0)
    with pytest.raises(DataError, match="y, row 0: a feature is not finite"):
        mmd2_rff(x, [x, np.full((2, 64), np.inf)])


def test_what_cannot_be_compared_is_refused() -> None:
    x = normal(0, 10)
    with pytest.raises(ShapeError, match=r"x \(10, 5\) and y \(10, 4\) differ in width"):
        mmd2(x, x[:, :4])
    with pytest.raises(ShapeError, match=r"y has the shape \(1, 5\)\. Give features \(n, d\)"):
        mmd2(x, x[:1])
    with pytest.raises(ShapeError, match="n ≥ 4"):
        mmd2_linear(x, x[:3])
    with pytest.raises(ShapeError, match="blocks of 6 rows fit less than twice into 10"):
        mmd2_block(x, x, block=6)
    with pytest.raises(ConfigError, match="a block of 1 rows has no pairs"):
        mmd2_block(x, x, block=1)
    with pytest.raises(ConfigError, match="must be one or more positive numbers"):
        mmd2(x, x, bandwidth=0.0)
    with pytest.raises(ConfigError, match="permutations is 0"):
        mmd2_test(x, x, permutations=0)
    with pytest.raises(ConfigError, match="kernel 'cosine' is neither"):
        mmd2(x, x, kernel="cosine")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"median distance is 0\. Give"):
        mmd2(np.ones((5, 2)), np.ones((5, 2)))
    with pytest.raises(DataError, match="y, row 3: a feature is not finite"):
        mmd2(x, np.where(np.arange(10)[:, None] == 3, np.nan, x))
