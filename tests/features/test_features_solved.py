from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.preprocessing import StandardScaler

from made_clusters import clusters
from regraft.errors import ShapeError
from regraft.features.logistic import STRENGTHS, Probe, fit_probe, log_loss, logistic_path
from regraft.features.solved import centroid_head, knn_logits


def objective(
    x: NDArray[Any], y: NDArray[np.int64], weight: NDArray[Any], bias: NDArray[Any], strength: float
) -> float:
    """Return mean cross-entropy + λ/2 ‖W‖² of a head on standardised features."""
    return log_loss(x @ weight.T + bias, y) + strength / 2 * float((weight**2).sum())


def least(x: NDArray[Any], y: NDArray[np.int64], n_classes: int, strength: float) -> float:
    """Return the objective that scikit-learn reaches."""
    standard = StandardScaler().fit_transform(x)
    # Two classes are one logit in scikit-learn: W = (−w/2, w/2) has half the squared norm of w.
    factor = 2.0 if n_classes == 2 else 1.0
    known = LogisticRegression(C=factor / (strength * len(y)), tol=1e-10, max_iter=100_000)
    known.fit(standard, y)
    weight, bias = known.coef_, known.intercept_
    if n_classes == 2:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return objective(standard, y, weight, bias, strength)


def reached(probe: Probe, x: NDArray[Any], y: NDArray[np.int64]) -> float:
    """Return the objective of a head that was solved on raw features."""
    scaler = StandardScaler().fit(x)
    weight = probe.weight.astype(np.float64) * scaler.scale_
    bias = probe.bias + probe.weight.astype(np.float64) @ scaler.mean_
    return objective(scaler.transform(x), y, weight, bias, probe.strength)


@pytest.mark.parametrize(("n", "width", "n_classes"), [(120, 6, 3), (60, 5, 2), (30, 80, 4)])
@pytest.mark.parametrize("strength", [1.0, 1e-2, 1e-4])
def test_a_solved_head_is_as_good_as_scikit_learns(
    n: int, width: int, n_classes: int, strength: float
) -> None:
    x, y = clusters(0, n=n, width=width, n_classes=n_classes, apart=0.5)
    probe = logistic_path(x, y, n_classes, strengths=np.array([10.0, strength]))[-1]
    assert reached(probe, x, y) == pytest.approx(least(x, y, n_classes, strength), abs=1e-5)
    assert probe.loss == pytest.approx(log_loss(probe.logits(x), y), abs=1e-4)


def test_every_head_of_the_path_is_as_good_as_scikit_learns() -> None:
    x, y = clusters(0, apart=0.5)
    for probe, strength in zip(logistic_path(x, y, 3), STRENGTHS, strict=True):
        best = least(x, y, 3, strength)
        assert reached(probe, x, y) == pytest.approx(best, rel=1e-5, abs=0), strength


def test_the_path_goes_from_strong_to_weak_and_fits_better_and_better() -> None:
    x, y = clusters(1)
    path = logistic_path(x, y, 3)
    assert [probe.strength for probe in path] == pytest.approx(STRENGTHS.tolist())
    losses = [probe.loss for probe in path]
    scale = x.std(axis=0)
    norms = [float(np.square(probe.weight * scale).sum()) for probe in path]
    assert all(b <= a + 1e-6 for a, b in pairwise(losses))
    assert all(b >= a - 1e-6 for a, b in pairwise(norms))
    assert path[0].weight.dtype == np.float32


def test_the_start_of_the_path_does_not_matter() -> None:
    x, y = clusters(2)
    warm = logistic_path(x, y, 3)[12]
    cold = logistic_path(x, y, 3, strengths=STRENGTHS[12:13])[0]
    assert warm.loss == pytest.approx(cold.loss, abs=1e-4)
    np.testing.assert_allclose(warm.logits(x), cold.logits(x), atol=0.02)


def test_wide_features_are_solved_in_the_space_of_their_rows() -> None:
    x, y = clusters(3, n=24, width=60)
    probe = logistic_path(x, y, 3, strengths=np.array([0.1]))[0]
    assert probe.weight.shape == (3, 60)
    padded = np.concatenate([x, np.zeros((24, 40))], axis=1)
    same = logistic_path(padded, y, 3, strengths=np.array([0.1]))[0]
    np.testing.assert_allclose(same.logits(padded), probe.logits(x), atol=1e-3)
    assert not same.weight[:, 60:].any()


@given(st.integers(0, 200))
def test_units_origin_and_order_of_features_do_not_matter(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = clusters(seed, n=30, width=4)
    moved = x * random.uniform(0.1, 10, size=4) + random.normal(size=4)
    columns, rows = random.permutation(4), random.permutation(30)
    strengths = np.array([0.1])
    first = logistic_path(x, y, 3, strengths=strengths)[0].logits(x)
    second = logistic_path(moved[rows][:, columns], y[rows], 3, strengths=strengths)[0]
    np.testing.assert_allclose(second.logits(moved[:, columns]), first, atol=5e-3)


def test_a_feature_that_never_varies_gets_no_weight() -> None:
    x, y = clusters(4)
    with_constant = np.concatenate([x, np.full((len(x), 1), 3.0)], axis=1)
    probe = logistic_path(with_constant, y, 3, strengths=np.array([0.01]))[0]
    assert np.isfinite(probe.weight).all()
    np.testing.assert_allclose(probe.weight[:, -1], 0.0, atol=1e-9)


def test_a_class_without_items_is_never_predicted() -> None:
    x, y = clusters(5)
    probe = logistic_path(x, y, 5, strengths=np.array([0.01]))[0]
    assert probe.weight.shape == (5, 6)
    assert probe.logits(x).argmax(axis=1).max() <= 2
    weight, bias = centroid_head(x, y, 5)
    assert (x @ weight.T + bias).argmax(axis=1).max() <= 2
    assert knn_logits(x, y, x, k=5, n_classes=5).argmax(axis=1).max() <= 2


def test_the_probe_is_the_best_of_the_path_on_held_out_rows() -> None:
    x, y = clusters(6, n=90, width=30, apart=0.4)
    held, held_labels = clusters(7, n=60, width=30, apart=0.4)
    probe = fit_probe(x, y, 3, held, held_labels)
    losses = [log_loss(one.logits(held), held_labels) for one in logistic_path(x, y, 3)]
    assert probe.strength == pytest.approx(STRENGTHS[int(np.argmin(losses))])
    assert log_loss(probe.logits(held), held_labels) == pytest.approx(min(losses))


def test_without_held_out_rows_folds_choose_and_all_rows_train() -> None:
    x, y = clusters(8, n=45, width=30, apart=0.4)
    none = np.empty((0, 30)), np.empty(0, np.int64)
    probe = fit_probe(x, y, 3, *none)
    alone = logistic_path(x, y, 3, strengths=np.array([probe.strength]))[0]
    np.testing.assert_array_equal(probe.weight, alone.weight)
    assert probe.strength in STRENGTHS
    assert probe.strength > STRENGTHS[-1]


def test_one_row_per_class_gets_the_default_strength() -> None:
    x, y = clusters(9, n=3)
    probe = fit_probe(x, y, 3, np.empty((0, 6)), np.empty(0, np.int64))
    assert probe.strength == 0.01
    np.testing.assert_array_equal(probe.logits(x).argmax(axis=1), y)


def test_a_probe_is_repeatable() -> None:
    x, y = clusters(10)
    first, second = fit_probe(x, y, 3, x[:30], y[:30]), fit_probe(x, y, 3, x[:30], y[:30])
    np.testing.assert_array_equal(first.weight, second.weight)
    np.testing.assert_array_equal(first.bias, second.bias)


def test_labels_that_do_not_fit_are_refused() -> None:
    x, y = clusters(0)
    with pytest.raises(ShapeError, match=r"features \(120, 6\) and labels \(119,\) do not fit"):
        logistic_path(x, y[1:], 3)
    with pytest.raises(ShapeError, match="n ≥ 1"):
        centroid_head(np.empty((0, 3)), np.empty(0, np.int64), 2)


@pytest.mark.parametrize("seed", [0, 1])
def test_centroids_decide_as_scikit_learns_nearest_centroid(seed: int) -> None:
    x, y = clusters(seed, apart=0.7)
    queries, _ = clusters(seed + 50, apart=0.7)
    scaler = StandardScaler().fit(x)
    known = NearestCentroid().fit(scaler.transform(x), y)
    weight, bias = centroid_head(x.astype(np.float32), y, 3)
    np.testing.assert_array_equal(
        (queries @ weight.T + bias).argmax(axis=1), known.predict(scaler.transform(queries))
    )
    assert weight.dtype == bias.dtype == np.float32


def test_centroid_scores_differ_as_squared_distances_do() -> None:
    x, y = clusters(3)
    standard = StandardScaler().fit_transform(x)
    centroids = np.stack([standard[y == c].mean(axis=0) for c in range(3)])
    squared = ((standard[:, None] - centroids) ** 2).sum(axis=2)
    weight, bias = centroid_head(x, y, 3)
    scores = x @ weight.T + bias
    ratio = (scores[:, 0] - scores[:, 1]) / (squared[:, 1] - squared[:, 0])
    assert ratio.std() / ratio.mean() < 1e-3


@pytest.mark.parametrize("k", [1, 5, 120, 1000])
def test_neighbours_vote_as_scikit_learns_do(k: int) -> None:
    x, y = clusters(0, apart=0.6)
    queries, _ = clusters(1, n=40, apart=0.6)
    mean = x.mean(axis=0)
    unit = (x - mean) / np.linalg.norm(x - mean, axis=1, keepdims=True)
    known = KNeighborsClassifier(
        min(k, 120), metric="cosine", weights=lambda d: np.maximum(1 - d, 0.0)
    ).fit(unit, y)
    shares = known.predict_proba(queries - mean)
    logits = knn_logits(x, y, queries, k=k, n_classes=3)
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.exp(logits), shares, atol=5e-3)


def test_neighbours_are_the_same_whatever_the_size_of_the_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = clusters(0)
    queries, _ = clusters(1, n=50)
    whole = knn_logits(x, y, queries, k=7, n_classes=3)
    monkeypatch.setattr("regraft.features.standard.BLOCK_NUMBERS", 500)
    np.testing.assert_allclose(knn_logits(x, y, queries, k=7, n_classes=3), whole, rtol=1e-5)


def test_an_item_at_the_mean_has_no_direction_and_even_votes() -> None:
    x, y = clusters(0)
    logits = knn_logits(x, y, x.mean(axis=0, keepdims=True), k=5, n_classes=3)
    np.testing.assert_allclose(np.exp(logits), 1 / 3, rtol=1e-6)


def test_features_too_large_to_copy_are_solved_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = clusters(0, n=300, width=12, apart=0.5)
    kept = logistic_path(x.astype(np.float32), y, 3)
    file = np.memmap(tmp_path / "features", np.float32, "w+", shape=x.shape)
    file[:] = x
    monkeypatch.setattr("regraft.features.standard.BLOCK_NUMBERS", 500)
    read = logistic_path(file, y, 3, memory_bytes=0)
    for first, second in zip(kept, read, strict=True):
        assert second.loss == pytest.approx(first.loss, abs=1e-5)
