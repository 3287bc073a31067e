from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from regraft.evidence.arm import comparison_json
from regraft.measure.comparison import comparison_of, comparison_warning, paired_bootstrap
from regraft.measure.contest import compare_items
from regraft.measure.metrics import METRICS, softmax
from regraft.report.words import CARE, comparison_text, comparison_title

FEW_DIFFER = "the two differ on 4 items: the interval is rough"


def pair(
    n: int, *, differ: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return A, B (1, n, 3) and labels: A is right on all but n/4 items, B on `differ` fewer."""
    labels = np.arange(n) % 3
    ours = np.where(np.arange(n) < n // 4, (labels + 1) % 3, labels)
    theirs = np.where(np.arange(n) >= n - differ, (labels + 1) % 3, ours)
    return (*(answers(one)[None] for one in (ours, theirs)), labels)


def answers(guess: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return probabilities (n, 3), of which no two are alike, of given decisions."""
    noise = 0.3 * np.random.default_rng(0).random((len(guess), 3))
    return softmax(noise + 2.0 * np.eye(3)[guess])


@pytest.mark.parametrize("metric", [name for name in METRICS if name not in ("ece", "mean_cost")])
@pytest.mark.parametrize(
    ("n", "differ", "warning"),
    [
        (99, 30, "99 items are few: the interval is rough"),
        (100, 30, None),
        (300, 5, None),
        (300, 4, FEW_DIFFER),
        (300, 1, "the two differ on 1 item: the interval is rough"),
        (300, 0, "the two differ on no item: the interval is rough"),
    ],
)
def test_few_items_or_few_that_differ_carry_a_warning(
    metric: str, n: int, differ: int, warning: str | None
) -> None:
    a, b, labels = pair(n, differ=differ)
    found = paired_bootstrap(metric, a, b, labels, resamples=50)
    assert found.warning == warning
    assert comparison_json(found, tie=found.tie)["warning"] == warning
    assert found.to_json()["warning"] == warning


def test_an_interval_without_length_never_comes_without_a_warning() -> None:
    a, _, labels = pair(300, differ=0)
    found = paired_bootstrap("accuracy", a, a, labels, resamples=50)
    assert (found.low, found.high) == (0.0, 0.0)
    assert found.warning == "the two differ on no item: the interval is rough"
    same = np.full(50, 0.8)
    alone = comparison_of("accuracy", (0.8, 0.8), (same, same), n=300)
    assert alone.warning == "the two never differ: no spread is known"
    nothing = np.full(50, np.nan)
    undefined = comparison_of("auroc", (0.5, 0.5), (nothing, nothing), n=3)
    assert undefined.warning == "no resample of so few items defines it"


def test_wrong_in_another_way_differs_for_f1_and_not_for_accuracy() -> None:
    a, _, labels = pair(300, differ=0)
    b = a.copy()
    b[0, :20] = answers((labels[:20] + 2) % 3)
    assert comparison_warning("macro_f1", a, b, labels) is None
    assert comparison_warning("accuracy", a, b, labels) is not None
    costs = 1.0 - np.eye(3)
    assert comparison_warning("mean_cost", a, b, labels, costs=costs) is not None
    assert comparison_warning("mean_cost", a, b, labels, costs=costs * [1.0, 2.0, 3.0]) is None


def test_an_item_counts_where_the_mean_over_seeds_differs() -> None:
    a, b, labels = pair(300, differ=30)
    both, swapped = np.concatenate([a, b]), np.concatenate([b, a])
    assert comparison_warning("accuracy", both, swapped, labels) is not None
    assert comparison_warning("accuracy", both, a, labels) is None


def test_classes_that_weigh_alike_need_items_each() -> None:
    a, b, labels = pair(300, differ=30)
    rare = np.where(np.arange(300) == 150, 2, labels % 2)
    warning = "a class has 1 item: the interval is rough"
    assert comparison_warning("macro_f1", a, b, rare) == warning
    assert comparison_warning("auroc", a, b, rare) == warning
    assert comparison_warning("accuracy", a, b, rare) is None


def test_an_area_near_one_is_warned_of() -> None:
    _, b, labels = pair(300, differ=30)
    warning = "fewer than 5 answers are wrong: the interval is rough"
    assert comparison_warning("auroc", answers(labels)[None], b, labels) == warning


def test_differences_of_calibration_errors_always_carry_a_warning() -> None:
    a, b, labels = pair(3000, differ=300)
    assert str(comparison_warning("ece", a, b, labels)).startswith("noise of the bins biases ECE")
    draws = np.random.default_rng(0).random((2, 50))
    assert comparison_of("ece", (0.1, 0.2), (draws[0], draws[1]), n=3000).warning is not None


def test_intervals_without_a_warning_hold_the_true_difference() -> None:
    labels, right = np.arange(120) % 3, np.eye(3)[np.arange(120) % 3]
    hits = []
    for trial in range(200):
        noise = np.random.default_rng(trial).normal(size=(2, 120, 3))
        a, b = (softmax(one + 1.5 * right)[None] for one in noise)
        found = paired_bootstrap("accuracy", a, b, labels, resamples=300, seed=trial)
        if found.warning is None:
            hits.append(found.low <= 0.0 <= found.high)
    assert len(hits) > 190
    assert 0.9 <= np.mean(hits) <= 0.99


@pytest.mark.parametrize(
    ("differ", "warning"),
    [
        (0, "the two differ on no item: the interval is wide"),
        (9, "the two differ on 9 items: the interval is wide"),
        (10, None),
    ],
)
def test_the_interval_beside_mcnemars_test_is_called_wide(differ: int, warning: str | None) -> None:
    a, b, labels = pair(300, differ=differ)
    (one,) = compare_items("accuracy", {"a": a, "b": b}, labels).pairs
    assert one.warning == warning


def test_a_warning_goes_with_the_difference_wherever_it_is_read() -> None:
    a, b, labels = pair(300, differ=4)
    (one,) = compare_items("macro_f1", {"a": a, "b": b}, labels).pairs
    assert one.warning == FEW_DIFFER
    plain = comparison_json(paired_bootstrap("macro_f1", a, b, labels, resamples=50), tie=True)
    assert comparison_text(plain).endswith(f"] {CARE}")
    assert comparison_title(plain).endswith(FEW_DIFFER)
    unmarked = {**plain, "warning": None}
    assert CARE not in comparison_text(unmarked)
    assert "rough" not in comparison_title(unmarked)
