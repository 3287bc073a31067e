from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, poisson
from sklearn.metrics import roc_auc_score

from regraft.errors import ConfigError, ShapeError
from regraft.measure.comparison import (
    Comparison,
    comparison_of,
    detectable_difference,
    holm,
    paired_bootstrap,
)
from regraft.measure.intervals import Interval, interval, wilson
from regraft.measure.metrics import METRICS, score, softmax
from regraft.measure.resampling import (
    AUROC_RESAMPLES,
    mean_score,
    resample_weights,
    resampled_scores,
)

PLAIN = [name for name in METRICS if name != "mean_cost"]


def arm(
    labels: NDArray[np.int64], *, seed: int, skill: float = 1.5, seeds: int = 1, n_classes: int = 3
) -> NDArray[np.float64]:
    """Return probabilities (seeds, n, C) that know the labels more or less."""
    noise = np.random.default_rng(seed).normal(size=(seeds, len(labels), n_classes))
    return softmax(noise + skill * np.eye(n_classes)[labels])


def labels_of(n: int, *, n_classes: int = 3) -> NDArray[np.int64]:
    return np.arange(n) % n_classes


def with_accuracy(n: int, right: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return probabilities (1, n, 2) of which `right` are right, and labels."""
    labels = np.arange(n) % 2
    guess = np.where(np.arange(n) < right, labels, 1 - labels)
    return np.where(np.eye(2)[guess] > 0, 0.9, 0.1)[None], labels


# resamples


def test_resamples_keep_each_stratum_its_weight() -> None:
    strata = [np.array([0, 3, 4]), np.array([1]), np.array([2, 5])]
    generator = np.random.default_rng(0)
    weights = resample_weights(strata, n_items=6, resamples=50, generator=generator)
    assert weights.shape == (6, 50)
    for rows in strata:
        np.testing.assert_allclose(weights[rows].sum(axis=0), len(rows))


@pytest.mark.parametrize("n", [2, 3, 10])
def test_resampled_means_have_the_unbiased_variance_however_few_items(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    generator = np.random.default_rng(0)
    weights = resample_weights([np.arange(n)], n_items=n, resamples=200_000, generator=generator)
    means = values @ weights / n
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.var() == pytest.approx(values.var(ddof=1) / n, rel=0.02)


@pytest.mark.parametrize("name", PLAIN)
def test_resampled_scores_equal_the_metric_of_each_resample(name: str) -> None:
    labels = labels_of(30)
    p = arm(labels, seed=1, seeds=2)
    draws = resampled_scores(name, [p], labels, resamples=7, seed=5)[0]
    by_class = METRICS[name].class_average
    strata = [np.flatnonzero(labels == c) for c in range(3)] if by_class else [np.arange(30)]
    weights = resample_weights(strata, n_items=30, resamples=7, generator=np.random.default_rng(5))
    n = len(strata[0])
    counts = np.round(weights * (n - 1) / n).astype(int)
    rows = [np.repeat(np.arange(30), counts[:, r]) for r in range(7)]
    slow = [np.mean([score(name, one[r], labels[r]) for one in p]) for r in rows]
    np.testing.assert_allclose(draws, slow, atol=1e-12)


def test_the_same_seed_gives_the_same_resamples_to_any_arms() -> None:
    labels = labels_of(40)
    a, b = arm(labels, seed=1), arm(labels, seed=2, seeds=3)
    both = resampled_scores("macro_f1", [a, b], labels, resamples=50, seed=3)
    alone = resampled_scores("macro_f1", [b], labels, resamples=50, seed=3)
    np.testing.assert_array_equal(both[1], alone[0])
    assert not np.array_equal(
        alone[0], resampled_scores("macro_f1", [b], labels, resamples=50, seed=4)[0]
    )


def test_resamples_do_not_depend_on_how_they_are_cut_into_pieces() -> None:
    labels = labels_of(6000)
    p = arm(labels, seed=1)
    draws = resampled_scores("accuracy", [p], labels, resamples=300, seed=0)[0]
    assert draws.shape == (300,)
    spread = np.sqrt(score("accuracy", p[0], labels) * (1 - score("accuracy", p[0], labels)) / 6000)
    assert draws.std() == pytest.approx(spread, rel=0.15)


def test_arms_that_do_not_fit_the_labels_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"probabilities \(1, 5, 3\) do not fit 6 labels"):
        resampled_scores("accuracy", [np.ones((1, 5, 3))], labels_of(6), resamples=2, seed=0)


# intervals


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (8, 10), (10, 10), (431, 1797)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_wilson_equals_scipys(k: int, n: int, level: float) -> None:
    found = wilson(k, n, level=level)
    known = binomtest(k, n).proportion_ci(level, method="wilson")
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-12)
    assert found.low <= found.value <= found.high


def test_wilson_refuses_what_is_no_proportion() -> None:
    with pytest.raises(ShapeError, match=r"wilson: 11 of 10 is no proportion"):
        wilson(11, 10)
    with pytest.raises(ShapeError, match=r"n ≥ 1"):
        wilson(0, 0)


def test_accuracy_gets_wilsons_interval() -> None:
    p, labels = with_accuracy(50, 40)
    found = interval("accuracy", p[0], labels)
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.8, wilson(40, 50).low, wilson(40, 50).high)
    )
    assert found.estimator == "Wilson score interval"


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("seeds", [1, 3])
def test_an_interval_holds_its_value_and_says_how_it_was_found(name: str, seeds: int) -> None:
    labels = labels_of(90)
    p = arm(labels, seed=0, seeds=seeds)
    found = interval(name, p, labels, resamples=300)
    assert found.value == pytest.approx(np.mean([score(name, one, labels) for one in p]))
    assert found.low < found.value < found.high
    assert found.n == 90
    assert ("mean of 3 seeds" in found.estimator) == (seeds == 3)
    assert (found.warning is None) == (name != "ece")


def test_accuracy_over_seeds_is_as_narrow_as_the_items_mean_answers_are_alike() -> None:
    labels = labels_of(90)
    p = arm(labels, seed=0, seeds=3)
    found = interval("accuracy", p, labels)
    rights = (p.argmax(axis=-1) == labels).mean(axis=0)
    value, z = rights.mean(), 1.959963984540054
    n = value * (1 - value) / (rights.var(ddof=1) / 90)
    assert n > 100  # the seeds' mistakes differ, so that their mean is known better than one
    root = np.sqrt(value * (1 - value) / n + z**2 / (4 * n**2))
    for end, sign in ((found.low, -1), (found.high, 1)):
        known = (value + z**2 / (2 * n) + sign * z * root) / (1 + z**2 / n)
        assert end == pytest.approx(known, abs=1e-9)
    same = interval("accuracy", np.repeat(p[:1], 3, axis=0), labels)
    alone = interval("accuracy", p[:1], labels)
    assert (same.low, same.high) == pytest.approx((alone.low, alone.high), abs=2e-3)


def test_seeds_that_are_right_on_all_items_or_none_leave_the_items_of_one_run() -> None:
    labels = labels_of(90)
    right = np.eye(3)[labels]
    found = interval("accuracy", np.stack([right, right, np.roll(right, 1, axis=1)]), labels)
    known = wilson(60, 90)
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


def test_a_wider_level_gives_a_wider_interval() -> None:
    labels = labels_of(90)
    p = arm(labels, seed=0)
    narrow = interval("macro_f1", p, labels, level=0.5)
    wide = interval("macro_f1", p, labels, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("seed", [0])
def test_macro_f1_intervals_cover_the_true_value_about_as_often_as_they_say(seed: int) -> None:
    population = labels_of(30_000)
    p = arm(population, seed=seed)[0]
    truth = score("macro_f1", p, population)
    random = np.random.default_rng(seed)
    hits = 0
    for trial in range(200):
        rows = np.concatenate(
            [random.choice(np.flatnonzero(population == c), 20, replace=False) for c in range(3)]
        )
        found = interval("macro_f1", p[rows], population[rows], resamples=300, seed=trial)
        hits += found.low <= truth <= found.high
    assert 0.89 <= hits / 200 <= 0.99


def test_a_bootstrap_of_accuracy_agrees_with_the_normal_approximation() -> None:
    p, labels = with_accuracy(400, 300)
    found = interval("weighted_f1", p, labels, resamples=4000)
    half = norm.ppf(0.975) * np.sqrt(0.75 * 0.25 / 400)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.08)


@pytest.mark.parametrize("name", ["macro_f1", "balanced_accuracy", "auroc", "weighted_f1"])
def test_a_perfect_score_is_not_certain(name: str) -> None:
    p, labels = with_accuracy(40, 40)
    found = interval(name, p, labels)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(wilson(40, 40).low)
    assert found.warning == "fewer than 5 answers are wrong: the interval is rough"


def test_few_items_are_noted() -> None:
    p, labels = with_accuracy(20, 15)
    assert interval("macro_f1", p, labels).warning == "20 items are few: the interval is rough"
    labels = np.array([0] * 40 + [1] * 2 + [2] * 10)
    warning = interval("macro_f1", arm(labels, seed=0), labels).warning
    assert warning == "a class has 2 items: the interval is rough"


def test_an_undefined_metric_has_no_spread() -> None:
    found = interval("auroc", np.full((40, 2), 0.5), np.zeros(40, np.int64))
    assert np.isnan([found.value, found.low, found.high]).all()


def test_negative_costs_keep_the_interval_around_the_value() -> None:
    labels = labels_of(60)
    found = interval("mean_cost", arm(labels, seed=0), labels, costs=-np.eye(3))
    assert found.low < found.value < found.high < 0


def test_an_interval_has_a_plain_record() -> None:
    found = Interval(0.5, 0.4, 0.6, 10, "x")
    assert found.to_json() == {
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n": 10,
        "estimator": "x",
        "level": 0.95,
        "warning": None,
    }


# comparisons


@pytest.mark.parametrize("name", [name for name in PLAIN if name != "ece"])
def test_the_better_arm_comes_out_ahead_whatever_the_metrics_direction(name: str) -> None:
    labels = labels_of(300)
    good, poor = arm(labels, seed=0, skill=3.0), arm(labels, seed=1, skill=1.0)
    found = paired_bootstrap(name, good, poor, labels, resamples=500)
    assert found.difference > 0
    assert found.low > 0
    assert found.is_better
    assert found.p < 0.05


@given(st.integers(0, 1000), st.sampled_from(["accuracy", "macro_f1", "log_loss"]))
def test_turning_the_comparison_round_turns_its_sign(seed: int, name: str) -> None:
    labels = labels_of(30)
    a, b = arm(labels, seed=seed), arm(labels, seed=seed + 1, seeds=2)
    ab = paired_bootstrap(name, a, b, labels, resamples=100, seed=seed)
    ba = paired_bootstrap(name, b, a, labels, resamples=100, seed=seed)
    assert ab.difference == pytest.approx(-ba.difference)
    assert ab.p == pytest.approx(ba.p)
    assert (ab.low, ab.high) == pytest.approx((-ba.high, -ba.low))


def test_an_arm_ties_with_itself() -> None:
    labels = labels_of(60)
    a = arm(labels, seed=0)
    found = paired_bootstrap("macro_f1", a, a, labels, resamples=200)
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    assert found.tie
    assert not found.is_better
    assert not found.is_worse


def test_pairing_sees_a_difference_that_two_intervals_would_hide() -> None:
    p, labels = with_accuracy(400, 300)
    better = p.copy()
    better[0, 380:] = p[0, 380:, ::-1]
    found = paired_bootstrap("accuracy", better, p, labels)
    assert found.difference == pytest.approx(0.05)
    assert found.p < 0.001
    assert interval("accuracy", better, labels).low < interval("accuracy", p, labels).high


def test_the_paired_difference_of_accuracies_has_its_known_spread() -> None:
    p, labels = with_accuracy(300, 200)
    q = p.copy()
    q[0, 190:230] = p[0, 190:230, ::-1]  # 10 right become wrong, 30 wrong become right
    found = paired_bootstrap("accuracy", q, p, labels)
    deviation = np.sqrt((40 / 300 - (20 / 300) ** 2) / 299)
    assert found.high - found.low == pytest.approx(2 * norm.ppf(0.975) * deviation, rel=0.06)
    assert detectable_difference(found) == pytest.approx(2.8016 * deviation, rel=0.06)


@pytest.mark.parametrize(("differ", "known"), [(1, 0.63), (4, 0.069), (6, 0.0226), (8, 0.0085)])
def test_a_few_items_that_differ_are_no_proof(differ: int, known: float) -> None:
    p, labels = with_accuracy(400, 300)
    better = p.copy()
    better[0, -differ:] = p[0, -differ:, ::-1]
    found = paired_bootstrap("accuracy", better, p, labels)
    # Resamples hold a Poisson(k) number X of the k items: P(|X − k| ≥ k) = P(X = 0) + P(X ≥ 2k).
    assert found.p == pytest.approx(
        poisson.pmf(0, differ) + poisson.sf(2 * differ - 1, differ), abs=0.015
    )
    assert found.p == pytest.approx(known, abs=0.015)
    assert found.tie == (differ < 5)


def test_equal_arms_are_called_different_about_one_time_in_twenty() -> None:
    labels = labels_of(60)
    calls = sum(
        not paired_bootstrap(
            "macro_f1",
            arm(labels, seed=2 * trial),
            arm(labels, seed=2 * trial + 1),
            labels,
            resamples=300,
            seed=trial,
        ).tie
        for trial in range(300)
    )
    assert 3 <= calls <= 30


def test_p_is_below_alpha_just_where_the_interval_leaves_zero_out() -> None:
    labels = labels_of(60)
    for seed in range(30):
        a, b = arm(labels, seed=seed, skill=2.0), arm(labels, seed=seed + 100)
        found = paired_bootstrap("accuracy", a, b, labels, resamples=1999, seed=seed)
        if abs(found.p - 0.05) > 0.004:
            assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_auroc_takes_fewer_resamples_and_says_so() -> None:
    labels = labels_of(30)
    found = paired_bootstrap("auroc", arm(labels, seed=0), arm(labels, seed=1), labels)
    assert found.estimator == f"paired bootstrap within classes, {AUROC_RESAMPLES} resamples"
    value = mean_score("auroc", arm(labels, seed=0), labels)
    known = roc_auc_score(labels, arm(labels, seed=0)[0], multi_class="ovr")
    assert value == pytest.approx(known)


def test_an_undefined_comparison_is_a_tie() -> None:
    nothing = np.full(10, np.nan)
    assert comparison_of("auroc", (0.5, 0.5), (nothing, nothing), n=3).p == 1.0


def test_an_unknown_metric_is_refused() -> None:
    a = arm(labels_of(6), seed=0)
    with pytest.raises(ConfigError, match="unknown metric 'acuracy'"):
        paired_bootstrap("acuracy", a, a, labels_of(6))


@pytest.mark.parametrize(
    ("p", "known"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # R: p.adjust(p, "holm")
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm_has_its_known_values(p: list[float], known: list[float]) -> None:
    assert holm(p) == pytest.approx(known)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_none_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(a >= q for a, q in zip(adjusted, p, strict=True))
    assert all(a <= min(1.0, len(p) * q) + 1e-15 for a, q in zip(adjusted, p, strict=True))
    ranks = sorted(range(len(p)), key=lambda i: p[i])
    assert all(adjusted[i] <= adjusted[j] for i, j in pairwise(ranks))


def test_a_comparison_is_read_by_its_corrected_p() -> None:
    found = Comparison(0.1, 0.01, 0.2, 0.02, 50, "x", p_adjusted=0.08)
    assert found.tie
    assert found.to_json()["tie"] is True
    assert found.to_json()["p_adjusted"] == 0.08
