"""The report opened in a browser: quiet, offline, and as wide as the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chromium import BINARY, Browser
from regraft.report.page import page_html, write_report
from sample_record import SAMPLES, bare_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BINARY is None, reason="there is no Chromium (apt-get install chromium)"),
]

TOO_WIDE = """
[...document.querySelectorAll("body *")]
  .filter(one => !one.closest(".scroll") && !one.closest("svg") && !one.closest(".unseen"))
  .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(one => `${one.tagName} ${one.className}`)
"""
LINE_COLOUR = "getComputedStyle(document.querySelector('#cost .gridlayer path')).stroke"
PAPER = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture(scope="module", params=SAMPLES)
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / f"{request.param}.html"
    return write_report(SAMPLES[request.param](), path)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_opens_without_errors_or_requests(
    browser: Browser, report: Path, width: int
) -> None:
    browser.requests.clear()
    browser.open(report, width=width)
    assert browser.complaints == []
    assert browser.requests == [report.resolve().as_uri()]
    drawn = "[...document.querySelectorAll('[data-figure]')].map(one => !!one.querySelector('svg'))"
    found = browser.value(drawn)
    assert found
    assert all(found)
    assert browser.value("document.title").endswith("· regraft")
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(TOO_WIDE) == []


@pytest.mark.parametrize("width", [360, 820])
def test_nothing_is_wider_than_the_window(browser: Browser, report: Path, width: int) -> None:
    browser.open(report, width=width)
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(TOO_WIDE) == []


def test_pictures_follow_the_dark_mode(browser: Browser, report: Path) -> None:
    browser.open(report, width=1280)
    light = browser.value(PAPER), browser.value(LINE_COLOUR)
    browser.open(report, width=1280, dark=True)
    dark = browser.value(PAPER), browser.value(LINE_COLOUR)
    assert light == ("rgb(255, 255, 255)", "rgb(225, 229, 232)")
    assert dark == ("rgb(20, 24, 28)", "rgb(47, 54, 61)")


def test_the_report_prints(browser: Browser, report: Path, tmp_path: Path) -> None:
    browser.open(report, width=1280, dark=True)
    browser.print(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert browser.complaints == []


def test_a_script_in_the_page_that_is_not_its_own_does_not_run(
    browser: Browser, tmp_path: Path
) -> None:
    page = page_html(bare_record()).replace("<main", "<script>document.owned = 1</script><main", 1)
    altered = tmp_path / "altered.html"
    altered.write_text(page, encoding="utf-8")
    browser.open(altered, width=1280)
    assert browser.value("document.owned === undefined")
    assert "Content Security Policy" in "".join(browser.complaints)
    browser.complaints.clear()
