"""Figures: they draw the record's numbers, and say them in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.report.figures import (
    confusion,
    corruptions,
    cost_quality,
    curves,
    groups,
    label_efficiency,
    movement,
    reliability,
)
from regraft.report.palette import INKS, css_variables, series, variable_of
from regraft.report.scale import Scale
from sample_record import HOSTILE, SAMPLES, image_record, many_classes_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from regraft.report.figures.frame import Picture

    Maker = Callable[[Mapping[str, Any]], Picture | None]

MAKERS = (
    cost_quality.picture,
    curves.metric_picture,
    curves.loss_picture,
    reliability.picture,
    confusion.picture,
    movement.picture,
    label_efficiency.picture,
    groups.picture,
    corruptions.picture,
)
IDS = [f"{one.__module__.rpartition('.')[2]}-{one.__name__}" for one in MAKERS]


def drawn(maker: Maker, record: Mapping[str, Any]) -> Picture:
    picture = maker(record)
    assert picture is not None
    return picture


@pytest.mark.parametrize("maker", MAKERS, ids=IDS)
def test_pictures_are_plain_json_with_words_and_numbers(maker: Maker) -> None:
    picture = drawn(maker, image_record())
    assert json.loads(json.dumps(picture.to_json(), allow_nan=False))["data"]
    assert picture.description.endswith(".")
    assert picture.caption.endswith(".")
    assert picture.table.rows
    assert all(len(row) == len(picture.table.columns) for row in picture.table.rows)


@pytest.mark.parametrize("maker", MAKERS, ids=IDS)
def test_pictures_do_not_change_the_record(maker: Maker) -> None:
    record = image_record()
    maker(record)
    assert record == image_record()


@pytest.mark.parametrize("maker", MAKERS, ids=IDS)
@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_missing_is_not_drawn(maker: Maker, name: str) -> None:
    record = SAMPLES[name]()
    record |= {"curves": [], "best": None, "label_efficiency": None, "questions": []}
    record["arms"] = [arm | {"seconds": None, "movement": None} for arm in record["arms"]]
    assert maker(record) is None


@pytest.mark.parametrize("maker", MAKERS, ids=IDS)
def test_names_are_not_read_as_tags(maker: Maker) -> None:
    record = image_record()
    for one in (*record["arms"], *record["label_efficiency"]["arms"]):
        one["title"] = f"<b>{one['title']}</b>"
    for one in record["curves"]:
        one["label"] = '<a href="http://example.org">here</a>'
    record["best"]["classes"] = [HOSTILE] * 5
    figure = drawn(maker, record).to_json()
    figure["data"] = [{k: v for k, v in t.items() if k != "hovertemplate"} for t in figure["data"]]
    text = json.dumps(figure).replace("<b>&lt;", "&lt;").replace("&gt;</b>", "&gt;")
    assert "<" not in text


def test_points_lie_at_the_arms_cost_and_quality() -> None:
    record = image_record()
    figure = drawn(cost_quality.picture, record).to_json()
    winner = next(arm for arm in record["arms"] if arm["winner"])
    candidates = next(one for one in figure["data"] if one.get("name") == "Candidate")
    place = candidates["text"].index("<b>LP-FT</b>")
    score = winner["validation"]["macro_f1"]
    assert candidates["x"][place] == winner["seconds"]
    assert candidates["y"][place] == score["value"]
    bars = candidates["error_y"]
    assert bars["array"][place] == pytest.approx(score["high"] - score["value"])
    assert bars["arrayminus"][place] == pytest.approx(score["value"] - score["low"])


def test_the_frontier_holds_no_arm_that_another_beats() -> None:
    description = drawn(cost_quality.picture, image_record()).description
    named = description.partition("better than: ")[2]
    assert named == (
        "Majority class, Raw input + logistic regression, Nearest centroid, Linear probe, LP-FT, "
        "upper half, Gradual unfreezing and LP-FT."
    )


def test_where_less_is_better_the_frontier_turns_round() -> None:
    record = image_record()
    record["study"] |= {"metric": "log_loss", "higher_is_better": False}
    description = drawn(cost_quality.picture, record).description
    assert description.endswith("Gradual unfreezing and LP-FT.")


def test_confusion_keeps_its_counts_and_names_the_worst() -> None:
    record = image_record()
    best = record["best"]
    picture = drawn(confusion.picture, record)
    assert [[int(c.text) for c in row[1:]] for row in picture.table.rows] == best["confusion"]
    counts = best["confusion"]
    n, i, j = max((counts[i][j], -i, -j) for i in range(5) for j in range(5) if i != j)
    assert f"{best['classes'][-i]} taken for {best['classes'][-j]} ({n})" in picture.description


def test_many_classes_are_listed_by_their_mix_ups() -> None:
    picture = drawn(confusion.picture, many_classes_record())
    counts = [int(row[2].text) for row in picture.table.rows]
    assert len(counts) == 50
    assert counts == sorted(counts, reverse=True)
    assert len(picture.to_json()["layout"]["xaxis"]["tickvals"]) <= 40


def test_a_run_that_only_fell_is_described_by_its_lowest_loss() -> None:
    point = {"step": 10, "epoch": 1.0, "seconds": 1.0, "train_loss": 0.9, "metric": 0.5}
    points = [point, {**point, "step": 20, "train_loss": 0.4, "metric": 0.6}]
    record = image_record()
    record["curves"] = [{"run": "r", "protocol": "lora", "label": "LoRA", "points": points}]
    assert "LoRA from .900 to .400 at step 20" in drawn(curves.loss_picture, record).description
    assert "LoRA from .500 to .600 at step 20" in drawn(curves.metric_picture, record).description


def test_lines_are_told_apart() -> None:
    assert len({series(place) for place in range(35)}) == 35


def test_every_colour_of_a_picture_has_its_dark_counterpart() -> None:
    assert set(variable_of().values()) == {f"--{name}" for name in INKS}
    known = set(variable_of()) | {"rgba(0, 0, 0, 0)"}

    def colours(value: Any, *, inside: bool = False) -> set[str]:
        if isinstance(value, dict):
            return {c for k, v in value.items() for c in colours(v, inside="color" in k.lower())}
        if isinstance(value, list):
            return {c for one in value for c in colours(one, inside=inside)}
        return {value} if inside and isinstance(value, str) else set()

    used = {c for maker in MAKERS for c in colours(drawn(maker, image_record()).to_json())}
    assert used - known == set()
    assert css_variables(dark=True) != css_variables(dark=False)


def luminance(colour: str) -> float:
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", ["ink", "muted", "accent", "good", "bad", "unsure"])
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_stands_out_from_the_paper(name: str, mode: str) -> None:
    """WCAG 2.2 AA asks for 4.5."""
    for paper in ("paper", "raised"):
        assert contrast(getattr(INKS[name], mode), getattr(INKS[paper], mode)) >= 4.5


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_lines_stand_out_from_the_paper(place: int, mode: str) -> None:
    """WCAG 2.2 asks for 3 of graphical objects."""
    colour = getattr(INKS[series(place)[0]], mode)
    assert contrast(colour, getattr(INKS["paper"], mode)) >= 3


scores = st.floats(0, 1).map(
    lambda v: {"value": v, "low": max(v - 0.05, 0), "high": min(v + 0.05, 1)}
)


@given(st.lists(scores, min_size=1), st.booleans(), st.data())
def test_a_scale_holds_the_best_and_what_is_kept(
    found: list[dict[str, float]], higher: bool, data: st.DataObject
) -> None:
    kept = data.draw(st.sampled_from([one["value"] for one in found]))
    scale = Scale.of(found, higher_is_better=higher, kept=[kept])
    best = (max if higher else min)(one["value"] for one in found)
    assert scale.holds(best)
    assert scale.holds(kept)
    assert 0 <= scale.share(kept) <= 1
    assert all(scale.holds(tick) for tick in scale.ticks())
    assert len(scale.ticks()) <= 4


def test_a_majority_far_off_does_not_press_the_others_into_a_corner() -> None:
    values = (0.1, 0.86, 0.88, 0.9, 0.91)
    scale = Scale.of([{"value": v, "low": v, "high": v} for v in values], higher_is_better=True)
    assert not scale.holds(0.1)
    assert scale.holds(0.86)


def test_a_scale_of_nothing_is_the_unit_interval() -> None:
    assert Scale.of([], higher_is_better=True) == (0.0, 1.0)


def test_every_cell_of_the_corruptions_says_its_interval_items_and_seeds() -> None:
    picture = drawn(corruptions.picture, image_record())
    heat, *written = picture.to_json()["data"]
    assert [row[0] for row in heat["z"]] == [0.92] * 3
    assert heat["z"][1][1:] == pytest.approx([0.52, 0.34, 0.16])
    assert heat["customdata"][1][3][:2] == ["fog", "5"]
    assert heat["customdata"][1][3][2].startswith(".160 [")
    assert heat["customdata"][1][3][3:] == [256, 3]
    assert sum(len(one["text"]) for one in written) == 3 * 4
    assert "fog .160" in picture.description
