"""For whom: groups, gaps and whether they widened, on made systems."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from made_evidence import logits_of, made_arm, made_evidence
from regraft.evidence.questions.asked import Asked
from regraft.evidence.questions.for_whom import answered
from regraft.evidence.verdict import CANDIDATE, WITHOUT_FINE_TUNING, WITHOUT_TRANSFER
from regraft.measure.groups import demographic_parity_difference, fairness
from regraft.measure.intervals import wilson
from regraft.measure.metrics import softmax
from regraft.report.figures.groups import picture

N = 400
LABELS = np.arange(N) % 2
SEX = ["f" if i % 4 < 2 else "m" for i in range(N)]


def wrong_for(group: str, count: int) -> np.ndarray[Any, Any]:
    """Return predictions that are wrong for so many items of a group."""
    found = LABELS.copy()
    rows = [i for i in range(N) if SEX[i] == group][:count]
    found[rows] = 1 - found[rows]
    return found


def asked(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any], **columns: list[str]) -> Asked:
    lora = made_arm("lora", CANDIDATE, logits_of(ours))
    scratch = made_arm("scratch", WITHOUT_TRANSFER, logits_of(theirs))
    probe = made_arm("probe", WITHOUT_FINE_TUNING, logits_of(theirs))
    evidence = made_evidence([lora, scratch, probe], LABELS, {"sex": SEX, **columns})
    assert evidence.test is not None
    return Asked(evidence, lora, lora, evidence.test, None, {})


def rows(question: Asked) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in answered(question).answers}


def test_each_group_has_the_metric_of_its_items() -> None:
    found = rows(asked(wrong_for("f", 50), LABELS))
    women, known = found["sex = f, n = 200"], wilson(150, 200)
    assert (women["value"], women["low"], women["high"], women["n"]) == (
        0.75,
        known.low,
        known.high,
        200,
    )
    assert women["text"] == ".750"
    worst = found["worst group of sex: f"]
    assert (worst["value"], worst["group"]) == (0.75, "f")
    assert worst["low"] < known.low
    assert found["gap of accuracy between the groups of sex"]["value"] == 0.25


def test_the_differences_are_those_of_the_measures() -> None:
    ours = wrong_for("f", 60)
    known = fairness("accuracy", softmax(logits_of(ours)[0]), LABELS, SEX)
    found = rows(asked(ours, LABELS))
    parity = found["demographic-parity difference by sex (class 1)"]
    assert parity["value"] == pytest.approx(demographic_parity_difference(known.rates))
    odds = found["equalised-odds difference by sex (class 1)"]
    assert odds["value"] == pytest.approx(known.equalized_odds)
    assert odds["low"] <= odds["value"] <= odds["high"]


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"), [(80, 5, "widened"), (5, 80, "narrowed"), (40, 38, "undecided")]
)
def test_a_gap_that_transfer_widened_or_narrowed_is_named_so(
    ours: int, theirs: int, verdict: str
) -> None:
    found = rows(asked(wrong_for("f", ours), wrong_for("f", theirs)))
    change = found["gap by sex against Scratch"]
    assert change["verdict"] == verdict
    assert change["value"] == pytest.approx((ours - theirs) / 200)
    assert change["low"] <= change["value"] <= change["high"]
    assert not [name for name in found if "Probe" in name]


def test_each_column_is_asked_and_drawn() -> None:
    site = ["north", "south", "west", "west"] * 100
    question = asked(wrong_for("f", 50), wrong_for("m", 10), site=site)
    found = answered(question)
    assert found.figure is not None
    assert [one["column"] for one in found.figure["columns"]] == ["sex", "site"]
    record = {"questions": [{"key": "groups", "question": "", "answers": found.answers}]}
    assert picture(record) is None
    record["questions"][0]["figure"] = found.figure
    drawn = picture(record)
    assert drawn is not None
    bars, marks = drawn.to_json()["data"]
    assert (bars["type"], marks["type"]) == ("bar", "scatter")
    assert bars["x"][:2] == [0.75, 1.0]
    assert bars["error_x"]["arrayminus"][0] == pytest.approx(0.75 - wilson(150, 200).low)
    assert len(drawn.table.rows) == 10
    assert drawn.question == "groups"
    assert "sex: f .750 [" in drawn.description


def test_without_columns_nothing_is_asked() -> None:
    lora = made_arm("lora", CANDIDATE, logits_of(LABELS))
    evidence = made_evidence([lora], LABELS, {})
    assert evidence.test is not None
    found = answered(Asked(evidence, lora, lora, evidence.test, None, {}))
    assert (found.answers, found.figure) == ([], None)
