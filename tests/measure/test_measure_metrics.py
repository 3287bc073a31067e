from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from regraft.errors import ConfigError, ShapeError
from regraft.measure.metrics import (
    METRICS,
    all_scores,
    confusion,
    decide,
    metric_named,
    per_class,
    score,
    softmax,
    weighted_metric,
)

PLAIN = [name for name in METRICS if name != "mean_cost"]


def problem(
    seed: int, *, n: int = 60, n_classes: int = 4, levels: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return probabilities (n, C) and labels (n,); few levels make many ties."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, n_classes, n)
    labels[:n_classes] = np.arange(n_classes)
    logits = random.normal(size=(n, n_classes)) + 1.2 * np.eye(n_classes)[labels]
    if levels is not None:
        logits = np.round(logits * levels) / levels
    return softmax(logits), labels


def reference(name: str, p: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Return a metric as scikit-learn computes it."""
    guess, every = p.argmax(axis=1), list(range(p.shape[1]))
    if name == "auroc":
        if p.shape[1] == 2:
            return float(sk.roc_auc_score(y, p[:, 1]))
        return float(sk.roc_auc_score(y, p, multi_class="ovr", average="macro"))
    by_name = {
        "accuracy": lambda: sk.accuracy_score(y, guess),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(y, guess),
        "macro_f1": lambda: sk.f1_score(y, guess, average="macro", zero_division=0.0),
        "weighted_f1": lambda: sk.f1_score(y, guess, average="weighted", zero_division=0.0),
        "log_loss": lambda: sk.log_loss(y, p, labels=every),
        "brier": lambda: ((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1).mean(),
    }
    return float(by_name[name]())


@pytest.mark.parametrize("name", [name for name in PLAIN if name != "ece"])
@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("levels", [None, 1])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_metric_equals_scikit_learns(
    name: str, n_classes: int, levels: int | None, seed: int
) -> None:
    p, y = problem(seed, n_classes=n_classes, levels=levels)
    assert score(name, p, y) == pytest.approx(reference(name, p, y), abs=1e-12)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_whole_weights_count_items_as_repeating_them_does(name: str, seed: int) -> None:
    p, y = problem(seed, levels=2)
    counts = np.random.default_rng(seed).integers(0, 4, len(y))
    repeated = np.repeat(np.arange(len(y)), counts)
    weighted = weighted_metric(name, p, y)(counts[:, None].astype(np.float64))
    assert weighted[0] == pytest.approx(score(name, p[repeated], y[repeated]), abs=1e-12)


@pytest.mark.parametrize("name", PLAIN)
def test_many_weights_at_once_equal_one_at_a_time(name: str) -> None:
    p, y = problem(3)
    weights = np.random.default_rng(0).uniform(0.1, 2.0, size=(len(y), 5))
    of = weighted_metric(name, p, y)
    one_by_one = [of(weights[:, [r]])[0] for r in range(5)]
    np.testing.assert_allclose(of(weights), one_by_one, rtol=1e-12)


@given(st.integers(0, 10_000), st.sampled_from(PLAIN))
def test_the_order_of_items_does_not_matter(seed: int, name: str) -> None:
    p, y = problem(seed, n=25, levels=1)
    order = np.random.default_rng(seed).permutation(len(y))
    assert score(name, p[order], y[order]) == pytest.approx(score(name, p, y), abs=1e-12)


@given(st.integers(0, 10_000), st.sampled_from(PLAIN))
def test_the_names_of_classes_do_not_matter(seed: int, name: str) -> None:
    p, y = problem(seed, n=25)
    order = np.random.default_rng(seed).permutation(p.shape[1])
    renamed = np.argsort(order)[y]
    assert score(name, p[:, order], renamed) == pytest.approx(score(name, p, y), abs=1e-12)


def test_auroc_of_reversed_scores_is_its_complement() -> None:
    p, y = problem(5, n_classes=2)
    assert score("auroc", p[:, ::-1], y) == pytest.approx(1 - score("auroc", p, y))


def test_auroc_of_equal_scores_is_one_half() -> None:
    assert score("auroc", np.full((6, 3), 1 / 3), np.array([0, 1, 2, 0, 1, 2])) == 0.5


def test_auroc_leaves_out_classes_without_items() -> None:
    p, y = problem(6, n_classes=3)
    two = y != 2
    parts = [sk.roc_auc_score(y[two] == c, p[two, c]) for c in (0, 1)]
    assert score("auroc", p[two], y[two]) == pytest.approx(np.mean(parts))


def test_auroc_of_one_class_is_undefined_and_left_out_of_all_scores() -> None:
    p, y = np.full((3, 2), 0.5), np.zeros(3, np.int64)
    assert np.isnan(score("auroc", p, y))
    assert set(all_scores(p, y)) == set(PLAIN) - {"auroc"}


def test_uniform_probabilities_have_the_known_brier_score_and_log_loss() -> None:
    p, y = np.full((10, 10), 0.1), np.arange(10)
    assert score("brier", p, y) == pytest.approx(0.9)
    assert score("log_loss", p, y) == pytest.approx(2.302585, abs=1e-6)


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    assert score("log_loss", np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(
        36.0437, abs=1e-3
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_sums_to_one_and_ignores_shifts(dtype: type) -> None:
    logits = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(dtype)
    p = softmax(logits)
    np.testing.assert_allclose(p.sum(axis=-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(softmax(logits + dtype(1000)), p, atol=1e-4)
    assert np.isfinite(softmax(np.array([[1e4, -1e4]]))).all()


def test_softmax_leaves_its_argument_alone() -> None:
    logits = np.array([[1.0, 2.0]])
    softmax(logits)
    np.testing.assert_array_equal(logits, [[1.0, 2.0]])


def test_zero_one_costs_decide_as_no_costs_do() -> None:
    p, _ = problem(8)
    np.testing.assert_array_equal(decide(p, 1.0 - np.eye(4)), decide(p))


def test_decisions_under_costs_have_the_lowest_expected_cost() -> None:
    p, y = problem(9)
    costs = np.random.default_rng(0).uniform(0, 5, size=(4, 4))
    expected = [[sum(p[i, t] * costs[t, c] for t in range(4)) for c in range(4)] for i in range(60)]
    np.testing.assert_array_equal(decide(p, costs), np.argmin(expected, axis=1))
    mean = np.mean([costs[t, c] for t, c in zip(y, decide(p, costs), strict=True)])
    assert score("mean_cost", p, y, costs=costs) == pytest.approx(mean)
    assert all_scores(p, y, costs)["mean_cost"] == pytest.approx(mean)


def test_costs_change_label_metrics_and_no_other() -> None:
    p, y = problem(10)
    costs = np.ones((4, 4)) * np.array([0.0, 9.0, 9.0, 9.0])
    with_costs, without = all_scores(p, y, costs), all_scores(p, y)
    assert with_costs["accuracy"] == np.mean(y == 0)
    for name in ("auroc", "log_loss", "brier", "ece"):
        assert with_costs[name] == without[name]


def test_confusion_and_per_class_equal_scikit_learns() -> None:
    p, y = problem(11)
    guess = p.argmax(axis=1)
    np.testing.assert_array_equal(confusion(p, y), sk.confusion_matrix(y, guess))
    precision, recall, f1, n = sk.precision_recall_fscore_support(y, guess, zero_division=0.0)
    rows = per_class(p, y)
    np.testing.assert_allclose([row.precision for row in rows], precision)
    np.testing.assert_allclose([row.recall for row in rows], recall)
    np.testing.assert_allclose([row.f1 for row in rows], f1)
    np.testing.assert_array_equal([row.n for row in rows], n)


def test_a_class_that_is_never_right_nor_there_scores_zero() -> None:
    rows = per_class(np.array([[0.9, 0.1, 0.0]]), np.array([0]))
    assert (rows[2].precision, rows[2].recall, rows[2].f1, rows[2].n) == (0.0, 0.0, 0.0, 0)


def test_directions_are_signs() -> None:
    assert {m.name for m in METRICS.values() if m.sign < 0} == {
        "log_loss",
        "brier",
        "ece",
        "mean_cost",
    }


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown metric 'macro_f'\. Did you mean 'macro_f1'\?"):
        metric_named("macro_f")


def test_mean_cost_needs_costs() -> None:
    p, y = problem(0)
    with pytest.raises(ConfigError, match=r"'mean_cost' needs costs\. Give task\.costs"):
        score("mean_cost", p, y)


@pytest.mark.parametrize("name", PLAIN)
def test_logits_are_no_probabilities(name: str) -> None:
    probabilities, labels = problem(0)
    with pytest.raises(ShapeError, match=r"row 0 holds no probabilities: it sums to .* softmax"):
        score(name, np.log(probabilities), labels)
    raised = probabilities.copy()
    raised[3] *= 1.01
    with pytest.raises(ShapeError, match=r"row 3 holds no probabilities: it sums to 1.01, its"):
        score(name, raised, labels)
    rounded = probabilities.astype(np.float16)  # rounding is no fault
    assert score(name, rounded, labels) == pytest.approx(
        score(name, probabilities, labels), abs=0.02
    )


def test_shapes_that_do_not_fit_are_refused() -> None:
    p, y = problem(0)
    with pytest.raises(ShapeError, match=r"probabilities \(60, 4\) and labels \(59,\) do not fit"):
        score("accuracy", p, y[1:])
    with pytest.raises(ShapeError, match=r"label 4 is not among the 4 classes \(0…3\)"):
        score("accuracy", p, np.where(np.arange(60) == 7, 4, y))
    with pytest.raises(ShapeError, match=r"label -1 is not among the 4 classes"):
        confusion(p, np.where(np.arange(60) == 7, -1, y))
    with pytest.raises(ShapeError, match=r"costs \(2, 2\) do not fit 4 classes"):
        score("accuracy", p, y, costs=np.zeros((2, 2)))
