"""What of a record or a page cannot be traced: numbers without n, interval, estimator or seeds."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, final

SCORE_KEYS = ("value", "difference", "mmd2")
NOT_SCORES = ("settings",)


def untraced(one: Any, where: str = "record") -> list[str]:
    """Return where a score lacks n, estimator, seeds, or an interval or the reason for none."""
    if isinstance(one, list):
        return [each for i, part in enumerate(one) for each in untraced(part, f"{where}[{i}]")]
    if not isinstance(one, dict):
        return []
    found = []
    if any(isinstance(one.get(key), float) for key in SCORE_KEYS):
        found = [
            f"{where}: no {key}" for key in ("n", "estimator", "seeds") if one.get(key) is None
        ]
        if None in (one.get("low"), one.get("high")) and not one.get("no_interval"):
            found.append(f"{where}: neither an interval nor why there is none")
    inside = [(key, part) for key, part in one.items() if key not in NOT_SCORES]
    return found + [each for key, part in inside for each in untraced(part, f"{where}.{key}")]


@final
class Cells(HTMLParser):
    """The cells of a page that show a digit and say nothing on hovering.

    Left out are sentences (reasons of decisions and of arms that did not run) and the forest plot,
    which repeats the numbers of its row.
    """

    SENTENCES = ("reason", "why", "track")

    def __init__(self) -> None:
        super().__init__()
        self.silent: list[str] = []
        self.n_told = 0
        self._text, self._is_cell, self._is_told = "", False, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "td":
            is_sentence = bool(set((given.get("class") or "").split()) & set(self.SENTENCES))
            self._text, self._is_cell, self._is_told = "", not is_sentence, False
        self._is_told = self._is_told or bool(given.get("title"))

    def handle_data(self, data: str) -> None:
        self._text += data if self._is_cell else ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "td" and self._is_cell and any(one.isdigit() for one in self._text):
            if self._is_told:
                self.n_told += 1
            else:
                self.silent.append(self._text.strip())
        if tag == "td":
            self._is_cell = False
