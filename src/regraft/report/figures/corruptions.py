"""Corruptions: what accuracy is left of each kind at each severity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from regraft.evidence.words import number
from regraft.report import words
from regraft.report.figures.frame import Picture, framed
from regraft.report.palette import light

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Cells = Sequence[Mapping[str, Any]]

_KEY = "hold_up"
_DESCRIBED = 3
_DEEP = 0.6
"""Value from which a cell is too deep for ink."""


def picture(record: Mapping[str, Any]) -> Picture | None:
    """Return accuracy by corruption and severity as a heat map, the clean inputs on its left."""
    asked = {one["key"]: one for one in record.get("questions") or ()}
    found = (asked.get(_KEY) or {}).get("figure")
    if not found or not found["corruptions"]:
        return None
    rows = [
        (one["name"].replace("_", " "), [found["clean"], *one["severities"]])
        for one in found["corruptions"]
    ]
    severities = ["none", *(str(one["severity"]) for one in found["corruptions"][0]["severities"])]
    figure = go.Figure([_heatmap(rows, severities), *_numbers(rows)])
    framed(figure, legend=False)
    places = list(range(len(severities)))
    figure.update_xaxes(
        tickvals=places,
        ticktext=severities,
        range=[-0.5, len(places) - 0.5],
        showgrid=False,
        title={"text": "severity"},
    )
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[name for name, _ in rows],
        range=[len(rows) - 0.5, -0.5],
        showgrid=False,
    )
    return Picture(
        key="corruptions",
        title="Accuracy under corruption",
        caption=f"{found['arm']} on {words.count(found['clean']['n'])} items of the sealed part, "
        "the same in every cell. Hover for the interval.",
        description=_describe(found["arm"], rows),
        figure=figure,
        table=_table(rows, severities),
        height=8 + 1.6 * len(rows),
        question=_KEY,
    )


def _heatmap(rows: Sequence[tuple[str, Cells]], severities: Sequence[str]) -> go.Heatmap:
    return go.Heatmap(
        x=list(range(len(severities))),
        y=list(range(len(rows))),
        z=[[one["value"] for one in cells] for _, cells in rows],
        zmin=0,
        zmax=1,
        customdata=[
            [
                [name, severity, words.score_text(one), one["n"], one["seeds"]]
                for severity, one in zip(severities, cells, strict=True)
            ]
            for name, cells in rows
        ],
        hovertemplate="<b>%{customdata[0]}</b>, severity %{customdata[1]}<br>%{customdata[2]}<br>"
        "n = %{customdata[3]}, seeds: %{customdata[4]}<extra></extra>",
        colorscale=[[i / 4, light(f"heat-{i}")] for i in range(5)],
        showscale=False,
        xgap=1,
        ygap=1,
    )


def _numbers(rows: Sequence[tuple[str, Cells]]) -> list[go.Scatter]:
    """Return what is written on the cells: ink on pale ones, the colour of the paper on deep ones.

    On dark paper the scale turns round, and ink and paper with it.
    """
    placed = [
        (x, y, one["value"]) for y, (_, cells) in enumerate(rows) for x, one in enumerate(cells)
    ]
    written = (
        ("ink", [one for one in placed if one[2] < _DEEP]),
        ("paper", [one for one in placed if one[2] >= _DEEP]),
    )
    return [
        go.Scatter(
            x=[x for x, _, _ in cells],
            y=[y for _, y, _ in cells],
            text=[number(value) for _, _, value in cells],
            mode="text",
            textfont={"color": light(colour), "size": 12},
            hoverinfo="skip",
        )
        for colour, cells in written
        if cells
    ]


def _describe(arm: str, rows: Sequence[tuple[str, Cells]]) -> str:
    clean = rows[0][1][0]
    ends = sorted((cells[-1]["value"], name) for name, cells in rows)
    worst = [f"{name} {number(value)}" for value, name in ends[:_DESCRIBED]]
    return (
        f"Heat map of the accuracy of {arm} by corruption and severity: {number(clean['value'])} "
        f"on the inputs as they are; lowest at the greatest severity: {words.listed(worst)}."
    )


def _table(rows: Sequence[tuple[str, Cells]], severities: Sequence[str]) -> words.Table:
    return words.Table(
        ("Corruption", *(f"severity {one}" for one in severities)),
        tuple(
            (words.Cell(name), *(words.score_cell(one) for one in cells)) for name, cells in rows
        ),
        frozenset(range(1, len(severities) + 1)),
    )
