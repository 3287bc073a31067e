from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

from regraft.errors import ConfigError, DataError, ShapeError
from regraft.measure import kernels, similarity
from regraft.measure.similarity import cka, cka_linear, cka_minibatch

Rows = NDArray[np.float64]
Kernel = Literal["linear", "rbf"]


def features(seed: int, n: int, width: int) -> Rows:
    return np.random.default_rng(seed).normal(size=(n, width))


def related(seed: int, n: int, width: int, other: int) -> tuple[Rows, Rows]:
    x = features(seed, n, width)
    return x, x @ features(seed + 1, width, other) + 2.0 * features(seed + 2, n, other) + 5.0


def gram(x: Rows, kernel: Kernel, width: float = 1.0) -> Rows:
    if kernel == "linear":
        return x @ x.T
    distances = pdist(x)
    sigma2 = width**2 * np.median(distances**2)
    return np.exp(-(squareform(distances) ** 2) / (2 * sigma2))


def unbiased_hsic(k: Rows, m: Rows) -> float:
    """HSIC1 as methods.md E writes it."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    value = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return float(value - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def biased_hsic(k: Rows, m: Rows) -> float:
    centring = np.eye(len(k)) - 1 / len(k)
    return float(np.trace(k @ centring @ m @ centring)) / (len(k) - 1) ** 2


def slow_cka(x: Rows, y: Rows, kernel: Kernel, *, unbiased: bool, width: float = 1.0) -> float:
    hsic = unbiased_hsic if unbiased else biased_hsic
    k, m = gram(x, kernel, width), gram(y, kernel, width)
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize(("width", "other"), [(3, 7), (30, 4)])
def test_cka_equals_its_definition(
    kernel: Kernel, unbiased: bool, width: int, other: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_TILE_ROWS", 8)
    monkeypatch.setattr(kernels, "_CACHED_BYTES", 3 * 21 * 8)
    x, y = related(0, 21, width, other)
    known = slow_cka(x, y, kernel, unbiased=unbiased)
    assert 0.05 < known < 0.99
    assert cka(x, y, kernel=kernel, unbiased=unbiased) == pytest.approx(known, abs=1e-10)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("n", [41, 48])
def test_linear_cka_by_blocks_of_rows_is_that_of_all(
    n: int, unbiased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = related(1, n, 5, 7)
    monkeypatch.setattr(similarity, "_BLOCK_ROWS", 8)
    known = slow_cka(x, y, "linear", unbiased=unbiased)
    assert cka(x, y, unbiased=unbiased) == pytest.approx(known, abs=1e-10)


def test_the_biased_linear_one_is_the_ratio_of_frobenius_norms() -> None:
    x, y = (z - z.mean(axis=0) for z in related(0, 60, 5, 4))
    known = np.linalg.norm(y.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)
    assert cka(x, y, unbiased=False) == pytest.approx(known, rel=1e-12)


def test_the_width_of_the_rbf_counts_in_medians() -> None:
    x, y = related(0, 25, 4, 4)
    known = slow_cka(x, y, "rbf", unbiased=True, width=0.4)
    assert cka(x, y, kernel="rbf", width=0.4) == pytest.approx(known, abs=1e-10)
    # A very wide Gaussian is linear in the squared distance.
    wide = cka(x, y, kernel="rbf", width=300.0)
    assert wide == pytest.approx(cka(x, y), abs=1e-4)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@settings(max_examples=40)
@given(seed=st.integers(0, 300))
def test_cka_ignores_rotation_scale_origin_order_and_sides(kernel: Kernel, seed: int) -> None:
    x, y = related(seed, 16, 4, 5)
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(4, 4)))
    scale, origin = random.uniform(0.1, 10.0), random.normal(size=4)
    order = random.permutation(16)
    moved = scale * x @ turn + origin
    assert cka(x, moved, kernel=kernel) == pytest.approx(1.0, abs=1e-9)
    known = cka(x, y, kernel=kernel)
    assert cka(moved[order], y[order], kernel=kernel) == pytest.approx(known, abs=1e-9)
    assert cka(y, x, kernel=kernel) == pytest.approx(known, abs=1e-12)
    assert -1e-12 <= cka(x, y, kernel=kernel, unbiased=False) <= 1 + 1e-12


def test_independent_features_look_alike_only_to_the_biased_one() -> None:
    pairs = [(features(2 * i, 20, 16), features(2 * i + 1, 20, 16)) for i in range(300)]
    assert np.mean([cka(x, y, unbiased=False) for x, y in pairs]) == pytest.approx(0.45, abs=0.01)
    assert np.mean([cka(x, y) for x, y in pairs]) == pytest.approx(-0.0005, abs=0.015)
    assert np.mean([cka(x, y, kernel="rbf") for x, y in pairs]) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_batches_average_hsic_before_the_ratio(kernel: Kernel) -> None:
    x, y = related(0, 60, 4, 5)
    batches = [(x[i : i + 15], y[i : i + 15]) for i in range(0, 60, 15)]
    grams = [(gram(a, kernel), gram(b, kernel)) for a, b in batches]
    cross = np.mean([unbiased_hsic(k, m) for k, m in grams])
    own = [np.mean([unbiased_hsic(pair[at], pair[at]) for pair in grams]) for at in (0, 1)]
    known = cross / np.sqrt(own[0] * own[1])
    assert cka_minibatch(iter(batches), kernel=kernel) == pytest.approx(known, abs=1e-10)


def test_many_small_batches_tell_what_one_large_one_tells() -> None:
    x, y = related(0, 3000, 4, 5)
    batches = [(x[i : i + 20], y[i : i + 20]) for i in range(0, 3000, 20)]
    assert cka_minibatch(batches) == pytest.approx(cka(x, y), abs=0.02)
    assert cka_minibatch([(x, y)]) == pytest.approx(cka(x, y), abs=1e-12)


def test_single_precision_and_tensors_agree_with_double() -> None:
    x, y = related(0, 400, 64, 32)
    for kernel in ("linear", "rbf"):
        known = cka(x, y, kernel=kernel)  # type: ignore[arg-type]
        single = cka(
            torch.from_numpy(x.astype(np.float32)),
            torch.from_numpy(y.astype(np.float32)),
            kernel=kernel,  # type: ignore[arg-type]
        )
        assert single == pytest.approx(known, abs=2e-5)


def test_what_is_recorded_is_the_unbiased_linear_one_in_double_precision() -> None:
    x, y = (z.astype(np.float32) for z in related(0, 50, 60, 8))
    assert cka_linear(x, y) == cka(x.astype(np.float64), y.astype(np.float64))


def test_what_has_no_similarity_is_said() -> None:
    x = features(0, 10, 3)
    assert np.isnan(cka(np.ones((10, 2)), x))
    with pytest.raises(DataError, match="median distance is 0"):
        cka(np.ones((10, 2)), x, kernel="rbf")
    with pytest.raises(ShapeError, match=r"\(10, 3\) and \(9, 3\) must share n ≥ 4 rows"):
        cka(x, x[1:])
    with pytest.raises(ShapeError, match=r"x has the shape \(3, 3\)"):
        cka(x[:3], x[:3])
    with pytest.raises(ShapeError, match="there are no batches"):
        cka_minibatch([])
    with pytest.raises(ConfigError, match="kernel 'poly' is neither"):
        cka(x, x, kernel="poly")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="width 0"):
        cka(x, x, kernel="rbf", width=0)
