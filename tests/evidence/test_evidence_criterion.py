from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.errors import ConfigError
from regraft.evidence.criterion import (
    DIFFERENCES,
    LATENCY,
    OF_GROUPS,
    Clause,
    Quantity,
    criterion_of,
    parse_target,
)
from regraft.measure.intervals import Interval
from regraft.measure.metrics import METRICS
from regraft.measure.rates import RATES
from regraft.tasks.task import Task


def spread(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 100, "test")


def only(text: str) -> Clause:
    (clause,) = parse_target(text, metric="accuracy")
    return clause


@pytest.mark.parametrize("text", ["0.9", " .9 ", "9e-1", "+0.9"])
def test_a_bare_number_bounds_the_studys_metric(text: str) -> None:
    assert parse_target(text, metric="macro_f1") == (Clause(Quantity("macro_f1"), ">=", 0.9),)


def test_a_bare_number_bounds_a_loss_from_above() -> None:
    assert parse_target("0.3", metric="log_loss") == (Clause(Quantity("log_loss"), "<=", 0.3),)


@pytest.mark.parametrize(
    "text", ["macro_f1>=0.9 and ece<=0.05", " macro_f1 >= .9 AND ece <= 5e-2 "]
)
def test_clauses_are_joined_by_and(text: str) -> None:
    assert parse_target(text, metric="accuracy") == (
        Clause(Quantity("macro_f1"), ">=", 0.9),
        Clause(Quantity("ece"), "<=", 0.05),
    )


def test_the_whole_of_it() -> None:
    text = (
        "macro_f1>=0.9 and ece<=0.05 and worst_group(sex).recall>=0.8 and latency_ms<=5 and "
        "gap( age group ) . recall( >50K ) < .1 and recall('rock and roll (live)') > 0.5 "
        "and demographic_parity(sex)<=0.1 and equalized_odds(sex)<=0.1"
    )
    assert [one.quantity for one in parse_target(text, metric="accuracy")] == [
        Quantity("macro_f1"),
        Quantity("ece"),
        Quantity("recall", over="worst_group", column="sex"),
        Quantity("latency_ms"),
        Quantity("recall", ">50K", "gap", "age group"),
        Quantity("recall", "rock and roll (live)"),
        Quantity("", over="demographic_parity", column="sex"),
        Quantity("", over="equalized_odds", column="sex"),
    ]


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(
    lambda name: not ("'" in name and '"' in name)
)
measures = st.one_of(
    st.sampled_from([*METRICS, LATENCY]).map(Quantity),
    st.builds(Quantity, st.sampled_from([*RATES]), st.one_of(st.none(), names)),
)
quantities = st.one_of(
    measures,
    st.builds(
        lambda one, over, column: Quantity(one.measure, one.label, over, column),
        measures.filter(lambda one: one.measure != LATENCY),
        st.sampled_from(OF_GROUPS),
        names,
    ),
    st.builds(
        lambda over, column: Quantity("", None, over, column), st.sampled_from(DIFFERENCES), names
    ),
)
clauses = st.builds(
    Clause,
    quantities,
    st.sampled_from([">=", "<=", ">", "<"]),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: float(f"{x:.12g}")),
)


@given(st.lists(clauses, min_size=1, max_size=4))
def test_what_is_written_is_read_back(given: list[Clause]) -> None:
    text = " and ".join(str(one) for one in given)
    assert parse_target(text, metric="accuracy") == tuple(given)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "macro_f1=0.9",
        "macro_f1>=",
        ">=0.9",
        "macro_f1>=0.9 or ece<=1",
        "accuracy>=1.2.3",
        "accuracy>=0.9 and",
        "accuracy>=0.9 androgyny>=1",
        "recall(a>=0.9",
        "recall((a))>=0.9",
        "worst_group(sex).recall.x>=0.8",
        "accuracy>=0.9x",
        "nan",
    ],
)
def test_what_is_no_criterion_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"target: .* is not a criterion\. Write for example"):
        parse_target(text, metric="accuracy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ecee<=0.05", r"unknown metric 'ecee'\. Did you mean 'ece'\?"),
        ("latency<=5", r"unknown metric 'latency'\. Did you mean 'latency_ms'\?"),
        ("worst_groop(sex).recall>=1", r"unknown 'worst_groop' before a point\. Did you mean"),
        ("worst_group(sex)>=0.8", r"Write worst_group\(sex\)\.accuracy"),
        ("worst_group.recall>=0.8", r"worst_group is over a column"),
        ("worst_group().recall>=0.8", r"worst_group is over a column"),
        ("worst_group(sex).recal>=0.8", r"unknown metric 'recal'\. Did you mean 'recall'\?"),
        ("worst_group(sex).latency_ms<=5", "latency_ms is not of groups"),
        ("demographic_parity(sex).recall<=1", "demographic_parity is a measure by itself"),
        ("accuracy(cat)>=0.8", "accuracy is not of one class"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"target: .*{message}"):
        parse_target(f"macro_f1>=0.9 and {text}", metric="accuracy")


def task_of(target: str, *, classes: int = 2) -> Task:
    texts = [f"text number {i} of {i % classes}" for i in range(60)]
    labels = [f"class {i % classes}" for i in range(60)]
    sex = ["f" if i % 3 else "m" for i in range(60)]
    return Task.read((texts, labels, {"sex": sex}), target=target)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("worst_group(sax).recall>=1", r"not reported by 'sax'\. Did you mean 'sex'\? .*report_by"),
        ("recall(class 7)>=0.5", r"no class 'class 7'\. Did you mean 'class"),
        ("recall>=0.5", r"recall is of one class, and there are 3\. Write recall\(CLASS\)"),
    ],
)
def test_what_the_data_does_not_have_is_refused(target: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"target: .*{message}"):
        criterion_of(task_of(target, classes=3))


def test_what_the_data_has_is_a_criterion() -> None:
    task = task_of("worst_group(sex).recall>=0.8 and recall(class 0)>=0.5")
    assert [str(one) for one in criterion_of(task)] == [
        "worst_group(sex).recall>=0.8",
        "recall(class 0)>=0.5",
    ]
    assert criterion_of(replace(task, target=None)) == ()


@pytest.mark.parametrize(
    ("text", "low", "high", "status"),
    [
        ("accuracy>=0.9", 0.91, 0.95, "met"),
        ("accuracy>=0.9", 0.90, 0.95, "met"),
        ("accuracy>0.9", 0.90, 0.95, "undecided"),
        ("accuracy>=0.9", 0.80, 0.89, "not_met"),
        ("accuracy>=0.9", 0.80, 0.90, "undecided"),
        ("accuracy>0.9", 0.80, 0.90, "not_met"),
        ("accuracy>=0.9", 0.85, 0.95, "undecided"),
        ("ece<=0.05", 0.01, 0.05, "met"),
        ("ece<0.05", 0.01, 0.05, "undecided"),
        ("ece<=0.05", 0.06, 0.10, "not_met"),
        ("ece<=0.05", 0.05, 0.10, "undecided"),
        ("ece<0.05", 0.05, 0.10, "not_met"),
        ("ece<=0.05", 0.04, 0.06, "undecided"),
    ],
)
def test_a_clause_is_met_where_the_whole_interval_is_on_the_right_side(
    text: str, low: float, high: float, status: str
) -> None:
    assert only(text).status(spread(low, high)) == status
