"""The card: the report as Markdown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.report.card import card_markdown, plain, task_markdown
from sample_record import HOSTILE, SAMPLES, image_record, many_classes_record


def tables(text: str) -> list[list[str]]:
    """Return the tables of a Markdown text, each as its lines."""
    return [one.splitlines() for one in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_row_of_a_table_has_the_columns_of_its_head(name: str) -> None:
    found = tables(card_markdown(SAMPLES[name]()))
    assert found
    for lines in found:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(counts) == 1, lines


def test_the_card_says_verdict_ladder_task_and_how_to_reproduce() -> None:
    text = card_markdown(image_record())
    assert text.startswith("# LP-FT on dinov2-small")
    for part in ("**Confirmed on", "## The ladder", "## Task card", "## Label efficiency"):
        assert part in text
    assert "**LP-FT** (winner)" in text
    assert "skipped: 3 learning rates of 10 epochs" in text
    assert "regraft verify lp-ft-81ce00" in text
    assert "Test openings: 1" in text


def test_the_card_tells_the_gain_over_every_control() -> None:
    text = card_markdown(image_record())
    gains = text[text.index("### Did transfer help?") :].split("\n\n")[1].splitlines()
    assert "helped, +64 % of .559, the best control without transfer on validation" in gains[1]
    assert "Linear probe: +.012 [−.006, +.030\\]: undecided, fine-tuning is not shown" in gains[2]
    assert "fine-tuning helped, +9 % of .842" in gains[3]


def test_the_card_tells_calibration_before_and_after_scaling() -> None:
    text = card_markdown(image_record())
    assert "- ECE of equal count: .058, .021 after one temperature, .024 after a factor" in text


def test_warnings_stand_above_the_numbers_and_in_the_task_card_alone() -> None:
    record = image_record()
    assert "Warning" not in card_markdown(record)
    record["task"]["warnings"] = ["the labels of `x` are at chance"]
    record["warnings"] = ["LoRA did not learn"]
    text = card_markdown(record)
    assert text.count("**Warning:**") == 2
    assert "⚠ **Warning:** the labels of \\`x\\` are at chance." in text
    assert text.index("LoRA did not learn") < text.index("## The ladder")
    assert task_markdown(record["task"]).count("**Warning:**") == 1


def test_names_from_data_are_not_read_as_markdown() -> None:
    text = card_markdown(many_classes_record())
    assert re.search(r"(?<!\\)<script", text) is None
    assert plain(HOSTILE) in text


def test_long_lists_are_cut_and_counted() -> None:
    text = task_markdown(many_classes_record()["task"])
    assert "… and 80 more" in text


def test_a_configuration_cannot_end_its_own_fence() -> None:
    record = image_record()
    record["configuration"] = "name: '```'\n# not a heading"
    assert "````yaml\nname: '```'\n# not a heading\n````" in card_markdown(record)


@given(st.text())
def test_plain_text_stays_on_one_line_with_its_marks_escaped(text: str) -> None:
    found = plain(text)
    assert "\n" not in found
    assert re.search(r"(?<!\\)(?:\\\\)*(?:[`*|]|<[A-Za-z/!?]|\]\(|~~|^#)", found) is None


def test_what_is_no_mark_where_it_stands_is_left_alone() -> None:
    assert plain("macro_f1 .914 [.891, .937] > 0.9") == "macro_f1 .914 [.891, .937] > 0.9"
    assert plain("_a_ [x](http://y) # b") == "\\_a\\_ [x\\](http://y) # b"
