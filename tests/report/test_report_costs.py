"""Predicted against actual: seconds and peak memory of every trained run."""

from __future__ import annotations

from typing import Any

import pytest

from regraft.report.card import card_markdown
from regraft.report.costs import cost_sentence, cost_table
from regraft.report.ladder import ladder_of
from regraft.report.page import page_html
from sample_record import image_record

DROPPED = {
    "run": "lora-70aa",
    "predicted_seconds": 9.0,
    "seconds": 20.0,
    "predicted_memory_bytes": 400_000_000,
    "peak_memory_bytes": None,
    "dropped_at": [40, 1360],
}


@pytest.fixture
def record() -> dict[str, Any]:
    """Return a study with a run that dropped out of the race."""
    record = image_record()
    next(arm for arm in record["arms"] if arm["key"] == "lora")["costs"].append(DROPPED)
    return record


SENTENCE = (
    "5 of 8 trained runs within 25 % of the predicted time, "
    "7 of 7 within 25 % of the predicted peak memory"
)


def test_a_line_counts_the_runs_that_came_near_in_seconds_and_in_memory(
    record: dict[str, Any],
) -> None:
    assert cost_sentence(record) == SENTENCE
    card = card_markdown(record)
    assert card.count(SENTENCE) == 2  # among the key numbers, and above the table
    assert SENTENCE in page_html(record)


def test_each_run_shows_predicted_and_actual_seconds_and_memory(record: dict[str, Any]) -> None:
    table = cost_table(record)
    assert table is not None
    rows = {row[1].text: row for row in table.rows}
    lora = rows["lora-81ce02"]
    assert [one.text for one in lora[2:]] == ["2 min 10 s", "1 min 58 s", "362 MB", "402 MB"]
    dropped = rows["lora-70aa"]
    assert [one.text for one in dropped[2:]] == ["9.0 s", "20 s", "400 MB", "–"]
    assert "dropped out after 40 of 1,360 steps" in dropped[3].title
    assert all(cell.title for row in table.rows for cell in row[1:])
    assert "| LoRA | lora-81ce02 | 2 min 10 s | 1 min 58 s | 362 MB | 402 MB |" in card_markdown(
        record
    )


def test_the_ladder_tells_both_of_the_run_that_stands_for_the_arm(record: dict[str, Any]) -> None:
    row = next(one for one in ladder_of(record).rows if one.title == "LoRA")
    assert "predicted for its epochs 2 min 10 s" in row.took.title
    assert "peak memory 402 MB; predicted 362 MB" in row.took.title


def test_older_records_tell_of_seconds_alone(record: dict[str, Any]) -> None:
    for arm in record["arms"]:
        arm["costs"] = [[10.0, 11.0], [10.0, 15.0]] if arm["key"] == "lora" else []
    assert cost_sentence(record) == "1 of 2 trained runs within 25 % of the predicted time"
    table = cost_table(record)
    assert table is not None
    assert [one.text for one in table.rows[0]] == ["LoRA", "–", "10 s", "11 s", "–", "–"]
    page_html(record)


def test_where_nothing_was_predicted_nothing_is_said(record: dict[str, Any]) -> None:
    for arm in record["arms"]:
        arm.pop("costs", None)
    assert (cost_sentence(record), cost_table(record)) == ("", None)
    assert "Predicted and actual cost" not in card_markdown(record) + page_html(record)
