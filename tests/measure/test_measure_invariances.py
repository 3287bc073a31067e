"""What distances, scores and sets must not depend on, on random inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_features import Rows, items, rotation
from regraft.measure.conformal import (
    aps_scores,
    conformal_sets,
    conformal_threshold,
    lac_scores,
    set_quality,
)
from regraft.measure.detection import auroc_interval, fpr_interval
from regraft.measure.kernels import median_bandwidth
from regraft.measure.metrics import softmax
from regraft.measure.mmd import mmd2_block, mmd2_linear, mmd2_test
from regraft.measure.out_of_distribution import (
    energy_scores,
    knn_scores,
    mahalanobis_scores,
    msp_scores,
    relative_mahalanobis_scores,
)
from regraft.measure.random_features import mmd2_rff
from regraft.measure.similarity import cka_minibatch
from regraft.measure.transport import otdd, sliced_wasserstein
from regraft.measure.two_sample import c2st, energy_test, proxy_a_distance

SEEDS = st.integers(0, 1000)


def two(seed: int, n: int = 24, m: int = 24, d: int = 3) -> tuple[Rows, Rows]:
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)), random.normal(size=(m, d)) + 0.6


def moved(seed: int, *rows: Rows) -> list[Rows]:
    """Return the same rows turned, in another unit and around another origin."""
    random = np.random.default_rng(seed + 5000)
    d = rows[0].shape[1]
    turn, unit, origin = rotation(seed, d), random.uniform(0.1, 10.0), random.normal(size=d)
    return [unit * one @ turn + origin for one in rows]


# distances of domains


@settings(max_examples=30)
@given(SEEDS)
def test_the_median_bandwidth_turns_with_nothing_and_grows_with_the_unit(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = two(seed, 9, 14)
    known = median_bandwidth(x, y)
    assert median_bandwidth(y, random.permutation(x)) == pytest.approx(known, rel=1e-12)
    assert median_bandwidth(x @ rotation(seed, 3) + 4.0, y @ rotation(seed, 3) + 4.0) == (
        pytest.approx(known, rel=1e-9)
    )
    assert median_bandwidth(3 * x, 3 * y) == pytest.approx(3 * known, rel=1e-9)
    assert median_bandwidth(np.concatenate([x, y])) == pytest.approx(known, rel=1e-12)


@pytest.mark.parametrize("distance", [mmd2_linear, mmd2_block])
@settings(max_examples=30)
@given(seed=SEEDS)
def test_faster_mmds_ignore_rotation_units_and_sides(
    distance: Callable[[Rows, Rows], float], seed: int
) -> None:
    x, y = two(seed)
    known = distance(x, y)
    assert distance(*moved(seed, x, y)) == pytest.approx(known, abs=1e-9)
    assert distance(y, x) == pytest.approx(known, abs=1e-12)
    twice = np.arange(24).reshape(12, 2)[:, ::-1].ravel()  # within each pair of rows
    if distance is mmd2_linear:
        assert distance(x[twice], y[twice]) == pytest.approx(known, abs=1e-12)


@settings(max_examples=10)
@given(SEEDS)
def test_random_features_ignore_units_origin_order_and_sides(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = two(seed)  # in single precision
    known = mmd2_rff(x, y, frequencies=64)
    assert mmd2_rff(y, x, frequencies=64) == pytest.approx(known, abs=1e-6)
    shuffled = random.permutation(x), random.permutation(y)
    assert mmd2_rff(*shuffled, frequencies=64) == pytest.approx(known, abs=1e-6)
    unit, origin = random.uniform(0.1, 10.0), random.normal(size=3)
    other = mmd2_rff(unit * x + origin, unit * y + origin, frequencies=64)
    assert other == pytest.approx(known, abs=1e-6)
    assert mmd2_rff(x, y, frequencies=64, unbiased=False) >= 0.0


@pytest.mark.parametrize("test", [mmd2_test, energy_test])
@settings(max_examples=20)
@given(seed=SEEDS)
def test_permutation_p_values_ignore_rotation_and_units(
    test: Callable[..., object], seed: int
) -> None:
    x, y = two(seed, 12, 9)
    known, other = (test(*pair, permutations=60) for pair in ((x, y), moved(seed, x, y)))
    assert other.p == known.p  # type: ignore[attr-defined]


@settings(max_examples=20)
@given(SEEDS)
def test_the_cka_of_batches_ignores_rotation_units_sides_and_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, noise = two(seed, d=4)
    y = x[:, :3] + 2.0 * noise[:, :3]
    cuts = [slice(i, i + 8) for i in (0, 8, 16)]
    known = cka_minibatch([(x[c], y[c]) for c in cuts])
    (turned,) = moved(seed, x)
    assert cka_minibatch([(turned[c], y[c]) for c in cuts]) == pytest.approx(known, abs=1e-9)
    assert cka_minibatch([(y[c], x[c]) for c in cuts]) == pytest.approx(known, abs=1e-12)
    inner = random.permutation(8)
    again = [(x[c][inner], y[c][inner]) for c in cuts[::-1]]
    assert cka_minibatch(again) == pytest.approx(known, abs=1e-10)


@settings(max_examples=10)
@given(SEEDS)
def test_a_rotation_moves_the_sliced_distance_within_its_error_only(seed: int) -> None:
    x, y = two(seed)
    turn = rotation(seed, 3)
    many = sliced_wasserstein(x, y, projections=600)
    assert sliced_wasserstein(x @ turn, y @ turn, projections=600) == pytest.approx(many, rel=0.05)


@settings(max_examples=8)
@given(SEEDS)
def test_otdd_ignores_rotation_origin_order_names_and_sides_and_knows_units(seed: int) -> None:
    pytest.importorskip("ot")
    random = np.random.default_rng(seed)
    (x, a), (y, b) = items(seed, n=12, d=3), items(seed + 1, n=9, d=3)
    known = otdd(x, a, y, b)
    order, turn, origin = random.permutation(12), rotation(seed, 3), random.normal(size=3)
    names = np.array(["cat", "dog", "ant"])[random.permutation(3)]
    other = otdd(x[order] @ turn + origin, names[a][order], y @ turn + origin, 7 - b)
    assert other == pytest.approx(known, rel=1e-7)
    assert otdd(y, b, x, a) == pytest.approx(known, rel=1e-9)
    assert otdd(0.3 * x, a, 0.3 * y, b) == pytest.approx(0.3 * known, rel=1e-7)


@settings(max_examples=8)
@given(SEEDS)
def test_domain_classifiers_ignore_the_units_and_order_of_features(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = two(seed, 30, 20)
    units, origin, order = 10.0 ** random.uniform(-2, 2, 3), random.normal(size=3), [2, 0, 1]
    there = [(one * units + origin)[:, order] for one in (x, y)]
    assert proxy_a_distance(*there) == pytest.approx(proxy_a_distance(x, y), abs=0.1)
    known, other = c2st(x, y), c2st(*there)
    assert other.statistic == pytest.approx(known.statistic, abs=0.06)


# out of distribution


@settings(max_examples=25)
@given(SEEDS)
def test_distances_to_classes_ignore_rotation_units_order_and_names(seed: int) -> None:
    random = np.random.default_rng(seed)
    train, labels = items(seed, n=30, d=4)
    asked = 2.0 * random.normal(size=(7, 4))
    order, names = random.permutation(30), random.permutation(3) * 5
    elsewhere, there = moved(seed, train, asked)
    for score in (mahalanobis_scores, relative_mahalanobis_scores):
        known = score(train, labels, asked)
        other = score(elsewhere[order], names[labels][order], there)
        np.testing.assert_allclose(other, known, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(score(train, labels, asked[::-1]), known[::-1])
    assert (mahalanobis_scores(train, labels, asked) >= 0).all()


@settings(max_examples=25)
@given(SEEDS)
def test_neighbours_ignore_rotation_the_length_of_rows_and_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    train, asked = random.normal(size=(20, 4)), random.normal(size=(6, 4))
    known = knn_scores(train, asked, k=3)
    turn, order = rotation(seed, 4), random.permutation(20)
    lengths = random.uniform(0.1, 10.0, size=(20, 1))
    other = knn_scores(((train * lengths) @ turn)[order], 3.0 * asked @ turn, k=3)
    np.testing.assert_allclose(other, known, atol=1e-7)
    assert ((known >= 0) & (known <= 2)).all()


@given(SEEDS)
def test_scores_of_logits_ignore_the_order_of_classes_and_keep_that_of_items(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = 3.0 * random.normal(size=(6, 5))
    classes, order = random.permutation(5), random.permutation(6)
    for score in (msp_scores, energy_scores):
        known = score(logits)
        np.testing.assert_allclose(score(logits[order][:, classes]), known[order], rtol=1e-12)
    heated = energy_scores(3.0 * logits, temperature=3.0)
    np.testing.assert_allclose(heated, 3.0 * energy_scores(logits), rtol=1e-12)


@settings(max_examples=20)
@given(SEEDS)
def test_intervals_of_detection_know_only_the_order_of_scores(seed: int) -> None:
    random = np.random.default_rng(seed)
    inside, outside = random.normal(size=30), random.normal(size=25) + 0.7
    area, false = auroc_interval(inside, outside), fpr_interval(inside, outside)
    assert auroc_interval(np.exp(inside), np.exp(outside)) == area
    assert fpr_interval(np.exp(inside), np.exp(outside)) == false
    order = random.permutation(30)
    assert auroc_interval(inside[order], outside).low == pytest.approx(area.low)
    turned = auroc_interval(-inside, -outside)
    assert (turned.low, turned.value, turned.high) == pytest.approx(
        (1 - area.high, 1 - area.value, 1 - area.low)
    )


# conformal sets


def guesses(seed: int) -> tuple[Rows, np.ndarray, Rows, np.ndarray]:
    random = np.random.default_rng(seed)
    p = softmax(2.0 * random.normal(size=(60, 4)))
    labels = np.array([random.choice(4, p=one) for one in p])
    return p[:40], labels[:40], p[40:], labels[40:]


@given(SEEDS)
def test_sets_ignore_the_order_of_items_and_follow_the_order_of_classes(seed: int) -> None:
    random = np.random.default_rng(seed)
    p, labels, asked, truth = guesses(seed)
    known = conformal_sets(p, labels, asked, alpha=0.2)
    order, classes = random.permutation(40), random.permutation(4)
    np.testing.assert_array_equal(conformal_sets(p[order], labels[order], asked, alpha=0.2), known)
    renamed = np.argsort(classes)
    for method in ("lac", "aps"):
        one = conformal_sets(p, labels, asked, alpha=0.2, method=method, seed=seed)
        other = conformal_sets(
            p[:, classes], renamed[labels], asked[:, classes], alpha=0.2, method=method, seed=seed
        )
        np.testing.assert_array_equal(other, one[:, classes])
        quality = set_quality(one, truth)
        assert quality == set_quality(one[::-1], truth[::-1])
        assert quality.coverage.value == one[np.arange(20), truth].mean()


@given(SEEDS, st.sampled_from([0.05, 0.1, 0.25, 0.5]))
def test_the_threshold_is_numpys_quantile_at_the_level_raised_for_n(
    seed: int, alpha: float
) -> None:
    scores = np.random.default_rng(seed).normal(size=39)
    level = min(1.0, np.ceil(40 * (1 - alpha) - 1e-9) / 39)
    known = np.quantile(scores, level, method="inverted_cdf")
    found = conformal_threshold(scores, alpha=alpha)
    assert found == known
    assert conformal_threshold(np.exp(scores[::-1]), alpha=alpha) == np.exp(found)


@given(SEEDS)
def test_adaptive_scores_are_the_mass_above_and_a_part_of_their_own(seed: int) -> None:
    p = guesses(seed)[0]
    found = aps_scores(p, generator=np.random.default_rng(seed))
    above = np.array([[row[row > own].sum() for own in row] for row in p])
    u = np.random.default_rng(seed).random((40, 1))
    np.testing.assert_allclose(found, above + u * p, atol=1e-12)
    assert ((found >= 0) & (found <= 1 + 1e-12)).all()
    np.testing.assert_array_equal(np.argsort(lac_scores(p), axis=1), np.argsort(-p, axis=1))
