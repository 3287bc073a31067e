from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import regraft as rg
from made_features import Labels, Rows, items, rotation
from regraft.errors import ShapeError
from regraft.measure.transferability.discriminant import etran, etran_parts, ped, repelled, sfda
from regraft.measure.transferability.log_evidence import log_evidence, logme
from regraft.measure.transferability.neighbours import (
    knn_transfer,
    linear_probe,
    parc,
)
from regraft.measure.transferability.scatter import h_score, h_score_shrunk
from regraft.measure.transferability.separation import gbc, transrate
from regraft.measure.transferability.source_head import leep, n_leep, nce

Estimator = Callable[[Rows, Labels], float]

ESTIMATORS: list[Estimator] = [
    h_score,
    h_score_shrunk,
    n_leep,
    logme,
    sfda,
    ped,
    transrate,
    gbc,
    parc,
    knn_transfer,
    linear_probe,
]
ROTATION_INVARIANT = [h_score, h_score_shrunk, logme, sfda, transrate, gbc, knn_transfer]
ROTATION_INVARIANT += [linear_probe]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_informative_features_score_above_noise(estimator: Estimator) -> None:
    x, labels = items(0, n=120, d=6)
    noise = np.random.default_rng(1).normal(size=x.shape) * x.std(axis=0)
    assert estimator(x, labels) > estimator(noise, labels)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_score_is_a_repeatable_number_and_leaves_the_features_alone(estimator: Estimator) -> None:
    x, labels = items(0)
    before = x.copy()
    score = estimator(x.astype(np.float32), labels)
    assert isinstance(score, float)
    assert np.isfinite(score)
    assert estimator(x.astype(np.float32), labels) == score
    estimator(x, labels)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fewer_items_than_features_are_scored(estimator: Estimator) -> None:
    x, labels = items(0, n=12, d=30)
    assert np.isfinite(estimator(x, labels))


@pytest.mark.parametrize("estimator", [e for e in ESTIMATORS if e is not n_leep])
@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_rows_and_the_names_of_classes_do_not_matter(
    estimator: Estimator, seed: int
) -> None:
    x, labels = items(seed, n=30, d=5)
    order = np.random.default_rng(seed).permutation(len(x))
    names = np.array(["wasp", "ant", "bee"])
    known = estimator(x, labels)
    assert estimator(x[order], labels[order]) == pytest.approx(known, rel=1e-6, abs=1e-8)
    assert estimator(x, names[labels]) == pytest.approx(known, rel=1e-6, abs=1e-8)


def test_the_names_of_classes_do_not_matter_to_clusters() -> None:
    x, labels = items(0)
    assert n_leep(x, np.array(["c", "a", "b"])[labels]) == pytest.approx(n_leep(x, labels))


@pytest.mark.parametrize("estimator", ROTATION_INVARIANT)
@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_a_rotation_does_not_matter(estimator: Estimator, seed: int) -> None:
    x, labels = items(seed, n=30, d=5)
    turned = x @ rotation(seed + 1, 5)
    assert estimator(turned, labels) == pytest.approx(estimator(x, labels), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_features_that_never_vary_are_no_better_than_noise(estimator: Estimator) -> None:
    x, labels = items(0)
    score = estimator(np.ones_like(x), labels)
    assert np.isfinite(score)
    assert score <= estimator(x, labels)


@pytest.mark.parametrize("estimator", [*ESTIMATORS, etran_parts])
def test_one_class_one_item_and_wrong_shapes_are_refused(estimator: Estimator) -> None:
    x, labels = items(0)
    with pytest.raises(ShapeError, match="all labels are of one class"):
        estimator(x, np.zeros_like(labels))
    with pytest.raises(ShapeError, match="n ≥ 2"):
        estimator(x[:1], labels[:1])
    with pytest.raises(ShapeError, match=r"features \(59, 8\) do not fit 60 labels"):
        estimator(x[1:], labels)
    with pytest.raises(ShapeError, match="not finite"):
        estimator(np.where(x > 2, np.nan, x), labels)


def test_every_name_of_the_room_leads_to_what_it_says() -> None:
    others = (nce, leep, etran, etran_parts, repelled, log_evidence)
    for estimator in (*ESTIMATORS, *others):
        assert getattr(rg.measure, estimator.__name__) is estimator
    with pytest.raises(AttributeError, match="no attribute 'lgme'"):
        _ = rg.measure.lgme
