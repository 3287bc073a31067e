from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from sklearn.covariance import ledoit_wolf

from regraft.errors import DataError, ShapeError
from regraft.measure.moments import coral, covariance, frechet, frechet_gaussians

Rows = NDArray[np.float64]


def rows(seed: int, n: int = 40, d: int = 4) -> Rows:
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)) @ random.normal(size=(d, d)) + random.normal(size=d)


def with_covariance(target: Rows, n: int = 50, seed: int = 0) -> Rows:
    """Rows whose unbiased covariance is the target exactly."""
    d = len(target)
    z = np.random.default_rng(seed).normal(size=(n, d))
    z -= z.mean(axis=0)
    white = z @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(z.T)))).T
    return white @ np.linalg.cholesky(target).T


def slow_frechet(x: Rows, y: Rows) -> float:
    a, b = np.cov(x.T), np.cov(y.T)
    root = sqrtm(sqrtm(a) @ b @ sqrtm(a))
    moved = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    return float(moved + np.trace(a + b - 2 * np.real(root)))


@pytest.mark.parametrize("d", [1, 2, 5])
def test_coral_of_twice_the_identity_is_a_quarter_over_d(d: int) -> None:
    x, y = with_covariance(np.eye(d)), with_covariance(2 * np.eye(d), seed=1)
    assert coral(x, y) == pytest.approx(1 / (4 * d), rel=1e-9)


def test_coral_equals_its_definition_and_sees_no_mean() -> None:
    x, y = rows(0), rows(1, n=25)
    known = ((np.cov(x.T) - np.cov(y.T)) ** 2).sum() / (4 * 4**2)
    assert coral(x, y) == pytest.approx(known, rel=1e-12)
    assert coral(x, y + 3.0) == pytest.approx(known, rel=1e-9)
    assert coral(torch.from_numpy(x), y) == coral(x, y)
    assert coral(x, x) == 0.0


def test_known_distances_of_gaussians() -> None:
    assert frechet_gaussians([0], [[1]], [2], [[9]]) == pytest.approx(8.0, rel=1e-12)
    # Commuting covariances: Σ (√λ − √κ)².
    one, other = np.diag([4.0, 9.0, 0.0]), np.diag([1.0, 16.0, 25.0])
    assert frechet_gaussians([0] * 3, one, [0] * 3, other) == pytest.approx(1 + 1 + 25, rel=1e-12)
    point = frechet_gaussians([0, 0], np.zeros((2, 2)), [3, 4], np.zeros((2, 2)))
    assert point == pytest.approx(25.0)


def test_the_root_of_the_product_is_the_true_one() -> None:
    """The trace of (Σ₁Σ₂)^½ is the sum of the roots of its eigenvalues (methods.md, trap 1)."""
    a, b = covariance(rows(0, d=6)), covariance(rows(1, d=6))
    root = np.sqrt(np.abs(np.linalg.eigvals(a @ b))).sum()
    known = np.trace(a) + np.trace(b) - 2 * root
    assert frechet_gaussians(np.zeros(6), a, np.zeros(6), b) == pytest.approx(known, rel=1e-9)


def test_samples_are_compared_by_their_moments() -> None:
    x, y = rows(0), rows(1, n=25)
    assert frechet(x, y) == pytest.approx(slow_frechet(x, y), rel=1e-9)
    moments = x.mean(axis=0), np.cov(x.T), y.mean(axis=0), np.cov(y.T)
    assert frechet(x, y) == pytest.approx(frechet_gaussians(*moments), rel=1e-9)
    assert frechet(x, x) == pytest.approx(0.0, abs=1e-12)
    x = with_covariance(np.eye(1))
    assert frechet(x, 3 * with_covariance(np.eye(1), seed=1) + 2) == pytest.approx(8.0, rel=1e-9)


def test_one_law_has_the_distance_that_the_docstring_says() -> None:
    random = np.random.default_rng(0)
    found = [frechet(random.normal(size=(400, 6)), random.normal(size=(300, 6))) for _ in range(60)]
    known = (6**2 + 5 * 6) * (1 / 400 + 1 / 300) / 4
    assert np.mean(found) == pytest.approx(known, rel=0.1)


def test_few_rows_are_shrunk_by_ledoit_and_wolf() -> None:
    x, y = rows(0, n=12, d=20), rows(1, n=60, d=20)
    # Ledoit and Wolf's own estimate divides by n, ours by n − 1.
    shrunk = ledoit_wolf(x)[0] * 12 / 11
    known = frechet_gaussians(x.mean(axis=0), shrunk, y.mean(axis=0), np.cov(y.T))
    assert frechet(x, y) == pytest.approx(known, rel=1e-9)
    assert frechet(x, y, shrink=False) == pytest.approx(slow_frechet(x, y), rel=1e-5)
    both = [ledoit_wolf(z)[0] * len(z) / (len(z) - 1) for z in (x, y)]
    known = frechet_gaussians(x.mean(axis=0), both[0], y.mean(axis=0), both[1])
    assert frechet(x, y, shrink=True) == pytest.approx(known, rel=1e-9)


def test_shrinking_comes_nearer_to_the_truth_where_rows_are_few() -> None:
    random = np.random.default_rng(0)
    samples = [random.normal(size=(30, 40)) for _ in range(2)]
    assert frechet(*samples) < 0.5 * frechet(*samples, shrink=False)  # the truth is 0


@settings(max_examples=40)
@given(st.integers(0, 500))
def test_distances_ignore_rotation_order_and_sides_and_know_units(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = rows(seed, n=12), rows(seed + 1, n=9)
    turn, _ = np.linalg.qr(random.normal(size=(4, 4)))
    scale = random.uniform(0.1, 10.0)
    moved = [random.permutation(scale * z @ turn) for z in (x, y)]
    assert frechet(*moved) == pytest.approx(scale**2 * frechet(x, y), rel=1e-8)
    assert coral(*moved) == pytest.approx(scale**4 * coral(x, y), rel=1e-8)
    assert frechet(y, x) == pytest.approx(frechet(x, y), rel=1e-9)
    assert coral(y, x) == pytest.approx(coral(x, y), rel=1e-12)
    assert frechet(x, x + random.normal(size=4)) >= 0.0


def test_what_is_no_pair_of_gaussians_is_refused() -> None:
    with pytest.raises(ShapeError, match="differ in width"):
        coral(rows(0), rows(0, d=3))
    with pytest.raises(ShapeError, match=r"must be \(d,\) and \(d, d\)"):
        frechet_gaussians([0.0], [[1.0]], [0.0, 1.0], [[1.0]])
    with pytest.raises(DataError, match="not symmetric"):
        frechet_gaussians([0, 0], [[1, 1], [0, 1]], [0, 0], np.eye(2))
    with pytest.raises(DataError, match="negative eigenvalue -1"):
        frechet_gaussians([0], [[-1]], [0], [[1]])
