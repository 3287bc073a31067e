"""Label curves with their spread: known savings, intervals that hold, laws that are found again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from regraft.evidence.arm import Part
from regraft.evidence.gathered import BudgetPoint
from regraft.evidence.label_spread import LabelCurve, drawn_law, fitted, label_curves, saved
from regraft.evidence.questions.how_many_labels import _target, labels_predicted

N = 300
LABELS = np.random.default_rng(0).integers(0, 2, N)
TEST = Part(LABELS, None, 0)


def logits(accuracy: float, *, draws: int, spread: float = 0.0, seed: int = 0) -> Any:
    """Return logits (draws, N, 2) of about such an accuracy, each draw off by a normal number."""
    random = np.random.default_rng(seed)
    reached = np.clip(accuracy + spread * random.normal(size=draws), 0, 1)
    right = random.random((draws, N)) < reached[:, None]
    said = np.where(right, LABELS, 1 - LABELS)
    return 4.0 * np.eye(2)[said] - 2.0


def points(arm: str, values: dict[int, float], **options: Any) -> list[BudgetPoint]:
    return [
        BudgetPoint(arm, n, 2 * n, logits(v, seed=n + len(arm), **options))
        for n, v in values.items()
    ]


def exact_curve(n: list[int], values: Any, *, resamples: int = 7) -> LabelCurve:
    """Return a curve without spread."""
    found = np.asarray(values, np.float64)
    repeated = np.repeat(found[:, None], resamples, axis=1)
    return LabelCurve(np.array(n, np.float64), found, repeated, np.ones(len(n), np.int64))


@pytest.mark.parametrize("draws", [1, 4])
def test_curves_hold_the_metric_and_resamples_about_it(draws: int) -> None:
    given = points("lora", {2: 0.6, 8: 0.8, 32: 0.9}, draws=draws)
    curve = label_curves(given[::-1], TEST, "accuracy")["lora"]
    assert curve.n_labels.tolist() == [4, 16, 64]
    known = [(one.logits.argmax(-1) == LABELS).mean() for one in given]
    np.testing.assert_allclose(curve.values, known)
    np.testing.assert_allclose(curve.resampled.mean(axis=1), known, atol=0.01)
    assert curve.draws.tolist() == [draws] * 3


def test_resamples_of_draws_spread_as_their_mean_does() -> None:
    """All items alike within a draw: the spread is that of the draws alone, s²/D."""
    said = np.array([1.0, 1, 1, 0])[:, None] * np.ones(N)
    scores = 4.0 * np.stack([1 - said, said], axis=-1) - 2.0
    ones = Part(np.ones(N, np.int64), None, 0)
    given = [BudgetPoint("lora", 1, 2, scores)]
    curve = label_curves(given, ones, "accuracy", resamples=4000)["lora"]
    of_draws = np.var([1.0, 1, 1, 0], ddof=1) / 4
    assert curve.resampled.var() == pytest.approx(of_draws, rel=0.1)


def test_ten_times_fewer_labels_are_found_with_an_interval_about_them() -> None:
    slow = points("raw", {10: 0.55, 100: 0.7, 1000: 0.85}, draws=3)
    fast = points("lora", {10: 0.7, 100: 0.85, 1000: 0.95}, draws=3)
    curves = label_curves([*slow, *fast], TEST, "accuracy")
    saving, ends = saved(curves["raw"], curves["lora"], "accuracy")
    assert ends is not None
    assert saving.ratio == pytest.approx(10, rel=0.5)
    assert ends[0] <= saving.ratio <= ends[1]
    assert 2 < ends[0] < 10 < ends[1] < 50


def test_a_saving_that_is_not_reached_is_a_bound_without_an_upper_end() -> None:
    slow = exact_curve([10, 50], [0.5, 0.6])
    fast = exact_curve([10, 50], [0.7, 0.8])
    saving, ends = saved(slow, fast, "accuracy")
    assert (saving.text(), ends) == ("≥ 5.0 × fewer labels", (5.0, np.inf))


def test_a_law_is_found_again_with_the_labels_for_a_target() -> None:
    n = [10, 20, 50, 100, 200]
    law = fitted(exact_curve(n, 0.95 - 0.8 * np.array(n) ** -0.5), "accuracy")
    assert law is not None
    assert (law.law.floor, law.law.exponent) == pytest.approx((0.05, 0.5), abs=1e-3)
    needed = (0.8 / 0.05) ** 2  # error .10 = .05 + .8 n^−.5
    assert law.labels_for(0.90) == pytest.approx((needed, needed, needed), rel=1e-2)
    assert np.isinf(law.labels_for(0.96)[0])
    shown = drawn_law(law, [{"n_labels": k, "labels_per_class": k / 2} for k in n])
    assert shown["curve"][0]["labels_per_class"] == pytest.approx(5)
    assert shown["scale_interval"] == pytest.approx([0.8, 0.8], rel=1e-2)
    points = [{"n_labels": k, "labels_per_class": k / 2, "n": 550, "seeds": k} for k in n]
    assert {key: drawn_law(law, points)[key] for key in ("n", "seeds")} == {"n": 550, "seeds": 10}
    assert shown["curve"][-1]["value"] == pytest.approx(0.95 - 0.8 * 200**-0.5, abs=1e-4)


def test_a_metric_where_less_is_better_is_its_own_error() -> None:
    n = [10, 20, 50, 100]
    law = fitted(exact_curve(n, 0.1 + 2.0 * np.array(n) ** -1.0), "log_loss")
    assert law is not None
    assert law.labels_for(0.12)[0] == pytest.approx(100, rel=1e-2)


def test_a_prediction_says_how_far_it_reaches_or_why_there_is_none() -> None:
    n = [10, 20, 50, 100]
    curve = exact_curve(n, 0.95 - 0.8 * np.array(n) ** -0.5)
    said = labels_predicted(curve, "LoRA", 0.9, "accuracy")
    assert said["text"] == "about 256 [256, 256]; beyond the 100 labels that were tried"
    assert labels_predicted(curve, "LoRA", 0.99, "accuracy")["text"] == (
        "never: the law levels off at .950"
    )
    few = labels_predicted(exact_curve([10, 20], [0.5, 0.6]), "LoRA", 0.9, "accuracy")
    assert few["text"] == "no prediction: a power law needs 3 label budgets, there are 2"
    assert few["value"] is None


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("0.9", 0.9),
        ("macro_f1>=.85 and ece<=0.05", 0.85),
        ("ece <= 0.05 and macro_f1 >= 0.7", 0.7),
        ("accuracy>=0.9", None),
        ("worst_group(sex).macro_f1>=0.9", None),
        (None, None),
    ],
)
def test_the_target_of_the_studys_metric_is_read(text: str | None, known: float | None) -> None:
    assert _target(text, "macro_f1") == known
