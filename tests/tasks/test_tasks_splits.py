from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from regraft.tasks.splits import (
    development_folds,
    hold_out,
    latest,
    nested_subset,
    without_repeats,
)

Labels = np.ndarray[Any, Any]


@st.composite
def labelled(draw: st.DrawFn, *, least: int = 2, most: int = 60) -> Labels:
    counts = draw(st.lists(st.integers(least, most), min_size=2, max_size=5))
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(draw(st.integers(0, 1000))).permutation(labels)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[Labels, Labels]:
    labels = draw(labelled(least=8))
    n_groups = draw(st.integers(6, 30))
    groups = np.random.default_rng(draw(st.integers(0, 1000))).integers(0, n_groups, len(labels))
    return labels, groups


SEEDS = st.integers(0, 2**31)


@given(labelled(), st.sampled_from([0.1, 0.2, 0.5]), SEEDS)
def test_a_hold_out_takes_its_share_of_every_class(labels: Labels, share: float, seed: int) -> None:
    taken = hold_out(labels, np.arange(len(labels)), share=share, least=2, seed=seed, name="x")
    counts, held = np.bincount(labels), np.bincount(labels[taken], minlength=labels.max() + 1)
    expected = np.maximum(np.round(counts * share), np.minimum(2, counts - 1))
    assert np.array_equal(held, np.minimum(expected, counts - 1))
    assert np.array_equal(taken, np.unique(taken))


@given(grouped(), SEEDS)
def test_groups_never_straddle_a_hold_out_and_every_class_remains(
    data: tuple[Labels, Labels], seed: int
) -> None:
    labels, groups = data
    taken = hold_out(labels, groups, share=0.2, least=1, seed=seed, name="x")
    left = np.setdiff1d(np.arange(len(labels)), taken)
    assert not set(groups[taken]) & set(groups[left])
    assert set(labels[left]) == set(labels)


@given(SEEDS)
def test_a_hold_out_by_groups_has_about_the_share_and_all_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 100, 2000)
    labels = rng.integers(0, 3, 2000)
    taken = hold_out(labels, groups, share=0.2, least=1, seed=seed, name="x")
    assert 0.15 < len(taken) / 2000 < 0.25
    assert set(labels[taken]) == {0, 1, 2}


def test_a_class_in_one_group_stays_with_what_trains() -> None:
    labels = np.array([0] * 20 + [1] * 20 + [2] * 5)
    groups = np.array([*range(40), *[99] * 5])
    taken = hold_out(labels, groups, share=0.2, least=1, seed=0, name="x")
    assert set(labels[taken]) == {0, 1}


def test_two_groups_that_hold_everything_are_not_broken() -> None:
    labels, groups = np.tile([0, 1], 50), np.repeat([0, 1], 50)
    taken = hold_out(labels, groups, share=0.2, least=1, seed=0, name="x")
    assert len(set(groups[taken])) == 1


@given(labelled(), SEEDS)
def test_folds_are_a_partition_and_no_row_both_trains_and_validates(
    labels: Labels, seed: int
) -> None:
    n, n_classes = len(labels), labels.max() + 1
    folds = development_folds(
        labels, np.arange(n), n_classes=n_classes, share=0.2, seed=seed, times=None
    )
    for fold in folds:
        assert np.array_equal(np.sort(np.concatenate([fold.train, fold.validation])), np.arange(n))
        assert set(labels[fold.train]) == set(labels)
    if len(folds) > 1:
        validated = np.sort(np.concatenate([fold.validation for fold in folds]))
        assert np.array_equal(validated, np.arange(n))
    assert (len(folds) > 1) == (n <= 10 * n_classes)


@given(labelled(most=9), SEEDS)
def test_cross_validation_is_stratified(labels: Labels, seed: int) -> None:
    folds = development_folds(
        labels, np.arange(len(labels)), n_classes=labels.max() + 1, share=0.2, seed=seed, times=None
    )
    assert len(folds) == min(5, np.bincount(labels).min())
    for label in set(labels):
        held = [int((labels[fold.validation] == label).sum()) for fold in folds]
        assert max(held) - min(held) <= 1


@given(grouped(), SEEDS)
def test_groups_never_straddle_folds(data: tuple[Labels, Labels], seed: int) -> None:
    labels, groups = data
    folds = development_folds(
        labels, groups, n_classes=labels.max() + 1, share=0.2, seed=seed, times=None
    )
    for fold in folds:
        assert not set(groups[fold.train]) & set(groups[fold.validation])


def test_one_label_a_class_leaves_nothing_to_validate() -> None:
    labels = np.array([0, 1, 2])
    assert development_folds(labels, labels, n_classes=3, share=0.2, seed=0, times=None) == ()


@given(labelled(least=1), st.integers(1, 20), st.integers(0, 20), SEEDS)
def test_label_budgets_are_nested_and_stratified(
    labels: Labels, budget: int, more: int, seed: int
) -> None:
    small = nested_subset(labels, budget, seed=seed)
    large = nested_subset(labels, budget + more, seed=seed)
    assert set(small) <= set(large)
    held = np.bincount(labels[small], minlength=labels.max() + 1)
    assert np.array_equal(held, np.minimum(np.bincount(labels), budget))


@given(st.lists(st.integers(0, 50), min_size=2, max_size=60), st.sampled_from([0.1, 0.2, 0.5]))
def test_the_newest_are_newer_than_the_rest(values: list[int], share: float) -> None:
    times = np.array(values, float)
    assume(len(set(values)) > 1)
    newest = latest(times, share=share)
    rest = np.setdiff1d(np.arange(len(times)), newest)
    assert len(newest)
    assert not len(rest) or times[rest].max() < times[newest].min()


def test_by_time_the_newest_validate() -> None:
    times = np.arange(50.0)[::-1]
    labels = np.tile([0, 1], 25)
    (fold,) = development_folds(labels, labels, n_classes=2, share=0.2, seed=0, times=times)
    assert fold.validation.tolist() == list(range(10))


def test_what_repeats_a_validation_item_does_not_train() -> None:
    labels, groups = np.tile([0, 1], 20), np.arange(40)
    repeats = np.where(groups < 4, 0, groups)
    folds = development_folds(labels, groups, n_classes=2, share=0.2, seed=0, times=None)
    for fold in without_repeats(folds, repeats):
        assert not set(repeats[fold.train]) & set(repeats[fold.validation])


@pytest.mark.parametrize("n", [20_000])
def test_many_items_are_split_without_comparing_pairs(n: int) -> None:
    labels = np.arange(n) % 100
    taken = hold_out(labels, np.arange(n), share=0.2, least=1, seed=0, name="x")
    assert len(taken) == n // 5
