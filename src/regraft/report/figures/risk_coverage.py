"""Risk over coverage: what is gained by leaving the least sure items undecided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from regraft.evidence.words import number
from regraft.report import words
from regraft.report.figures.frame import Picture, framed
from regraft.report.palette import light
from regraft.report.reading import figure_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Point = Mapping[str, Any]

_LISTED = 10
_SEEN = 0.2


def picture(record: Mapping[str, Any]) -> Picture | None:
    """Return the share of errors among the surest items, by how many of them are decided."""
    curve = figure_of(record, "trust").get("risk_coverage")
    if not curve or not curve["points"]:
        return None
    points = curve["points"]
    figure = go.Figure([_band(points), _best(points), _line(points)])
    framed(figure)
    figure.update_xaxes(
        title={"text": "share decided, the surest first"}, range=[0, 1.01], dtick=0.2
    )
    # The first few items have wide intervals: they may leave the picture.
    seen = [one["high"] for one in points if one["coverage"] >= _SEEN]
    top = 1.08 * max(*seen, *(one["value"] for one in points))
    figure.update_yaxes(title={"text": "share of errors"}, range=[0, max(top, 0.02)], nticks=6)
    return Picture(
        key="risk-coverage",
        title="Risk over coverage",
        caption="Where the model may say “I do not know”: errors among the surest items, with the "
        "95 % interval at each point. Dotted: the same errors in a perfect order.",
        description=_describe(curve),
        figure=figure,
        table=_table(points),
        height=24,
        question="trust",
    )


def _band(points: Sequence[Point]) -> go.Scatter:
    across = [one["coverage"] for one in points]
    return go.Scatter(
        x=[*across, *reversed(across)],
        y=[*(one["high"] for one in points), *(one["low"] for one in reversed(points))],
        fill="toself",
        fillcolor=light("blue-band"),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )


def _best(points: Sequence[Point]) -> go.Scatter:
    return go.Scatter(
        x=[one["coverage"] for one in points],
        y=[one["best"] for one in points],
        mode="lines",
        name="perfect order",
        line={"color": light("grey"), "width": 1.5, "dash": "dot"},
        customdata=[one["n"] for one in points],
        hovertemplate="perfect order: %{y:.3f}, n = %{customdata}<extra></extra>",
    )


def _line(points: Sequence[Point]) -> go.Scatter:
    return go.Scatter(
        x=[one["coverage"] for one in points],
        y=[one["value"] for one in points],
        mode="lines",
        name="by confidence",
        line={"color": light("blue"), "width": 2.5},
        cliponaxis=False,
        customdata=[[words.score_text(one), one["n"], number(one["threshold"])] for one in points],
        hovertemplate="surest %{x:.0%}: %{customdata[0]}<br>n = %{customdata[1]}, confidence at "
        "least %{customdata[2]}; first seed<extra></extra>",
    )


def _describe(curve: Mapping[str, Any]) -> str:
    points = curve["points"]
    half = min(points, key=lambda one: abs(one["coverage"] - 0.5))
    return (
        f"Line of the share of errors over the share of sealed items decided: "
        f"{words.score_text(points[-1])} when all {words.count(curve['n'])} are, "
        f"{words.score_text(half)} for the surest {words.percent(half['coverage'])}. Area under "
        f"it {number(curve['aurc'])}, of which a perfect order would save "
        f"{number(curve['excess'])}."
    )


def _table(points: Sequence[Point]) -> words.Table:
    step = -(-len(points) // _LISTED)
    some = [*reversed(points[::-1][::step])]
    rows = tuple(
        (
            words.Cell(words.percent(one["coverage"])),
            words.score_cell(one),
            words.Cell(number(one["best"]), f"same errors, perfect order; n = {one['n']}"),
            words.Cell(number(one["threshold"]), f"of the last of n = {one['n']}, as trained"),
            words.Cell(words.count(one["n"]), "items decided"),
        )
        for one in some
    )
    columns = ("Decided", "Share of errors", "Perfect order", "Confidence at least", "Items")
    return words.Table(columns, rows, frozenset({1, 2, 3, 4}))
