from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regraft.errors import ShapeError
from regraft.measure.conformal import (
    Method,
    aps_scores,
    conformal_sets,
    conformal_threshold,
    lac_scores,
    set_quality,
)
from regraft.measure.metrics import softmax

METHODS: tuple[Method, ...] = get_args(Method)


def items(
    random: np.random.Generator, n: int, *, sureness: float = 3.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return probabilities of a model that is too sure of itself above 1, and labels."""
    logits = 1.5 * random.normal(size=(n, 5))
    shares = softmax(logits).cumsum(axis=1)
    labels = (random.uniform(size=(n, 1)) > shares).sum(axis=1).clip(max=4)
    return softmax(sureness * logits), labels


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_coverage_is_what_was_asked_within_one_percent(method: Method, alpha: float) -> None:
    random = np.random.default_rng(7)
    covered = []
    for repeat in range(40):
        p, labels = items(random, 1500)
        sets = conformal_sets(
            p[:500], labels[:500], p[500:], alpha=alpha, method=method, seed=repeat
        )
        covered.append(set_quality(sets, labels[500:]).coverage.value)
    assert np.mean(covered) == pytest.approx(1 - alpha, abs=0.01)


def test_the_overconfident_model_itself_would_not_cover() -> None:
    p, labels = items(np.random.default_rng(7), 4000)
    naive = aps_scores(p, generator=np.random.default_rng(0)) <= 0.9
    assert set_quality(naive, labels).coverage.value < 0.8


def test_lac_sets_are_the_smaller_ones_on_average_for_true_probabilities() -> None:
    p, labels = items(np.random.default_rng(3), 6000, sureness=1.0)
    sizes = [
        set_quality(
            conformal_sets(p[:3000], labels[:3000], p[3000:], method=method), labels[3000:]
        ).mean_size
        for method in METHODS
    ]
    assert sizes[0] < sizes[1]


def test_scores_of_a_worked_case() -> None:
    p = np.array([[0.2, 0.5, 0.3]])
    np.testing.assert_allclose(lac_scores(p), [[0.8, 0.5, 0.7]])
    u = np.random.default_rng(0).random()
    found = aps_scores(p, generator=np.random.default_rng(0))
    np.testing.assert_allclose(found, [[0.8 + 0.2 * u, 0.5 * u, 0.5 + 0.3 * u]])


@pytest.mark.parametrize(
    ("n", "alpha", "rank"), [(9, 0.1, 9), (19, 0.1, 18), (99, 0.05, 95), (10, 0.5, 6)]
)
def test_the_threshold_is_the_right_order_statistic(n: int, alpha: float, rank: int) -> None:
    scores = np.random.default_rng(n).permutation(np.arange(1, n + 1)).astype(float)
    assert conformal_threshold(scores, alpha=alpha) == rank


def test_too_few_calibration_items_give_every_class() -> None:
    p = softmax(np.random.default_rng(0).normal(size=(6, 3)))
    assert conformal_sets(p, np.array([0, 1, 2, 0, 1, 2]), p, alpha=0.1).all()


@given(st.integers(0, 10_000))
def test_sets_grow_as_alpha_shrinks(seed: int) -> None:
    p, labels = items(np.random.default_rng(seed), 80)
    for method in METHODS:
        wide, narrow = (
            conformal_sets(p[:40], labels[:40], p[40:], alpha=a, method=method, seed=seed)
            for a in (0.1, 0.4)
        )
        assert (wide | ~narrow).all()


def test_quality_counts_sizes() -> None:
    sets = np.array([[True, False], [False, False], [True, True], [False, True]])
    quality = set_quality(sets, np.array([0, 0, 1, 0]))
    assert quality.coverage.value == 0.5
    assert quality.coverage.n == 4
    assert (quality.mean_size, quality.empty, quality.single) == (1.0, 0.25, 0.5)


def test_what_does_not_fit_is_refused() -> None:
    p = np.full((4, 2), 0.5)
    with pytest.raises(
        ShapeError, match=r"conformal_sets: probabilities \(4, 2\) and labels \(3,\)"
    ):
        conformal_sets(p, np.zeros(3, int), p)
    with pytest.raises(ShapeError, match="do not have the 2 classes"):
        conformal_sets(p, np.zeros(4, int), np.full((1, 3), 1 / 3))
    with pytest.raises(ShapeError, match="alpha 0"):
        conformal_threshold(np.zeros(3), alpha=0)
    with pytest.raises(ShapeError, match="labels reach from -1 to 0, classes from 0 to 1"):
        conformal_sets(p, np.array([0, 0, 0, -1]), p)
    with pytest.raises(ShapeError, match="set_quality"):
        set_quality(p > 0, np.zeros(3, int))
