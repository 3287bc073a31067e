"""What commands found over several studies, as one HTML file: a comparison, transfer limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft.errors import ConfigError
from regraft.report import words
from regraft.report.figures import critical_difference, movement_gain
from regraft.report.page import render, written

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LONGEST = 160


def write_comparison(found: Mapping[str, Any], path: Path) -> Path:
    """Write what `regraft compare` found as one HTML file that needs no network.

    Raises:
        ConfigError: The ending is not .html, or the file cannot be written.
    """
    _check_ending(path)
    return written(path, comparison_html(found))


def write_limits(found: Mapping[str, Any], path: Path) -> Path:
    """Write what `regraft limits` found as one HTML file that needs no network.

    Raises:
        ConfigError: The ending is not .html, there are no cells, or the file cannot be written.
    """
    _check_ending(path)
    if not found["cells"]:
        raise ConfigError("there are no cells to draw. Run studies that adapt.", where=str(path))
    drawn = movement_gain.drawn_cells(found, named_by="data")
    facts = {"found": found, "said": [found["gain"]["text"], found["speed"]["text"]]}
    return written(path, render("limits.html.j2", {drawn.key: drawn}, facts))


def _check_ending(path: Path) -> None:
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(
            f"a page cannot be written as {path.suffix or 'a file without ending'!r}. "
            "Name a file that ends in .html.",
            where=str(path),
        )


def comparison_html(found: Mapping[str, Any]) -> str:
    """Return the comparison as HTML text."""
    drawn = critical_difference.picture(found)
    return render(
        "comparison.html.j2",
        {} if drawn is None else {drawn.key: drawn},
        {
            "found": found,
            "headline": _headline(found["conclusion"]),
            "names": [one["name"] for one in found["systems"]],
            "pairs": _pairs(found),
        },
    )


def _headline(conclusion: str) -> str:
    """Return the conclusion, or its first part where it names too many pairs to be read so."""
    return conclusion if len(conclusion) <= _LONGEST else conclusion.partition("; ")[0]


def _pairs(found: Mapping[str, Any]) -> words.Table:
    rows = tuple(
        (
            words.Cell(f"{one['first']} − {one['second']}"),
            words.Cell(words.comparison_text(one), _title(one, found["n"])),
            words.Cell(_p(one["p"]), one["estimator"]),
            words.Cell(_p(one["p_adjusted"]), "corrected for all pairs"),
            words.Cell("a tie" if one["tie"] else f"{one['winner']} is better"),
        )
        for one in found["comparisons"]
    )
    heads = ("Pair", f"Difference, {found['metric']}", "p", "p, corrected", "Conclusion")
    return words.Table(heads, rows, frozenset({1, 2, 3}))


def _title(one: Mapping[str, Any], n: int) -> str:
    told = (f"n = {n}", one["estimator"], words.warning_of(one))
    return "; ".join(part for part in told if part)


def _p(value: float | None) -> str:
    return words.MISSING if value is None else words.probability(value)
