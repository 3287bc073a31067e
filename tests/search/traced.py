"""What of a record or a page cannot be traced: numbers without n, interval, estimator or seeds."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, final

SCORE_KEYS = ("value", "difference", "mmd2", "floor", "of_steps")
"""A dictionary with a number under one of these says itself what stands behind it."""
NOT_SCORES = ("settings",)
KNOWN = {
    *SCORE_KEYS,
    *("low", "high", "p", "p_adjusted", "p_moved", "p_apart"),
    # Parts of the score in whose dictionary they stand, which its estimator names.
    *("cka", "weights", "residual", "gain", "gain_low", "gain_high", "steps"),
    *("scratch", "transfer", "critical", "detectable"),
    # What was spent, set, counted or read off, and places on an axis.
    *("seconds", "seconds_total", "test_seconds", "estimated_seconds", "predicted_seconds"),
    *("budget_seconds", "imbalance", "share", "labels_per_class", "temperature", "joules"),
    *("coverage", "threshold", "best", "metric", "train_loss", "largest_difference"),
    *("level", "power"),
    # Of one item, and of bins, which have `right` with its interval.
    *("confidence", "accuracy"),
}


def untraced(one: Any, where: str = "record") -> list[str]:
    """Return where a number lacks n, estimator, seeds, or an interval or the reason for none.

    A number that stands beside a score has an entry of its key under `behind` or `intervals`, or
    its ends as ``KEY_interval``.
    """
    if isinstance(one, list):
        return [each for i, part in enumerate(one) for each in untraced(part, f"{where}[{i}]")]
    if not isinstance(one, dict):
        return []
    found = []
    if any(isinstance(one.get(key), float) for key in SCORE_KEYS) or one.get("of_steps"):
        found = [
            f"{where}: no {key}" for key in ("n", "estimator", "seeds") if one.get(key) is None
        ]
        has_ends = one.get("floor_interval") or None not in (one.get("low"), one.get("high"))
        if not has_ends and not one.get("no_interval"):
            found.append(f"{where}: neither an interval nor why there is none")
    told = KNOWN | {*(one.get("behind") or ()), *(one.get("intervals") or ())}
    found += [
        f"{where}: nothing behind {key}"
        for key, part in one.items()
        if isinstance(part, float) and key not in told and f"{key}_interval" not in one
    ]
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
