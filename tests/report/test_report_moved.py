"""Pictures of movement, its gain and critical differences: what they say, and how they open."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chromium import BINARY, Browser
from moved_sample import cells, moved_record
from regraft.errors import ConfigError
from regraft.evidence.cells import limits_json
from regraft.measure.contest import compare_scores
from regraft.report.comparison import comparison_html, write_comparison, write_limits
from regraft.report.figures import (
    critical_difference,
    depths,
    label_efficiency,
    movement_gain,
)
from regraft.report.page import page_html, write_report
from sample_record import HOSTILE, image_record

if TYPE_CHECKING:
    from pathlib import Path


def compared(means: dict[str, float], *, n: int = 12, noise: float = 0.01) -> dict[str, Any]:
    random = np.random.default_rng(0)
    scores = {name: one + noise * random.normal(size=(n, 1)) for name, one in means.items()}
    found = compare_scores(scores).to_json()
    systems = [{"name": name} for name in means]
    return {
        "metric": "score",
        "n": n,
        "part": "data sets",
        "systems": systems,
        **found,
        "note": "",
    }


FIVE = {"LP-FT": 0.92, "LoRA": 0.91, "Full": 0.905, "Probe": 0.88, "Scratch": 0.80}


def test_the_heat_map_shows_each_depth_and_a_dash_where_nothing_moved() -> None:
    picture = depths.picture(moved_record())
    assert picture is not None
    (heat,) = picture.to_json()["data"]
    assert [row[0] for row in heat["text"]] == ["–", "–", "–"]
    assert heat["text"][0][-1] == ".410"
    assert heat["z"][1][:4] == [0.0] * 4
    assert "n = 440 items" in heat["customdata"][0][3]
    assert "[.219, .328]" in heat["customdata"][0][4]
    assert picture.question == "moved"
    assert len(picture.table.rows) == 3 * 7
    assert "LP-FT moved most at pooled features, MMD² .410" in picture.description


def test_points_of_movement_and_gain_carry_their_intervals_and_the_verdict() -> None:
    picture = movement_gain.picture(moved_record(7))
    assert picture is not None
    traces = picture.to_json()["data"]
    assert [one["name"] for one in traces] == ["facebook/dinov2-small", "microsoft/resnet-18"]
    assert sum(len(one["x"]) for one in traces) == 7
    assert all("n = 440 items, 3 seeds" in text for one in traces for text in one["customdata"])
    assert "7 cells show |ρ| ≥ .786 only" in picture.caption
    three = movement_gain.picture(moved_record(3))
    assert three is not None
    assert "undecidable: 3 cells" in three.caption
    assert movement_gain.picture(moved_record(1)) is None


@pytest.mark.parametrize("maker", [depths.picture, movement_gain.picture])
def test_a_record_without_the_question_is_not_drawn(maker: Any) -> None:
    assert maker(image_record() | {"questions": []}) is None


def test_names_in_movement_are_not_read_as_tags() -> None:
    record = moved_record()
    figure = record["questions"][-1]["figure"]
    for one in (*figure["depths"], *figure["cells"]):
        one["title"] = HOSTILE
    for maker in (depths.picture, movement_gain.picture):
        picture = maker(record)
        assert picture is not None
        assert "<script" not in json.dumps(picture.to_json())
    assert HOSTILE not in page_html(record)


def test_power_laws_are_drawn_as_fine_dots_and_stand_in_the_table() -> None:
    picture = label_efficiency.picture(moved_record())
    assert picture is not None
    dots = [one for one in picture.to_json()["data"] if one["mode"] == "markers"]
    assert len(dots) == 4
    told = dots[0]["customdata"][0][1]
    assert "a [.000, .040], b [.500, .700], c [.500, .900]; n = 550; mean of 3 seeds" in told
    assert picture.table.columns[-1] == "Power law"
    without = label_efficiency.picture(image_record())
    assert without is not None
    assert without.table.columns[-1] == "Seeds"


def test_bars_join_the_largest_runs_that_cannot_be_told_apart() -> None:
    """Ranks 1 2 3 4 where only neighbours tie give three bars; where all tie, one."""
    ranks = [(name, float(i + 1)) for i, name in enumerate("abcd")]

    def pairs(reach: int) -> list[dict[str, Any]]:
        return [
            {"first": a, "second": b, "tie": abs(i - j) <= reach}
            for i, (a, _) in enumerate(ranks)
            for j, (b, _) in enumerate(ranks)
            if i < j
        ]

    def names(reach: int) -> list[str]:
        found = critical_difference.alike(ranks, pairs(reach))
        return ["".join(name for name, _ in one) for one in found]

    assert names(1) == ["ab", "bc", "cd"]
    assert names(2) == ["abc", "bcd"]
    assert names(3) == ["abcd"]
    assert names(0) == []


def test_the_critical_difference_is_that_of_nemenyi() -> None:
    found = compared(FIVE)
    picture = critical_difference.picture(found)
    assert picture is not None
    reach = picture.to_json()["data"][0]["x"]
    assert reach[1] - reach[0] == pytest.approx(6.1 / np.sqrt(12), rel=0.01)  # q₅ √(5·6/6) / √N
    assert found["critical_difference"] == pytest.approx(1.761, abs=1e-3)
    assert "Not told apart" in picture.description
    assert len(picture.table.rows) == 10
    two = compared({"a": 0.9, "b": 0.8})
    assert critical_difference.picture(two) is None
    assert "Pair by pair" in comparison_html(two)


def test_a_page_is_written_as_html_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.html"):
        write_comparison(compared(FIVE), tmp_path / "found.svg")
    with pytest.raises(ConfigError, match="no cells to draw"):
        write_limits({**limits_json([], seed=0), "left_out": []}, tmp_path / "limits.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.browser
@pytest.mark.skipif(BINARY is None, reason="there is no Chromium (apt-get install chromium)")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_pages_open_without_errors_or_requests(tmp_path: Path, width: int) -> None:
    pages = [
        write_report(moved_record(), tmp_path / "report.html"),
        write_comparison(compared(FIVE), tmp_path / "compare.html"),
        write_limits({**limits_json(cells(10), seed=0), "left_out": []}, tmp_path / "limits.html"),
    ]
    with Browser() as browser:
        for page in pages:
            browser.requests.clear()
            browser.open(page, width=width, dark=width < 400)
            assert browser.complaints == []
            assert browser.requests == [page.resolve().as_uri()]
            assert browser.value("document.documentElement.scrollWidth") == width
