"""For whom: the metric of each group with its interval, beside the controls without transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from regraft.report import words
from regraft.report.figures.frame import Picture, framed
from regraft.report.palette import light, series

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Column = Mapping[str, Any]

_KEY = "groups"


def picture(record: Mapping[str, Any]) -> Picture | None:
    """Return a bar for each group of each column, and a mark for each control."""
    figure_of = (one.get("figure") for one in record.get("questions") or () if one["key"] == _KEY)
    drawn = next(figure_of, None)
    if not drawn or not drawn["columns"]:
        return None
    columns, title = drawn["columns"], words.metric_title(drawn["metric"])
    figure, places = go.Figure(), _places(columns)
    for number in range(len(columns[0]["arms"])):
        arms = [one["arms"][number] for one in columns]
        figure.add_trace((_marks if number else _bars)(arms, places, number))
    framed(figure)
    names = [f"{column} = {group}" for column, group in places]
    figure.update_yaxes(
        tickvals=list(places.values()),
        ticktext=[words.in_picture(words.short(one, 26)) for one in names],
        showgrid=False,
        autorange="reversed",
    )
    figure.update_xaxes(title={"text": title}, rangemode="tozero", nticks=6)
    return Picture(
        key="groups",
        title="For whom it works",
        caption="Each group of the sealed test part with its 95 % interval; marks are the controls "
        "without transfer.",
        description=_describe(columns, title),
        figure=figure,
        table=_table(columns, title),
        height=8 + 1.9 * len(places),
        question=_KEY,
    )


def _places(columns: Sequence[Column]) -> dict[tuple[str, str], float]:
    """Return the height of each group, from the top, a gap between columns."""
    places: dict[tuple[str, str], float] = {}
    height = 0.0
    for column in columns:
        for one in column["arms"][0]["groups"]:
            places[column["column"], one["group"]] = height
            height += 1.0
        height += 0.6
    return places


def _points(arms: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [one for arm in arms for one in arm["groups"]]


def _bars(
    arms: Sequence[Mapping[str, Any]], places: Mapping[tuple[str, str], float], number: int
) -> go.Bar:
    del number
    points = _points(arms)
    ends = [
        (one["value"], one["low"], one["high"])
        if None not in (one["value"], one["low"], one["high"])
        else (0.0, 0.0, 0.0)
        for one in points
    ]
    return go.Bar(
        x=[one["value"] for one in points],
        y=list(places.values()),
        orientation="h",
        width=0.6,
        name=words.in_picture(words.short(arms[0]["title"], 32)),
        marker={"color": light("blue-soft"), "line": {"color": light("blue"), "width": 1.2}},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [high - value for value, _, high in ends],
            "arrayminus": [value - low for value, low, _ in ends],
            "color": light("ink"),
            "thickness": 1.4,
            "width": 4,
        },
        customdata=[_said(one) for one in points],
        hovertemplate="%{customdata[0]}<br>%{customdata[1]}",
    )


def _marks(
    arms: Sequence[Mapping[str, Any]], places: Mapping[tuple[str, str], float], number: int
) -> go.Scatter:
    points = _points(arms)
    colour, _, symbol = series(number)
    return go.Scatter(
        x=[one["value"] for one in points],
        y=list(places.values()),
        mode="markers",
        name=words.in_picture(words.short(arms[0]["title"], 32)),
        marker={"color": light(colour), "symbol": symbol, "size": 9},
        cliponaxis=False,
        customdata=[_said(one) for one in points],
        hovertemplate="%{customdata[0]}<br>%{customdata[1]}",
    )


def _said(one: Mapping[str, Any]) -> list[str]:
    return [words.in_picture(text) for text in (words.score_text(one), words.score_title(one))]


def _describe(columns: Sequence[Column], title: str) -> str:
    each = [
        f"{column['column']}: "
        + ", ".join(
            f"{one['group']} {words.score_text(one)}" for one in column["arms"][0]["groups"]
        )
        for column in columns
    ]
    arm = columns[0]["arms"][0]["title"]
    return f"Bars of {title} of {arm} by group; {'; '.join(each)}."


def _table(columns: Sequence[Column], title: str) -> words.Table:
    rows = tuple(
        (
            words.Cell(column["column"]),
            words.Cell(one["group"], f"a value of {column['column']}"),
            words.Cell(arm["title"], "the arm"),
            words.score_cell(one),
            words.Cell(words.count(one["n"]), "items of the group"),
        )
        for column in columns
        for arm in column["arms"]
        for one in arm["groups"]
    )
    return words.Table(("Column", "Group", "Arm", title, "Items"), rows, frozenset({3, 4}))
