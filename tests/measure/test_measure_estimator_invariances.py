"""What scores of transferability must not depend on, on random inputs, and their known values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from made_features import Labels, Rows, items, rotation
from regraft.measure.transferability.discriminant import etran, etran_parts, ped, repelled
from regraft.measure.transferability.judging import (
    kendall_w,
    regret,
    rel_at_k,
    static_order,
    weighted_tau,
)
from regraft.measure.transferability.log_evidence import log_evidence, logme
from regraft.measure.transferability.neighbours import knn_transfer, linear_probe, parc
from regraft.measure.transferability.scatter import h_score, h_score_shrunk
from regraft.measure.transferability.separation import gbc, transrate
from regraft.measure.transferability.source_head import leep, n_leep, nce

Estimator = Callable[[Rows, Labels], float]

SEEDS = st.integers(0, 10_000)
OF_ANY_UNIT: list[Estimator] = [
    h_score,
    h_score_shrunk,
    logme,
    gbc,
    parc,
    knn_transfer,
    linear_probe,
]
OF_ANY_ORIGIN: list[Estimator] = [*(e for e in OF_ANY_UNIT if e is not logme), transrate, ped]


@pytest.mark.parametrize("estimator", OF_ANY_UNIT)
@settings(max_examples=8)
@given(seed=SEEDS)
def test_a_common_unit_does_not_matter(estimator: Estimator, seed: int) -> None:
    x, labels = items(seed, n=30, d=5)
    unit = 10.0 ** np.random.default_rng(seed).uniform(-2, 2)
    known = estimator(x, labels)
    assert estimator(unit * x, labels) == pytest.approx(known, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("estimator", OF_ANY_ORIGIN)
@settings(max_examples=8)
@given(seed=SEEDS)
def test_the_origin_does_not_matter(estimator: Estimator, seed: int) -> None:
    x, labels = items(seed, n=30, d=5)
    origin = np.random.default_rng(seed).normal(size=5)
    known = estimator(x, labels)
    assert estimator(x + origin, labels) == pytest.approx(known, rel=1e-5, abs=1e-7)


def test_clusters_ignore_unit_and_origin_but_for_what_rounding_does_to_k_means() -> None:
    # A tie that rounding decides otherwise leads EM to another optimum, in about 1 set of 100.
    apart = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        x, labels = items(seed, n=30, d=5)
        unit, origin = 10.0 ** random.uniform(-2, 2), random.normal(size=5)
        apart.append(abs(n_leep(unit * x + origin, labels) - n_leep(x, labels)))
    assert np.median(apart) < 1e-9
    assert np.quantile(apart, 0.9) < 1e-4
    assert max(apart) < 0.2


@settings(max_examples=20)
@given(SEEDS, st.integers(1, 8))
def test_the_h_score_lies_between_0_and_the_fewer_of_features_and_classes_less_one(
    seed: int, d: int
) -> None:
    x, labels = items(seed, n=40, d=d, classes=5)
    for score in (h_score, h_score_shrunk):
        assert 0.0 <= score(x, labels) <= min(d, 4) + 1e-9


# source heads


def test_a_constant_source_leaves_the_known_entropy_of_two_unequal_classes() -> None:
    labels = np.repeat([0, 1], [91, 109])
    assert leep(np.full((200, 5), 0.2), labels) == pytest.approx(-0.689092, abs=5e-7)
    assert nce(np.zeros(200), labels) == pytest.approx(-0.689092, abs=5e-7)


@given(SEEDS)
def test_source_heads_ignore_the_order_of_items_and_the_names_of_both_label_sets(
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    theta, labels = random.dirichlet(np.ones(4), size=20), np.arange(20) % 3
    source = theta.argmax(axis=1)
    order, columns = random.permutation(20), random.permutation(4)
    names = np.array(["wasp", "ant", "bee"])[labels]
    assert leep(theta[order][:, columns], names[order]) == pytest.approx(leep(theta, labels))
    assert nce(columns[source][order], names[order]) == pytest.approx(nce(source, labels))
    assert leep(theta, labels) <= 0.0
    # A source label tells at best all and at worst nothing of the target's.
    shares = np.bincount(labels) / 20
    assert (shares * np.log(shares)).sum() - 1e-12 <= nce(source, labels) <= 0.0


# evidence


@settings(max_examples=20)
@given(SEEDS, st.floats(0.05, 20.0), st.floats(0.05, 20.0))
def test_the_evidence_is_scipys_density_and_ignores_rotation_order_and_a_common_unit(
    seed: int, alpha: float, beta: float
) -> None:
    random = np.random.default_rng(seed)
    n, d = random.integers(3, 15, size=2)
    x, y = random.normal(size=(n, d)), random.normal(size=n)
    found = log_evidence(x, y, weight_precision=alpha, noise_precision=beta)
    law = multivariate_normal(np.zeros(n), np.eye(n) / beta + x @ x.T / alpha)
    assert found == pytest.approx(law.logpdf(y), rel=1e-9, abs=1e-9)
    order, turned = random.permutation(n), x @ rotation(seed, d)
    again = log_evidence(turned[order], y[order], weight_precision=alpha, noise_precision=beta)
    assert again == pytest.approx(found, rel=1e-9, abs=1e-9)
    scaled = log_evidence(3.0 * x, y, weight_precision=9.0 * alpha, noise_precision=beta)
    assert scaled == pytest.approx(found, rel=1e-9, abs=1e-9)


# ETran, PED


@settings(max_examples=15)
@given(SEEDS)
def test_etran_ignores_the_order_of_items_classes_features_and_models(seed: int) -> None:
    random = np.random.default_rng(seed)
    models = [items(seed + i, n=30, d=4, signal=0.3 + i)[0] for i in range(3)]
    labels = items(seed, n=30)[1]
    known = etran(models, labels)
    order, columns, place = random.permutation(30), random.permutation(4), random.permutation(3)
    names = np.array(["wasp", "ant", "bee"])[labels]
    other = etran([models[i][order][:, columns] for i in place], names[order])
    np.testing.assert_allclose(other, known[place], rtol=1e-6, atol=1e-8)
    assert ((known >= 0.0) & (known <= 2.0)).all()
    plain, moved = etran_parts(models[0], labels), etran_parts(models[0] + 2.5, labels)
    assert moved.energy == pytest.approx(plain.energy + 2.5)
    assert moved.classification == pytest.approx(plain.classification)


@settings(max_examples=15)
@given(SEEDS)
def test_the_push_follows_items_features_units_and_origin(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, labels = items(seed, n=30, d=4, signal=0.5)
    known = repelled(x, labels, reach=2.0)
    order, columns = random.permutation(30), random.permutation(4)
    other = repelled(x[order][:, columns], 7 - labels[order], reach=2.0)
    np.testing.assert_allclose(other, known[order][:, columns], atol=1e-9)
    units, origin = random.uniform(0.1, 10.0, 4), random.normal(size=4)
    np.testing.assert_allclose(
        repelled(x * units + origin, labels, reach=2.0), known * units + origin, atol=1e-8
    )
    # Actio est reactio: the mean of classes of equal size stays where it is.
    np.testing.assert_allclose(known.mean(axis=0), x.mean(axis=0), atol=1e-12)


# the judge


@given(st.permutations(range(7)), st.permutations(range(7)), SEEDS)
def test_the_judge_ignores_the_order_of_models_and_any_monotone_unit(
    first: list[int], second: list[int], seed: int
) -> None:
    scores, accuracies = np.array(first) - 3.0, (np.array(second) + 1) / 8
    order = np.random.default_rng(seed).permutation(7)
    for quality in (weighted_tau, rel_at_k, regret):
        known = quality(scores, accuracies)
        assert quality(scores[order], accuracies[order]) == pytest.approx(known)
        assert quality(np.exp(scores), accuracies) == pytest.approx(known)
    assert weighted_tau(accuracies, scores) == pytest.approx(weighted_tau(scores, accuracies))
    assert weighted_tau(scores, np.exp(accuracies)) == pytest.approx(
        weighted_tau(scores, accuracies)
    )


@given(SEEDS)
def test_orders_over_tasks_ignore_the_order_of_tasks_and_follow_that_of_models(seed: int) -> None:
    random = np.random.default_rng(seed)
    table = random.normal(size=(4, 6))
    tasks, models = random.permutation(4), random.permutation(6)
    turned = table[tasks][:, models]
    assert kendall_w(turned) == pytest.approx(kendall_w(table))
    assert kendall_w(np.exp(table)) == pytest.approx(kendall_w(table))
    assert 0.0 <= kendall_w(table) <= 1.0
    np.testing.assert_allclose(static_order(turned), static_order(table)[models])
    ranks = (table[:, None] > table[:, :, None]).sum(axis=2) + 1
    np.testing.assert_allclose(static_order(table), -ranks.mean(axis=0))
