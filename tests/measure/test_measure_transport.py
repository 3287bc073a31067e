from __future__ import annotations

import sys
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from regraft.errors import ConfigError, DataError, ShapeError
from regraft.measure import transport
from regraft.measure.moments import frechet_gaussians
from regraft.measure.transport import otdd, sliced_wasserstein

Rows = NDArray[np.float64]


def normal(seed: int, n: int, d: int) -> Rows:
    return np.random.default_rng(seed).normal(size=(n, d))


def labelled(seed: int, n: int = 24, d: int = 3) -> tuple[Rows, NDArray[np.intp]]:
    labels = np.arange(n) % 3
    return normal(seed, n, d) + 4.0 * np.eye(3, d)[labels], labels


@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 17), (1, 12), (12, 18)])
def test_on_a_line_it_is_the_wasserstein_distance(n: int, m: int) -> None:
    x, y = normal(0, n, 1), 2.0 * normal(1, m, 1) + 0.5
    known = wasserstein_distance(x[:, 0], y[:, 0])
    assert sliced_wasserstein(x, y, p=1.0, projections=3) == pytest.approx(known, rel=1e-12)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_on_a_line_every_order_is_the_best_of_all_assignments(p: float) -> None:
    x, y = normal(0, 6, 1), normal(1, 6, 1)
    best = min(np.mean(np.abs(x[:, 0] - y[list(one), 0]) ** p) for one in permutations(range(6)))
    assert sliced_wasserstein(x, y, p=p) == pytest.approx(best ** (1 / p), rel=1e-12)


def test_unequal_samples_equal_their_repetitions() -> None:
    x, y = normal(0, 4, 3), normal(1, 6, 3)
    repeated = sliced_wasserstein(np.repeat(x, 3, axis=0), np.repeat(y, 2, axis=0), seed=3)
    assert sliced_wasserstein(x, y, seed=3) == pytest.approx(repeated, rel=1e-12)


def test_a_translation_costs_its_square_over_the_width() -> None:
    x = normal(0, 50, 8)
    v = 3.0 * np.ones(8) / np.sqrt(8)
    assert sliced_wasserstein(x, x + v) ** 2 == pytest.approx(1.125, rel=1e-12)
    assert sliced_wasserstein(x, x + v, projections=1001) ** 2 == pytest.approx(1.125, rel=1e-2)


def test_many_directions_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(0, 20, 6), normal(1, 15, 6)
    known = sliced_wasserstein(x, y, projections=20)
    monkeypatch.setattr(transport, "_NUMBERS_AT_ONCE", 4 * 35)
    assert sliced_wasserstein(x, y, projections=20) == pytest.approx(known, rel=1e-12)
    assert sliced_wasserstein(torch.from_numpy(x), y, projections=20) == pytest.approx(known)


def test_isotropic_normals_differ_by_their_deviations_in_every_direction() -> None:
    x = normal(0, 20_000, 3)
    assert sliced_wasserstein(x, 2.0 * normal(1, 20_000, 3), projections=6) == pytest.approx(
        1.0, abs=0.03
    )


@settings(max_examples=40)
@given(st.integers(0, 500))
def test_sliced_distances_ignore_order_and_sides_and_know_units(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = normal(seed, 9, 3), normal(seed + 1, 7, 3)
    known = sliced_wasserstein(x, y, projections=6)
    assert sliced_wasserstein(y, random.permutation(x), projections=6) == pytest.approx(known)
    assert sliced_wasserstein(3 * x + 1, 3 * y + 1, projections=6) == pytest.approx(3 * known)
    assert sliced_wasserstein(x, random.permutation(x)) == pytest.approx(0.0, abs=1e-12)


def test_what_has_no_sliced_distance_is_refused() -> None:
    x = normal(0, 5, 2)
    with pytest.raises(ConfigError, match="give p of at least 1"):
        sliced_wasserstein(x, x, p=0.5)
    with pytest.raises(ConfigError, match="0 projections"):
        sliced_wasserstein(x, x, projections=0)
    with pytest.raises(ShapeError, match="differ in width"):
        sliced_wasserstein(x, x[:, :1])


def slow_otdd(x: Rows, a: NDArray[np.intp], y: Rows, b: NDArray[np.intp]) -> float:
    """Return OTDD of data sets of equal and tiny size by trying all assignments."""

    def gaussian(rows: Rows) -> tuple[Rows, Rows]:
        return rows.mean(axis=0), np.atleast_2d(np.cov(rows.T))

    def cost(i: int, j: int) -> float:
        apart = frechet_gaussians(*gaussian(x[a == a[i]]), *gaussian(y[b == b[j]]))
        return float(((x[i] - y[j]) ** 2).sum()) + apart

    costs = np.array([[cost(i, j) for j in range(len(y))] for i in range(len(x))])
    every = permutations(range(len(x)))
    return float(np.sqrt(min(costs[range(len(x)), list(one)].mean() for one in every)))


@pytest.mark.parametrize("d", [1, 3])
def test_otdd_is_the_best_of_all_assignments(d: int) -> None:
    pytest.importorskip("ot")
    x, y = normal(0, 6, d), normal(1, 6, d) + 1.0
    a, b = np.array([0, 0, 1, 1, 1, 0]), np.array([1, 0, 1, 0, 0, 1])
    assert otdd(x, a, y, b) == pytest.approx(slow_otdd(x, a, y, b), rel=1e-9)


def test_otdd_of_a_data_set_with_itself_is_nothing() -> None:
    pytest.importorskip("ot")
    x, labels = labelled(0)
    assert otdd(x, labels, x, labels) == pytest.approx(0.0, abs=1e-5)
    assert otdd(x, labels, x, labels, rows=10) == pytest.approx(0.0, abs=1e-5)


def test_otdd_is_symmetric_and_blind_to_names_order_and_rotation() -> None:
    pytest.importorskip("ot")
    (x, a), (y, b) = labelled(0), labelled(1, n=15)
    known = otdd(x, a, y, b)
    assert otdd(y, b, x, a) == pytest.approx(known, rel=1e-9)
    names = np.array(["cat", "dog", "ant"])
    assert otdd(x, names[a], y, 7 - b) == pytest.approx(known, rel=1e-9)
    order = np.random.default_rng(0).permutation(24)
    turn, _ = np.linalg.qr(normal(5, 3, 3))
    assert otdd(x[order] @ turn, a[order], y @ turn, b) == pytest.approx(known, rel=1e-9)


def test_otdd_knows_labels_where_features_are_the_same() -> None:
    pytest.importorskip("ot")
    x, labels = labelled(0)
    mixed = np.random.default_rng(0).permutation(labels)
    assert otdd(x, labels, x, mixed) > 1.0


def test_otdd_of_a_translation_counts_features_and_labels() -> None:
    pytest.importorskip("ot")
    x, labels = labelled(0)
    v = np.array([0.3, -0.4, 0.0])
    assert otdd(x, labels, x + v, labels) == pytest.approx(np.sqrt(2 * 0.25), rel=1e-9)


def test_a_class_of_one_row_is_a_point() -> None:
    pytest.importorskip("ot")
    assert otdd([[0.0, 0.0]], [0], [[3.0, 4.0]], [5]) == pytest.approx(np.sqrt(2 * 25.0))


def test_without_pot_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ot.lp", None)
    with pytest.raises(ConfigError, match=r"needs POT.*Install regraft\[ot\]"):
        otdd([[0.0]], [0], [[1.0]], [0])


def test_what_is_no_data_set_is_refused() -> None:
    x, labels = labelled(0)
    with pytest.raises(ShapeError, match=r"labels_y \(23,\) must be one for each of 24 rows"):
        otdd(x, labels, x, labels[1:])
    with pytest.raises(ConfigError, match="rows is 0"):
        otdd(x, labels, x, labels, rows=0)
    with pytest.raises(DataError, match="not finite"):
        otdd(np.where(x > 3, np.inf, x), labels, x, labels)
