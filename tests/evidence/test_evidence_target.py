"""The target: clauses measured on made systems whose rates are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from made_evidence import logits_of, made_arm, made_evidence
from regraft.evidence.target import about, target_json
from regraft.evidence.verdict import CANDIDATE
from regraft.measure.group_gaps import gap_interval, pair_level, sidak, worst_interval
from regraft.measure.intervals import interval, wilson
from regraft.measure.medians import median_interval
from regraft.measure.metrics import softmax
from regraft.measure.spreads import wilson_ends

N = 400
LABELS = np.arange(N) % 2
SEX = ["f" if i % 4 < 2 else "m" for i in range(N)]  # 100 of each class and sex


def said(right: dict[tuple[str, int], int]) -> np.ndarray[Any, Any]:
    """Return predictions with so many right of the items of each sex and class."""
    found = LABELS.copy()
    for (sex, label), count in right.items():
        rows = [i for i in range(N) if SEX[i] == sex and LABELS[i] == label]
        found[rows[count:]] = 1 - label
    return found


PREDICTIONS = said({("f", 1): 75, ("m", 1): 90, ("f", 0): 95, ("m", 0): 98})


def judged(target: str, predictions: np.ndarray[Any, Any] = PREDICTIONS, **more: Any) -> Any:
    winner = made_arm("lora", CANDIDATE, logits_of(predictions))
    evidence = made_evidence([winner], LABELS, {"sex": SEX}, target=target, **more)
    return target_json(evidence, winner)


def clause(target: str, predictions: np.ndarray[Any, Any] = PREDICTIONS) -> Any:
    (found,) = judged(target, predictions)["clauses"]
    return found


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "ece", "log_loss"])
def test_a_metric_is_judged_by_its_own_interval(metric: str) -> None:
    found = clause(f"{metric}>=0.1")
    known = interval(metric, softmax(logits_of(PREDICTIONS)), LABELS)
    assert (found["value"], found["low"], found["high"], found["n"], found["estimator"]) == (
        known.value,
        known.low,
        known.high,
        N,
        known.estimator,
    )


def test_rates_of_a_class_and_of_the_second_of_two() -> None:
    known = wilson(165, 200)
    for text in ("recall>=0.7", "recall(class 1)>=0.7"):
        found = clause(text)
        assert (found["value"], found["low"], found["high"]) == (0.825, known.low, known.high)
    assert clause("recall(class 0)>=0.7")["value"] == 193 / 200
    assert clause("precision>=0.7")["value"] == pytest.approx(165 / 172)
    assert clause("selection_rate>=0.1")["value"] == pytest.approx(172 / 400)
    assert clause("false_positive_rate<=0.2")["value"] == pytest.approx(7 / 200)


def test_the_worst_group_is_judged_by_intervals_that_hold_together() -> None:
    found = clause("worst_group(sex).recall>=0.8")
    level = sidak(0.95, 2)
    known = worst_interval({"f": wilson(75, 100, level=level), "m": wilson(90, 100, level=level)})
    assert (found["value"], found["low"], found["high"]) == (0.75, known.low, known.high)
    assert found["low"] < wilson(75, 100).low
    assert found["status"] == "undecided"
    assert clause("worst_group(sex).recall>=0.6")["status"] == "met"
    assert clause("worst_group(sex).recall>=0.9")["status"] == "not_met"


def test_the_worst_of_what_is_bounded_above_is_the_greatest() -> None:
    assert clause("worst_group(sex).false_positive_rate<=0.2")["value"] == 0.05
    assert clause("worst_group(sex).selection_rate<=0.6")["value"] == pytest.approx(92 / 200)
    assert clause("worst_group(sex).selection_rate>=0.2")["value"] == pytest.approx(80 / 200)
    assert clause("worst_group(sex).log_loss<=2")["value"] > clause("log_loss<=2")["value"]


def test_gaps_are_those_of_the_rates() -> None:
    found = clause("gap(sex).recall<=0.3")
    known = gap_interval([{"f": wilson(75, 100), "m": wilson(90, 100)}])
    assert (found["value"], found["low"]) == (pytest.approx(0.15), pytest.approx(known.low))
    assert found["high"] == pytest.approx(known.high)
    odds = clause("equalized_odds(sex)<=0.3")
    assert odds["value"] == pytest.approx(0.15)
    level = pair_level(0.95, 2, 2)
    wider = gap_interval([{"f": wilson(75, 100, level=level), "m": wilson(90, 100, level=level)}])
    assert odds["high"] == pytest.approx(wider.high)
    parity = clause("demographic_parity(sex)<=0.3")
    assert parity["value"] == pytest.approx(92 / 200 - 80 / 200)


def test_parity_of_more_than_two_classes_is_the_largest_of_any() -> None:
    labels = np.arange(300) % 3
    predictions = labels.copy()
    predictions[:60][labels[:60] == 2] = 0
    groups = ["a" if i < 150 else "b" for i in range(300)]
    winner = made_arm("lora", CANDIDATE, logits_of(predictions, 3))
    target = "demographic_parity(side)<=0.5 and equalized_odds(side)<=0.5"
    evidence = made_evidence([winner], labels, {"side": groups}, target=target)
    parity, odds = target_json(evidence, winner)["clauses"]  # type: ignore[index]
    assert parity["value"] == pytest.approx(20 / 150)
    assert odds["value"] == pytest.approx(20 / 50)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("accuracy>=0.8 and recall>=0.7", "met"),
        ("accuracy>=0.8 and recall>=0.8", "undecided"),
        ("accuracy>=0.99 and recall>=0.8", "not_met"),
        ("accuracy>=0.99 and recall>=0.7", "not_met"),
    ],
)
def test_the_whole_is_met_when_every_clause_is_and_not_met_when_one_is_not(
    target: str, status: str
) -> None:
    found = judged(target)
    assert (found["text"], found["status"]) == (target, status)


def test_the_labels_needed_are_those_that_decide_if_the_value_stays() -> None:
    found = clause("accuracy>=0.87")
    share = found["value"]
    assert (share, found["status"]) == (pytest.approx(358 / 400), "undecided")
    tried = (m for m in range(100_000) if wilson_ends(share, N + m)[0] >= 0.87)
    assert found["more_labels"] == pytest.approx(next(tried), abs=1)
    assert found["says"] == (
        f"undecided: about {about(found['more_labels'])} more test labels would decide it"
    )


def test_the_labels_needed_of_a_group_count_labels_of_all() -> None:
    found = clause("worst_group(sex).recall>=0.8")
    level = sidak(0.95, 2)

    def is_decided(more: int) -> bool:
        items = 100 * (N + more) / N
        ends = [wilson_ends(share, items, level=level) for share in (0.75, 0.9)]
        return min(low for low, _ in ends) >= 0.8 or min(high for _, high in ends) < 0.8

    tried = (more for more in range(100_000) if is_decided(more))
    assert found["more_labels"] == pytest.approx(next(tried), abs=1)


def test_what_labels_cannot_decide_is_said() -> None:
    found = clause("recall>=0.825")
    assert (found["status"], found["more_labels"]) == ("undecided", None)
    assert found["says"].startswith("undecided: it stands at the bound")
    assert clause("recall>=0.5")["more_labels"] is None
    assert clause("recall>=0.5")["says"] == "met"
    assert clause("recall>=0.95")["says"] == "not met"


def test_a_target_is_not_met_for_a_group_of_which_nothing_is_known() -> None:
    winner = made_arm("lora", CANDIDATE, logits_of(LABELS))
    sex = ["f" if label else "m" for label in LABELS]  # no man of class 1
    target = "worst_group(sex).recall>=0.5 and worst_group(sex).accuracy>=0.5"
    evidence = made_evidence([winner], LABELS, {"sex": sex}, target=target)
    found = target_json(evidence, winner)
    assert found is not None
    recall, accuracy = found["clauses"]
    assert (recall["status"], recall["more_labels"]) == ("undecided", None)
    assert recall["says"] == "undecided: no test item of m defines it"
    assert "no item of m defines it" in recall["warning"]
    assert accuracy["status"] == "met"


def test_a_group_without_any_test_item_is_not_forgotten() -> None:
    winner = made_arm("lora", CANDIDATE, logits_of(LABELS))
    evidence = made_evidence(
        [winner], LABELS, {"sex": SEX}, target="worst_group(sex).accuracy>=0.5"
    )
    alone = evidence.test_items.subgroups["sex"]
    alone[:] = "m"
    found = target_json(evidence, winner)
    assert found is not None
    assert found["clauses"][0]["says"] == "undecided: no test item of f defines it"


def test_latency_is_judged_as_it_was_measured() -> None:
    latency = median_interval([4.0, 4.1, 4.2, 4.3, 4.4, 9.0, 3.9, 4.15]).to_json()
    found = judged("latency_ms<=5 and latency_ms<=4.2 and latency_ms<=3", latency=latency)
    assert [one["status"] for one in found["clauses"]] == ["undecided", "undecided", "not_met"]
    assert found["clauses"][0]["value"] == latency["value"]
    assert found["clauses"][0]["says"] == "undecided: the bound lies within the spread of the calls"
    met = judged("latency_ms<=10", latency=latency)
    assert met["status"] == "met"


def test_one_graft_is_timed_however_many_repetitions_are_scored() -> None:
    latency = median_interval([4.0, 4.1, 4.2, 4.3, 4.4, 9.0]).to_json()
    winner = made_arm("lora", CANDIDATE, logits_of(PREDICTIONS).repeat(3, axis=0))
    target = "accuracy>=0.5 and latency_ms<=10"
    found = target_json(
        made_evidence([winner], LABELS, {"sex": SEX}, target=target, latency=latency), winner
    )
    assert found is not None
    assert [one["seeds"] for one in found["clauses"]] == [3, 1]


def test_without_a_target_nothing_is_judged() -> None:
    winner = made_arm("lora", CANDIDATE, logits_of(PREDICTIONS))
    assert target_json(made_evidence([winner], LABELS, {"sex": SEX}), winner) is None
