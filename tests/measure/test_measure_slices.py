from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import fisher_exact
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from regraft.errors import ShapeError
from regraft.measure.confident_learning import label_errors
from regraft.measure.slices import (
    cluster_slices,
    error_slices,
    hardest_items,
    metadata_slices,
    ranked_confusions,
)


def slow_mid_p(errors: int, n_all: int, n_wrong: int, n: int) -> float:
    def share(k: int) -> float:
        return comb(n_wrong, k) * comb(n_all - n_wrong, n - k) / comb(n_all, n)

    return share(errors) / 2 + sum(share(k) for k in range(errors + 1, min(n, n_wrong) + 1))


def clouds(seed: int, n: int = 600) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return random.normal(size=(n, 4)) + 4.0 * np.eye(3, 4)[labels], labels


@given(st.integers(0, 1000))
def test_the_mid_p_equals_the_sum_of_binomials(seed: int) -> None:
    random = np.random.default_rng(seed)
    wrong, rows = random.random(40) < 0.3, random.random(40) < 0.5
    found = error_slices(wrong, {"half": rows}, fewest=1)
    if rows.any() and not rows.all():
        k, n = int((wrong & rows).sum()), int(rows.sum())
        assert found[0].p == pytest.approx(slow_mid_p(k, 40, int(wrong.sum()), n), abs=1e-12)
        table = [[k, n - k], [wrong.sum() - k, 40 - n - wrong.sum() + k]]
        assert found[0].p <= fisher_exact(table, alternative="greater").pvalue + 1e-12
        assert found[0].rest == pytest.approx(wrong[~rows].mean())
        assert found[0].rate.value == pytest.approx(wrong[rows].mean())


def test_a_planted_slice_is_found_and_chance_is_not() -> None:
    random = np.random.default_rng(3)
    site = random.choice(["north", "south", "east"], 400)
    wrong = random.random(400) < np.where(site == "east", 0.35, 0.1)
    identifiers = [str(i) for i in range(400)]
    candidates = metadata_slices({"site": list(site), "month": list(random.integers(1, 13, 400))})
    found = error_slices(wrong, candidates)
    assert [one.name for one in found if one.is_worse] == ["site = east"]
    assert found[0].rate.value > 0.25 > found[0].rest
    assert len(found) == 15
    assert metadata_slices({"id": identifiers}) == {}


def test_by_chance_a_slice_is_called_worse_at_most_as_often_as_allowed() -> None:
    random = np.random.default_rng(0)
    candidates = metadata_slices({"fold": [str(i % 8) for i in range(200)]})
    alarms = [
        any(one.is_worse for one in error_slices(random.random(200) < 0.2, candidates))
        for _ in range(150)
    ]
    assert sum(alarms) <= 15  # 0.05 · 150 = 7.5, the binomial's 99.5 % is 15


def test_small_and_whole_slices_are_not_tested_nor_counted_in_the_correction() -> None:
    wrong = np.arange(60) < 20
    first = np.arange(60) < 15
    some = {"first": first, "few": np.arange(60) < 5, "all": np.ones(60, bool)}
    alone = error_slices(wrong, {"first": first})
    assert error_slices(wrong, some) == alone
    assert alone[0].p_adjusted == alone[0].p
    both = error_slices(wrong, {"first": first, "last": ~first})
    assert [one.name for one in both] == ["first", "last"]
    assert both[0].p_adjusted == pytest.approx(2 * both[0].p)


def test_clusters_are_seeded_partitions() -> None:
    features, labels = clouds(0)
    slices = cluster_slices(features, n_clusters=3)
    assert np.stack(list(slices.values())).sum(axis=0).tolist() == [1] * 600
    for rows in slices.values():
        assert np.bincount(labels[rows]).max() / rows.sum() > 0.95
    again = cluster_slices(features, n_clusters=3)
    assert all((again[name] == rows).all() for name, rows in slices.items())
    assert set(cluster_slices(features, n_clusters=2, seeds=(0, 7))) == {
        f"cluster {c} (seed {s})" for c in (0, 1) for s in (0, 7)
    }


def test_a_cluster_that_fails_is_found() -> None:
    features, labels = clouds(1)
    wrong = np.random.default_rng(2).random(600) < np.where(labels == 2, 0.4, 0.1)
    found = error_slices(wrong, cluster_slices(features, n_clusters=3))
    worst = [one for one in found if one.is_worse]
    assert len(worst) == 1
    assert worst[0].rate.value == pytest.approx(0.4, abs=0.08)


def test_confusions_are_ranked_by_how_often() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    taken = np.array([1, 1, 0, 2, 1, 2, 2, 0, 0])
    found = ranked_confusions(taken, labels)
    assert [(one.label, one.prediction, one.n) for one in found] == [
        (0, 1, 2),
        (2, 0, 2),
        (1, 2, 1),
    ]
    assert [one.share for one in found] == pytest.approx([2 / 3, 1 / 2, 1 / 2])
    assert ranked_confusions(labels, labels) == []


def test_the_hardest_items_have_the_least_probable_labels() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    labels = np.array([0, 0, 0])
    assert hardest_items(p, labels, most=2).tolist() == [1, 2]
    assert hardest_items(p, labels).tolist() == [1, 2, 0]


def test_thresholds_and_joint_of_a_worked_case() -> None:
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7], [0.8, 0.2]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    found = label_errors(p, labels)
    np.testing.assert_allclose(found.thresholds, [0.6, 0.6])
    np.testing.assert_allclose(found.joint, [[2 / 6, 1 / 6], [1 / 6, 2 / 6]])
    assert found.rows.tolist() == [2, 5]
    assert found.suggested.tolist() == [1, 0]
    assert found.noise_rate == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_flips_are_found_out_of_fold(seed: int) -> None:
    features, truth = clouds(seed, 900)
    random = np.random.default_rng(seed + 10)
    is_flipped = random.random(900) < 0.1
    labels = np.where(is_flipped, (truth + 1) % 3, truth)
    p = cross_val_predict(LogisticRegression(), features, labels, cv=4, method="predict_proba")
    found = label_errors(p, labels)
    hits = is_flipped[found.rows]
    assert hits.mean() > 0.9
    assert hits.sum() / is_flipped.sum() > 0.88
    assert hits[:40].mean() > 0.97  # the least credible first
    assert found.noise_rate == pytest.approx(0.1, abs=0.03)
    np.testing.assert_array_equal(found.suggested[hits], truth[found.rows][hits])
    np.testing.assert_allclose(found.joint.sum(axis=1), np.bincount(labels) / 900)
    assert found.joint[0, 1] < found.joint[0, 2]  # flips go from c to c + 1


@given(st.integers(0, 1000))
def test_renaming_the_classes_renames_what_is_found(seed: int) -> None:
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.ones(3), 30)
    labels, names = random.integers(0, 3, 30), random.permutation(3)
    one, other = label_errors(p, labels), label_errors(p[:, np.argsort(names)], names[labels])
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(names[one.suggested], other.suggested)
    np.testing.assert_allclose(one.joint, other.joint[np.ix_(names, names)])


def test_certain_and_right_labels_are_no_errors() -> None:
    found = label_errors(np.eye(3)[[0, 1, 2, 2]], np.array([0, 1, 2, 2]))
    assert (len(found.rows), found.noise_rate) == (0, 0.0)
    uniform = label_errors(np.full((4, 2), 0.5), np.array([0, 0, 0, 0]))
    assert len(uniform.rows) == 0
    assert np.isnan(uniform.thresholds[1])


def test_what_does_not_fit_is_refused() -> None:
    p = np.full((3, 2), 0.5)
    with pytest.raises(ShapeError, match=r"slice 'x' covers \(2,\) items"):
        error_slices(np.zeros(3, bool), {"x": np.zeros(2, bool)})
    with pytest.raises(ShapeError, match=r"9 clusters of features \(3, 2\)"):
        cluster_slices(p, n_clusters=9)
    with pytest.raises(ShapeError, match="hardest_items"):
        hardest_items(p, np.zeros(2, int))
    with pytest.raises(ShapeError, match=r"predictions \(2,\)"):
        ranked_confusions(np.zeros(2, int), np.zeros(3, int))
    with pytest.raises(ShapeError, match=r"label_errors: probabilities \(3, 2\)"):
        label_errors(p, np.zeros(2, int))
    with pytest.raises(ShapeError, match="labels reach from 0 to 2"):
        label_errors(p, np.array([0, 1, 2]))
