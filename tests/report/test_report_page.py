"""The page as text: complete, escaped, whole or not there."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import stat
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING, Any, final

import pytest

from regraft.errors import ConfigError
from regraft.report.page import page_html, record_json, write_any, write_report
from sample_record import HOSTILE, SAMPLES, bare_record, image_record, many_classes_record

if TYPE_CHECKING:
    from pathlib import Path


@final
class Outline(HTMLParser):
    """What a page consists of: its tags with their attributes, its scripts, its visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.scripts[-1] += data
        elif self._open != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module", params=SAMPLES)
def outline(request: pytest.FixtureRequest) -> Outline:
    return Outline(page_html(SAMPLES[request.param]()))


def test_the_page_has_no_scripts_but_its_own(outline: Outline) -> None:
    figures, plotly, own = outline.scripts
    assert set(json.loads(figures)) == {"figures", "variables"}
    assert "plotly.js" in plotly[:100]
    assert "Plotly.react" in own
    assert not [a for _, a in outline.tags if any(name.startswith("on") for name in a)]


def test_the_policy_allows_just_these_scripts(outline: Outline) -> None:
    policy = next(a["content"] for a in outline.all("meta") if "http-equiv" in a) or ""
    digests = [
        base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()
        for one in outline.scripts[1:]
    ]
    assert policy.startswith("default-src 'none'; ")
    assert re.findall(r"'sha256-([^']+)'", policy) == digests


def test_the_page_names_no_address_to_load(outline: Outline) -> None:
    loaded = [a.get(name) or "" for _, a in outline.tags for name in ("src", "href")]
    assert [one for one in loaded if one and not one.startswith(("data:image/", "#"))] == []


def test_headings_are_in_order(outline: Outline) -> None:
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_link_of_the_contents_has_its_place(outline: Outline) -> None:
    places = {a.get("id") for _, a in outline.tags}
    assert {(a["href"] or "")[1:] for a in outline.all("a")} <= places


def test_every_picture_has_words_and_a_table(outline: Outline) -> None:
    plots = [a for a in outline.all("div") if "data-figure" in a]
    assert plots
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 40 for a in plots)
    assert outline.text.count("The numbers of this picture") == len(plots)


def test_every_scrolling_region_can_be_reached_by_keyboard(outline: Outline) -> None:
    regions = [a for a in outline.all("div") if "scroll" in (a.get("class") or "").split()]
    assert all(a["tabindex"] == "0" and a["aria-label"] and a["role"] == "region" for a in regions)


def test_figures_in_the_page_are_those_embedded(outline: Outline) -> None:
    shown = [a["data-figure"] for a in outline.all("div") if "data-figure" in a]
    assert sorted(json.loads(outline.scripts[0])["figures"]) == sorted(filter(None, shown))


def test_names_from_data_are_shown_and_not_obeyed() -> None:
    page = page_html(many_classes_record())
    outline = Outline(page)
    assert HOSTILE not in page
    assert HOSTILE in outline.text
    assert len(outline.scripts) == 3
    assert not [a for a in outline.all("img") if not (a["src"] or "").startswith("data:image/")]
    confusion = json.loads(outline.scripts[0])["figures"]["confusion"]
    names = confusion["layout"]["xaxis"]["ticktext"] + confusion["data"][0]["customdata"][0]
    assert "<" not in json.dumps(names)
    assert "&lt;script&gt;" in json.dumps(names)


def test_an_image_that_is_no_picture_is_left_out() -> None:
    record = image_record()
    record["best"]["mistakes"][0]["image"] = "https://example.org/pixel.gif"
    record["best"]["mistakes"][1]["image"] = "data:image/svg+xml;base64,PHN2Zz4="
    page = page_html(record)
    assert "example.org" not in page
    assert "svg+xml;base64" not in Outline(page).text
    assert len(Outline(page).all("img")) == len(record["best"]["mistakes"]) - 2


def test_the_verdict_comes_first() -> None:
    record = image_record()
    outline = Outline(page_html(record))
    assert record["verdict"]["sentence"] in outline.text
    assert "Confirmed on the sealed test part" in outline.text
    assert "Target macro_f1>=0.9 undecided" in outline.text
    assert outline.text.index("Confirmed on") < outline.text.index("control, no transfer")


def test_warnings_follow_the_reasons_and_are_escaped() -> None:
    record = image_record()
    assert "Warning:" not in Outline(page_html(record)).text
    record["warnings"], record["task"]["warnings"] = [f"{HOSTILE} fails"], ["labels at chance"]
    page = page_html(record)
    assert HOSTILE not in page
    text = Outline(page).text
    assert text.count("Warning:") == 2
    assert text.index("labels at chance.") < text.index(f"{HOSTILE} fails.")


@pytest.mark.parametrize(
    ("confirmed", "words"),
    [(False, "Not confirmed on the sealed"), (None, "leaves it undecided"), (True, "Confirmed")],
)
def test_the_badge_says_whether_the_verdict_held(confirmed: bool | None, words: str) -> None:
    record = bare_record()
    record["verdict"]["confirmed"] = confirmed
    assert words in Outline(page_html(record)).text


def test_skipped_and_failed_arms_are_shown_with_their_reasons() -> None:
    record = image_record()
    text = Outline(page_html(record)).text
    reasons = [arm["reason"] for arm in record["arms"] if arm["status"] != "done"]
    assert len(reasons) == 2
    assert all(reason in text for reason in reasons)


def test_numbers_say_what_stands_behind_them() -> None:
    titles = [a.get("title") or "" for a in Outline(page_html(image_record())).all("span")]
    assert any("95 % interval [.892, .944]; n = 440; bootstrap" in one for one in titles)
    assert any("after Holm's correction; n = 440 paired items" in one for one in titles)
    assert any("; mean of 3 seeds; " in one for one in titles)


def test_missing_parts_are_left_out() -> None:
    outline = Outline(page_html(bare_record()))
    ids = {a.get("id") for a in outline.all("section")}
    assert ids == {"ladder", "cost", "calibration", "record"}


def test_the_file_is_written_whole_and_replaces_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    record = bare_record()
    assert write_report(record, path) == path
    record["verdict"]["sentence"] = "Another verdict."
    write_report(record, path)
    assert "Another verdict." in path.read_text(encoding="utf-8")
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRUSR


def test_a_report_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        ConfigError, match=r"file/report\.html: the report cannot be written \(.+\)"
    ):
        write_report(bare_record(), tmp_path / "file" / "report.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(ConfigError, match="Name another file"):
        write_report(bare_record(), tmp_path / "folder.html")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder.html"]


def test_the_ending_names_the_form(tmp_path: Path) -> None:
    record = image_record()
    assert write_any(record, tmp_path / "a.HTML").read_text("utf-8").startswith("<!doctype html>")
    assert write_any(record, tmp_path / "a.md").read_text("utf-8").startswith("# LP-FT")
    assert json.loads(write_any(record, tmp_path / "a.json").read_text("utf-8")) == record
    with pytest.raises(ConfigError, match=r"cannot be written as '\.pdf'"):
        write_any(record, tmp_path / "a.pdf")


@pytest.mark.parametrize("name", SAMPLES)
def test_json_round_trips(name: str) -> None:
    record: dict[str, Any] = SAMPLES[name]()
    assert json.loads(record_json(record)) == record
