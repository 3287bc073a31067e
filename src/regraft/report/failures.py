"""What of the failures a person can look at: items of failing slices, labels likely wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from regraft.evidence.words import number
from regraft.report import words
from regraft.report.reading import figure_of
from regraft.report.words import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    Record = Mapping[str, Any]

_SLICES = 3
_SHOWN_IMAGES = ("data:image/jpeg;base64,", "data:image/png;base64,")


class ShownSlice(NamedTuple):
    """A slice that fails more than the rest, with the items nearest to its middle."""

    name: str
    text: str
    title: str
    nearest: list[Mapping[str, Any]]


def failing_slices(record: Record) -> list[ShownSlice]:
    """Return the slices that fail significantly more, the most significant first."""
    found = figure_of(record, "fail").get("slices") or ()
    return [
        ShownSlice(
            one["name"],
            f"{one['errors']} of {words.count(one['n'])} wrong: {words.score_text(one)}",
            words.score_title(one),
            [{**item, "image": shown_image(item.get("image"))} for item in one["nearest"]],
        )
        for one in found
        if one["is_worse"] and one["nearest"]
    ][:_SLICES]


def sealed_suspects(record: Record) -> Table | None:
    """Return the sealed items whose labels the winner contradicts most, or None."""
    found = figure_of(record, "fail").get("suspects")
    if not found:
        return None
    why = "the winner's probability of the suggested class, after temperature scaling; 1 item"
    rows = tuple(
        (
            Cell(one["item"]),
            Cell(one["label"], "the label it has"),
            Cell(one["suggested"], "the class it more likely has"),
            Cell(number(one["confidence"]), f"{why}; 1 seed; {words.POINT}"),
        )
        for one in found
    )
    return Table(("Item", "Label", "Suggested", "Confidence"), rows, frozenset({3}))


def shown_image(address: str | None) -> str | None:
    """Return an embedded JPEG or PNG; None for what is anything else."""
    return address if str(address).startswith(_SHOWN_IMAGES) else None
