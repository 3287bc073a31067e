"""Numbers, names and times as a reader of the report sees them."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, NamedTuple

from regraft.evidence.words import number, signed
from regraft.measure.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MISSING = "–"
CARE = "⚠"
"""Stands behind an interval that is to be taken with care; the reason is told on hovering."""

POINT = "point estimate, no interval"


class Cell(NamedTuple):
    """What a table shows, and what it says on hovering."""

    text: str
    title: str = ""

    @property
    def head(self) -> str:
        """The value without its interval."""
        return self.text.partition(" [")[0]

    @property
    def tail(self) -> str:
        """The interval alone, or nothing."""
        _, bracket, rest = self.text.partition(" [")
        return f"[{rest}" if bracket else ""


class Table(NamedTuple):
    """Heads of columns and rows of cells; `numeric` holds the columns set flush right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()


def metric_title(name: str) -> str:
    """Return a metric's name for people; an unknown one keeps its own."""
    return METRICS[name].title if name in METRICS else name.replace("_", " ")


def interval_text(score: Mapping[str, Any]) -> str:
    """Return the interval alone: ``[.894, .929]``, or nothing where there is none."""
    if score.get("low") is None or score.get("high") is None:
        return ""
    return f"[{number(score['low'])}, {number(score['high'])}]"


def score_text(score: Mapping[str, Any]) -> str:
    """Return value and interval, marked where it is rough: ``.912 [.894, .929] ⚠``."""
    text = f"{number(score['value'])} {interval_text(score)}".strip()
    return f"{text} {CARE}" if warning_of(score) else text


def warning_of(score: Mapping[str, Any]) -> str:
    """Return why an interval is to be taken with care, or nothing; older records call it a note."""
    return str(score.get("warning") or score.get("note") or "")


def score_title(score: Mapping[str, Any]) -> str:
    """Return what stands behind a number: interval or why none, n, seeds, estimator, warning."""
    parts = []
    if interval_text(score):
        parts.append(f"95 % interval {interval_text(score)}")
    elif score.get("no_interval"):
        parts.append(f"no interval: {score['no_interval']}")
    else:
        parts.append(POINT)
    if score.get("n") is not None:
        parts.append(f"n = {count(score['n'])} {score.get('n_is', '')}".rstrip())
    told = (seeds_text(score.get("seeds")), score.get("estimator"), warning_of(score))
    parts += list(dict.fromkeys(str(one) for one in told if one))
    return "; ".join(parts)


def seeds_text(seeds: int | Sequence[int] | None) -> str:
    """Return how many repetitions a number rests on; nothing where that is unknown or none.

    Example:
        >>> seeds_text(1), seeds_text(3), seeds_text([3, 1]), seeds_text(0), seeds_text(None)
        ('1 seed', 'mean of 3 seeds', 'means of 3 and 1 seeds', '', '')
    """
    if not seeds:
        return ""
    if isinstance(seeds, int):
        return "1 seed" if seeds == 1 else f"mean of {seeds} seeds"
    return f"means of {listed([str(one) for one in seeds])} seeds"


def behind_title(behind: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what stands behind the numbers beside an answer's own, each in parentheses."""
    return "; ".join(
        f"{metric_title(name)} {number(one['value'])} ({score_title(one)})"
        for name, one in behind.items()
    )


def score_cell(score: Mapping[str, Any] | None) -> Cell:
    """Return a cell of value and interval."""
    return Cell(MISSING) if score is None else Cell(score_text(score), score_title(score))


def comparison_text(one: Mapping[str, Any]) -> str:
    """Return a difference with its interval, marked where it is rough: ``+.031 [+.012, +.050]``."""
    if one.get("difference") is None:
        return MISSING
    text = signed(one["difference"])
    if one.get("low") is None or one.get("high") is None:
        return text
    text = f"{text} [{signed(one['low'])}, {signed(one['high'])}]"
    return f"{text} {CARE}" if warning_of(one) else text


def comparison_title(one: Mapping[str, Any]) -> str:
    """Return how a difference was tested."""
    parts = [f"p = {probability(one['p'])}"] if one.get("p") is not None else []
    if one.get("p_adjusted") is not None:
        parts.append(f"{probability(one['p_adjusted'])} after Holm's correction")
    if one.get("n") is not None:
        parts.append(f"n = {count(one['n'])} paired items")
    told = (seeds_text(one.get("seeds")), one.get("estimator"), warning_of(one))
    parts += [str(o) for o in told if o]
    if one.get("no_interval"):
        parts.append(f"no interval: {one['no_interval']}")
    return "; ".join(parts)


def seconds_text(seconds: float | None) -> str:
    """Return seconds for people.

    Example:
        >>> seconds_text(0.02), seconds_text(7.43), seconds_text(61), seconds_text(5400)
        ('< 0.1 s', '7.4 s', '1 min 1 s', '1 h 30 min')
    """
    if seconds is None:
        return MISSING
    if seconds < 0.05:
        return "< 0.1 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def probability(value: float) -> str:
    """Return a p-value.

    Example:
        >>> probability(0.0304), probability(0.00001)
        ('.030', '< .001')
    """
    return "< .001" if value < 0.001 else number(value)


def percent(share: float | None) -> str:
    """Return a share in percent.

    Example:
        >>> percent(0.0042), percent(0.372), percent(1.0), percent(None)
        ('0.42 %', '37 %', '100 %', '–')
    """
    if share is None:
        return MISSING
    value = 100 * share
    return f"{value:.2g} %" if 0 < value < 10 else f"{value:.0f} %"


def count(value: float | None) -> str:
    """Return a whole number, thousands set apart.

    Example:
        >>> count(1234567), count(None)
        ('1,234,567', '–')
    """
    return MISSING if value is None else f"{round(value):,}"


def short_count(value: float | None) -> str:
    """Return a large number in few characters.

    Example:
        >>> short_count(950), short_count(12_345), short_count(22_713_216)
        ('950', '12.3 k', '22.7 M')
    """
    if value is None:
        return MISSING
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.0f}"


def size(n_bytes: float | None) -> str:
    """Return an amount of memory.

    Example:
        >>> size(1_500_000), size(2_000)
        ('1.5 MB', '2 kB')
    """
    return MISSING if n_bytes is None else f"{short_count(n_bytes)}B"


def short(text: str, longest: int = 24) -> str:
    """Return a name cut in its middle, so that beginning and end still tell it apart.

    Example:
        >>> short("a very long class name", 11)
        'a ver… name'
    """
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f"{text[: longest - 1 - tail]}…{text[len(text) - tail :]}"


def in_picture(text: str) -> str:
    """Return a name from data as Plotly shows it literally; it would read tags and entities."""
    return html.escape(text, quote=False)


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
