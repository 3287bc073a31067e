from __future__ import annotations

import pytest

from regraft.errors import ConfigError
from regraft.evidence.criterion import Clause, judge, parse_target
from regraft.measure.intervals import Interval


def spread(value: float, low: float, high: float) -> Interval:
    return Interval(value, low, high, 100, "test")


@pytest.mark.parametrize("text", ["0.9", " .9 ", "9e-1", "+0.9"])
def test_a_bare_number_bounds_the_studys_metric(text: str) -> None:
    assert parse_target(text, metric="macro_f1") == (Clause("macro_f1", True, 0.9),)


def test_a_bare_number_bounds_a_loss_from_above() -> None:
    assert parse_target("0.3", metric="log_loss") == (Clause("log_loss", False, 0.3),)


@pytest.mark.parametrize(
    "text", ["macro_f1>=0.9 and ece<=0.05", " macro_f1 >= .9 AND ece <= 5e-2 "]
)
def test_clauses_are_joined_by_and(text: str) -> None:
    assert parse_target(text, metric="accuracy") == (
        Clause("macro_f1", True, 0.9),
        Clause("ece", False, 0.05),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "macro_f1>0.9",
        "macro_f1>=",
        ">=0.9",
        "macro_f1>=0.9 or ece<=1",
        "accuracy>=1.2.3",
        "nan",
    ],
)
def test_what_is_no_criterion_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"target: .* is not a criterion\. Write for example"):
        parse_target(text, metric="accuracy")


def test_an_unknown_metric_in_a_target_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"target: unknown metric 'ecee'\. Did you mean 'ece'\?"):
        parse_target("macro_f1>=0.9 and ecee<=0.05", metric="accuracy")


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [
        (0.91, 0.95, "met"),
        (0.90, 0.95, "met"),
        (0.80, 0.89, "not_met"),
        (0.80, 0.90, "undecided"),
        (0.85, 0.95, "undecided"),
    ],
)
def test_a_lower_bound_is_met_where_the_whole_interval_is_above_it(
    low: float, high: float, status: str
) -> None:
    clauses = parse_target("accuracy>=0.9", metric="accuracy")
    found = judge(clauses, {"accuracy": spread((low + high) / 2, low, high)})
    assert found.status == found.clauses[0].status == status


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [(0.01, 0.05, "met"), (0.06, 0.10, "not_met"), (0.04, 0.06, "undecided")],
)
def test_an_upper_bound_is_met_where_the_whole_interval_is_below_it(
    low: float, high: float, status: str
) -> None:
    clauses = parse_target("ece<=0.05", metric="accuracy")
    assert judge(clauses, {"ece": spread((low + high) / 2, low, high)}).status == status


@pytest.mark.parametrize(
    ("accuracy", "ece", "status"),
    [
        ((0.92, 0.95), (0.01, 0.02), "met"),
        ((0.92, 0.95), (0.01, 0.09), "undecided"),
        ((0.85, 0.95), (0.06, 0.09), "not_met"),
        ((0.70, 0.80), (0.01, 0.02), "not_met"),
    ],
)
def test_the_whole_is_met_when_every_clause_is_and_not_met_when_one_is_not(
    accuracy: tuple[float, float], ece: tuple[float, float], status: str
) -> None:
    clauses = parse_target("accuracy>=0.9 and ece<=0.05", metric="accuracy")
    scores = {"accuracy": spread(accuracy[0], *accuracy), "ece": spread(ece[0], *ece)}
    assert judge(clauses, scores).status == status


def test_a_judgement_has_a_plain_record() -> None:
    clauses = parse_target("0.9", metric="accuracy")
    assert judge(clauses, {"accuracy": spread(0.93, 0.91, 0.95)}).to_json() == {
        "text": "accuracy>=0.9",
        "status": "met",
        "clauses": [
            {"text": "accuracy>=0.9", "value": 0.93, "low": 0.91, "high": 0.95, "status": "met"}
        ],
    }


def test_a_clause_on_what_was_not_measured_is_refused() -> None:
    clauses = parse_target("mean_cost<=2", metric="accuracy")
    with pytest.raises(ConfigError, match="target: metric 'mean_cost' was not measured"):
        judge(clauses, {"accuracy": spread(0.9, 0.8, 1.0)})
