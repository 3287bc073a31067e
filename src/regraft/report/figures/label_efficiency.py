"""Label efficiency: what each arm makes of few labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from regraft.evidence.words import number
from regraft.report import words
from regraft.report.figures.frame import Picture, framed
from regraft.report.palette import light, series
from regraft.report.reading import places_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def picture(record: Mapping[str, Any]) -> Picture | None:
    """Return the metric on the sealed part against labels per class (log), with bands."""
    efficiency = record.get("label_efficiency")
    if not efficiency or not efficiency["arms"]:
        return None
    arms, title = efficiency["arms"], words.metric_title(efficiency["metric"])
    figure = go.Figure()
    places = places_of(record)
    ordered = sorted(arms, key=lambda arm: places.get(arm["protocol"], len(places)))
    for make in (_band, _line):
        for place, arm in enumerate(ordered):
            figure.add_trace(make(arm, place))
    framed(figure)
    budgets = sorted({point["labels_per_class"] for arm in arms for point in arm["points"]})
    figure.update_xaxes(
        type="log",
        tickvals=budgets,
        ticktext=[f"{one:g}" for one in budgets],
        title={"text": "labels per class"},
    )
    figure.update_yaxes(title={"text": title}, nticks=7)
    return Picture(
        key="label-efficiency",
        title="What few labels buy",
        caption=" ".join(["Bands are 95 % intervals.", efficiency.get("note") or ""]).strip(),
        description=_describe(arms, title),
        figure=figure,
        table=_table(arms, title),
        height=27,
    )


def _points(arm: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return sorted(arm["points"], key=lambda one: one["labels_per_class"])


def _band(arm: Mapping[str, Any], place: int) -> go.Scatter:
    points = [one for one in _points(arm) if one["low"] is not None and one["high"] is not None]
    across = [one["labels_per_class"] for one in points]
    return go.Scatter(
        x=[*across, *reversed(across)],
        y=[*(one["high"] for one in points), *(one["low"] for one in reversed(points))],
        fill="toself",
        fillcolor=light(f"{series(place)[0]}-band"),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )


def _line(arm: Mapping[str, Any], place: int) -> go.Scatter:
    points, name = _points(arm), words.in_picture(words.short(arm["title"], 32))
    colour, dash, symbol = series(place)
    return go.Scatter(
        x=[one["labels_per_class"] for one in points],
        y=[one["value"] for one in points],
        mode="lines+markers",
        name=name,
        line={
            "color": light(colour),
            "width": 2.25,
            "dash": dash,
        },
        marker={"size": 8, "symbol": symbol},
        customdata=[
            [words.in_picture(text) for text in (words.score_text(one), words.score_title(one))]
            for one in points
        ],
        hovertemplate="%{x} labels per class: %{customdata[0]}<br>%{customdata[1]}",
    )


def _describe(arms: Sequence[Mapping[str, Any]], title: str) -> str:
    each = []
    for arm in arms:
        points = _points(arm)
        few, many = points[0], points[-1]
        each.append(
            f"{arm['title']} {number(few['value'])} at {few['labels_per_class']:g} and "
            f"{number(many['value'])} at {many['labels_per_class']:g} labels per class"
        )
    return f"Lines of {title} over labels per class: {'; '.join(each)}."


def _table(arms: Sequence[Mapping[str, Any]], title: str) -> words.Table:
    rows = tuple(
        (
            words.Cell(arm["title"]),
            words.Cell(f"{one['labels_per_class']:g}", "the label budget"),
            words.Cell(words.count(one.get("n_labels")), "labels used, all classes together"),
            words.score_cell(one),
            words.Cell(words.count(one.get("seeds")), "draws of labels, each with its own seed"),
        )
        for arm in arms
        for one in _points(arm)
    )
    columns = ("Arm", "Labels per class", "Labels", title, "Seeds")
    return words.Table(columns, rows, frozenset({1, 2, 3, 4}))
