"""The ladder's table and the numbers around it."""

from __future__ import annotations

from regraft.report.card import card_markdown
from regraft.report.facts import (
    badges,
    class_table,
    key_facts,
    question_tables,
    task_facts,
    winner_scores,
)
from regraft.report.ladder import all_scores, ingredients, ladder_of
from regraft.report.page import page_html
from regraft.report.summary import run_summary
from regraft.report.words import Cell
from sample_record import HOSTILE, bare_record, gated_record, image_record, text_record


def test_rows_keep_the_order_of_the_ladder() -> None:
    record = image_record()
    ladder = ladder_of(record)
    assert [row.title for row in ladder.rows] == [arm["title"] for arm in record["arms"]]
    assert [row.number for row in ladder.rows] == list(range(1, 15))
    assert ladder.n_done == 12


def test_marks_keep_the_order_of_the_values() -> None:
    rows = [row for row in ladder_of(image_record()).rows if row.marks[0]]
    for row in rows:
        mark = row.marks[0]
        assert mark is not None
        assert 0 <= mark.low <= mark.value <= mark.high <= 100
    assert [row.title for row in rows if row.marks[0] and row.marks[0].beyond == "left"] == [
        "Majority class",
        "Raw input + logistic regression",
        "From scratch",
    ]


def test_a_trained_arm_says_where_its_batches_came_from() -> None:
    record = image_record()
    said = {row.title: dict(row.details).get("Activations") for row in ladder_of(record).rows}
    assert said["LP-FT"] == (Cell("cached views (4)"),)
    assert said["Majority class"] is None
    for arm in record["arms"]:
        del arm["activations"]  # as studies of before have it
    assert all("Activations" not in dict(row.details) for row in ladder_of(record).rows)


def test_what_stands_behind_convergence_is_told_on_hovering() -> None:
    (told,) = dict(ladder_of(image_record()).rows[5].details)["Convergence"]
    assert told.text == "95 % of its gain after 220 of 550 steps, 2 min 5 s"
    behind = "no interval: read from the chosen run; n = 10 evaluations; 1 seed; first evaluation"
    assert told.title.startswith(behind)
    assert f'<span title="{behind}' in page_html(image_record())


def test_numbers_beside_an_answer_tell_what_stands_behind_them_on_hovering() -> None:
    tables = {key: table for key, _, table in question_tables(image_record())}
    gain = tables["help"].rows[0][1].title
    assert "; relative gain percent 124.020 (no interval: the control's own value is" in gain
    assert "; value of control .408 (95 % interval [.367, .449]; n = 550; mean of 3 seeds" in gain
    (name, frechet) = tables["far"].rows[2]
    assert name.text == "Fréchet distance, features of facebook/dinov2-small"
    assert frechet.text == "131.200, 74.400 were both of one law"
    assert "; one law 74.400 (no interval: " in frechet.title


def test_the_winner_is_marked_and_ties_are_called_ties() -> None:
    rows = ladder_of(image_record()).rows
    assert [row.title for row in rows if row.winner] == ["LP-FT"]
    assert [row.title for row in rows if row.ties] == [
        "LP-FT, upper half",
        "LoRA",
        "Gradual unfreezing",
    ]


def test_an_arm_without_scores_keeps_its_reason() -> None:
    failed = ladder_of(image_record()).rows[-1]
    assert (failed.status, failed.marks) == ("failed", (None, None))
    assert failed.reason.startswith("loss became NaN at step 37")


def test_the_time_of_a_run_says_with_how_many_it_trained() -> None:
    record = image_record()
    record["arms"][0]["stacked"], record["arms"][1]["stacked"] = 3, 1
    first, second, *_ = ladder_of(record).rows
    assert "its part of 3 runs that trained together" in first.took.title
    assert "together" not in second.took.title


def test_the_key_numbers_are_the_winners() -> None:
    found = {one.name: one for one in key_facts(image_record())}
    assert found["macro-F1"].value == ".914"
    assert found["macro-F1"].note == "[.891, .937] on the sealed test part, n = 550"
    assert found["Lead over controls"].value == "+.034"
    assert "Linear probe, the nearest control (sealed test)" in found["Lead over controls"].note
    assert found["Time of a run"].value == "3 min 51 s"
    assert found["Parameters trained"].note == "100 % of 22.1 M"
    assert found["Calibration error"].note == ".061 before temperature 1.62"


def test_without_a_test_score_the_validation_score_is_named_as_such() -> None:
    found = {one.name: one for one in key_facts(bare_record())}
    assert "on the validation, n = 440" in found["macro-F1"].note
    assert "Lead over controls" not in found


def test_badges_differ_in_words_and_signs_not_in_colour_alone() -> None:
    first, second, third = badges(text_record())
    assert (first.text, second.sign, third.text) == (
        "Do not fine-tune",
        "✕",
        "Target accuracy>=0.9 not met",
    )
    assert (second.tone, third.tone) == ("bad", "bad")


def test_classes_are_sorted_by_their_scores_with_wilson_intervals() -> None:
    table = class_table(image_record())
    assert table is not None
    values = [float(row[4].text) for row in table.rows]
    assert values == sorted(values)
    assert all("Wilson" in row[3].title and "n = " in row[3].title for row in table.rows)
    rough = image_record()
    counts = rough["best"]["confusion"]
    rough["best"]["confusion"] = [
        [n * (i == j) for j, n in enumerate(r)] for i, r in enumerate(counts)
    ]
    marked = class_table(rough)
    assert marked is not None
    assert all("⚠ " in row[2].title for row in marked.rows)


def test_all_measures_are_shown() -> None:
    record = image_record()
    scores = winner_scores(record)
    assert scores is not None
    assert len(scores.rows) == 8
    assert scores.columns == ("Measure", "Validation", "Sealed test")
    assert len(all_scores(record).rows) == 12


def test_the_task_card_leaves_out_what_is_unknown() -> None:
    names = {one.name for one in task_facts(text_record())}
    assert "Text length, median" in names
    assert "Image size, median" not in names
    assert task_facts(bare_record()) == []


def test_a_cell_parts_value_and_interval() -> None:
    assert (Cell(".9 [.8, .95]").head, Cell(".9 [.8, .95]").tail) == (".9", "[.8, .95]")
    assert (Cell("–").head, Cell("–").tail) == ("–", "")


def test_scripts_read_controls_candidates_and_plain_intervals() -> None:
    record = image_record()
    found = run_summary(record)
    assert found["study"] == "3f9a17c2"
    assert set(found["verdict"]) == {"kind", "confirmed", "sentence"}
    assert {one["role"] for one in found["runs"]} == {"control", "candidate"}
    assert set(found["runs"][-3]["test"]["macro_f1"]) == {"value", "low", "high"}
    assert found["runs"][-1]["validation"] is None
    assert found["best"]["graft"] == record["best"]["graft"]


def test_a_rough_interval_is_marked_and_its_reason_told() -> None:
    record = image_record()
    assert ladder_of(record).cares == ()
    why = "fewer than 5 answers are wrong: the interval is rough"
    winner = next(arm for arm in record["arms"] if arm["winner"])
    for part in ("validation", "test"):
        winner[part]["macro_f1"]["warning"] = why
    ladder = ladder_of(record)
    row = next(one for one in ladder.rows if one.winner)
    assert ladder.cares == (why,)
    assert row.validation.text.endswith("] ⚠")
    assert why in row.validation.title
    assert f"⚠ {why}" in key_facts(record)[0].note
    assert f"\n⚠ {why}" in card_markdown(record)
    assert f"<li>⚠ {why}</li>" in page_html(record)


def test_every_ingredient_is_listed_with_its_lead_and_what_became_of_it() -> None:
    record = gated_record()
    table = ingredients(record)
    assert table is not None
    assert [[one.text for one in row[:1]] + [row[-1].text] for row in table.rows] == [
        ["light augmentation", "kept"],
        ["label smoothing 0.1", "dropped"],
        ["dropout 0.2", "dropped"],
        ["weight decay 0.1", "not judged"],
    ]
    first, *_, last = table.rows
    assert [one.text for one in first[1:5]] == [
        "Mine",
        "Mine without light augmentation",
        "+.029 [+.011, +.047]",
        ".001",
    ]
    assert "n = 440 paired items" in first[3].title
    assert [one.text for one in last[3:5]] == ["–", "–"]
    assert [row.title for row in ladder_of(record).rows if row.dropped] == [f"Mine {HOSTILE}"]
    card, page = card_markdown(record), page_html(record)
    assert card.index("## The ladder") < card.index("### Ingredients") < card.index("## Class by")
    assert "(dropped)" in card
    assert "<h3>Ingredients</h3>" in page
    assert '<span class="chip">dropped</span>' in page


def test_a_study_without_ingredients_shows_no_table_of_them() -> None:
    for record in (image_record(), {**image_record(), "gates": []}):
        assert ingredients(record) is None
        assert "Ingredients" not in card_markdown(record) + page_html(record)
