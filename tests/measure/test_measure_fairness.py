from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from regraft.errors import ConfigError, ShapeError
from regraft.measure.groups import (
    by_group,
    demographic_parity_difference,
    equalized_odds_difference,
    fairness,
    group_rates,
    worst_group,
)
from regraft.measure.intervals import wilson

LABELS = np.array([1, 1, 0, 0, 1, 1, 1, 0])
PREDICTIONS = np.array([1, 0, 0, 0, 1, 1, 1, 1])
GROUPS = list("aaaabbbb")


def drawn(seed: int, n: int = 60, groups: int = 3) -> tuple[np.ndarray, np.ndarray, list[str]]:
    random = np.random.default_rng(seed)
    return (
        random.integers(0, 2, n),
        random.integers(0, 2, n),
        [f"g{i}" for i in random.integers(0, groups, n)],
    )


def test_a_worked_case() -> None:
    rates = group_rates(PREDICTIONS, LABELS, GROUPS)
    assert [rates[g].n for g in "ab"] == [4, 4]
    assert [rates[g].selection.value for g in "ab"] == [0.25, 1.0]
    positives = [rates[g].true_positive for g in "ab"]
    others = [rates[g].false_positive for g in "ab"]
    assert [one.value for one in positives if one] == [0.5, 1.0]
    assert [(one.value, one.n) for one in others if one] == [(0.0, 2), (1.0, 1)]
    assert demographic_parity_difference(rates) == 0.75
    assert equalized_odds_difference(rates) == 1.0


@given(st.integers(0, 1000))
def test_identical_groups_have_no_gap(seed: int) -> None:
    predictions, labels, _ = drawn(seed)
    twice = group_rates(
        np.tile(predictions, 2), np.tile(labels, 2), ["a"] * len(labels) + ["b"] * len(labels)
    )
    assert demographic_parity_difference(twice) == 0.0
    assert equalized_odds_difference(twice) == 0.0


@given(st.integers(0, 1000), st.permutations(["g0", "g1", "g2"]))
def test_names_and_order_of_groups_do_not_matter(seed: int, names: list[str]) -> None:
    predictions, labels, groups = drawn(seed)
    renamed = [names[int(g[1])] for g in groups]
    order = np.random.default_rng(seed).permutation(len(labels))
    one = group_rates(predictions, labels, groups)
    other = group_rates(predictions[order], labels[order], [renamed[i] for i in order])
    assert demographic_parity_difference(one) == demographic_parity_difference(other)
    assert equalized_odds_difference(one) == equalized_odds_difference(other)


@pytest.mark.parametrize("seed", range(5))
def test_the_gaps_equal_fairlearns(seed: int) -> None:
    fairlearn = pytest.importorskip("fairlearn.metrics", reason="fairlearn is not installed")
    predictions, labels, groups = drawn(seed)
    rates = group_rates(predictions, labels, groups)
    assert demographic_parity_difference(rates) == pytest.approx(
        fairlearn.demographic_parity_difference(labels, predictions, sensitive_features=groups)
    )
    assert equalized_odds_difference(rates) == pytest.approx(
        fairlearn.equalized_odds_difference(labels, predictions, sensitive_features=groups)
    )
    frame = fairlearn.MetricFrame(
        metrics=fairlearn.selection_rate,
        y_true=labels,
        y_pred=predictions,
        sensitive_features=groups,
    )
    assert {g: one.selection.value for g, one in rates.items()} == pytest.approx(
        frame.by_group.to_dict()
    )


def test_a_group_without_positives_makes_no_gap() -> None:
    rates = group_rates(np.array([1, 1, 0]), np.array([1, 1, 0]), ["a", "a", "b"])
    assert rates["b"].true_positive is None
    assert rates["a"].false_positive is None
    assert equalized_odds_difference(rates) == 0.0
    assert demographic_parity_difference(rates) == 1.0


def test_the_metric_of_each_group_is_that_of_its_items() -> None:
    predictions, labels, groups = drawn(11, 90)
    p = np.eye(2)[predictions] * 0.8 + 0.1
    names = np.array(groups)
    for metric in ("accuracy", "macro_f1"):
        found = by_group(metric, p, labels, groups, resamples=50)
        for name, one in found.items():
            rows = names == name
            right = (predictions == labels)[rows]
            assert one.n == rows.sum()
            assert one.low <= one.value <= one.high
            if metric == "accuracy":
                expected = wilson(int(right.sum()), len(right))
                assert (one.low, one.high) == pytest.approx((expected.low, expected.high))
            else:
                f1 = f1_score(labels[rows], predictions[rows], average="macro")
                assert one.value == pytest.approx(f1)


def test_the_whole_picture_names_the_worst_group() -> None:
    p = np.eye(2)[PREDICTIONS] * 0.8 + 0.1
    labels = np.array([1, 1, 0, 0, 0, 1, 1, 0])
    found = fairness("accuracy", p, labels, GROUPS)
    assert {name: one.value for name, one in found.groups.items()} == {"a": 0.75, "b": 0.5}
    assert (found.worst, found.gap, found.demographic_parity) == ("b", 0.25, 0.75)
    loss = fairness("log_loss", p, labels, GROUPS, resamples=50)
    assert loss.worst == "b"
    assert loss.gap == pytest.approx(np.log(9) / 4)
    assert fairness("accuracy", p, labels, ["all"] * 8).gap == 0.0


def test_a_group_that_does_not_define_the_metric_is_never_the_worst() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    found = by_group("auroc", p, np.array([0, 1, 0, 0]), list("aabb"), resamples=20)
    assert np.isnan(found["b"].value)
    assert worst_group("auroc", found)[0] == "a"
    with pytest.raises(ShapeError, match="no group has a value of auroc"):
        worst_group("auroc", {"b": found["b"]})


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="3 groups for 8 items"):
        group_rates(PREDICTIONS, LABELS, list("abc"))
    with pytest.raises(ShapeError, match=r"predictions \(7,\) and labels \(8,\)"):
        group_rates(PREDICTIONS[1:], LABELS, GROUPS)
    with pytest.raises(ShapeError, match="positive class 2 is not among the 2"):
        fairness("accuracy", np.full((8, 2), 0.5), LABELS, GROUPS, positive=2)
    with pytest.raises(ShapeError, match="no groups to compare"):
        demographic_parity_difference({})
    with pytest.raises(ConfigError, match="unknown metric 'acuracy'"):
        by_group("acuracy", np.full((8, 2), 0.5), LABELS, GROUPS)
