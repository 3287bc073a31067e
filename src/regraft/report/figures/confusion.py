"""Confusion: which classes the winner takes for which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from regraft.report import words
from regraft.report.figures.frame import Picture, framed
from regraft.report.palette import light

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Counts = Sequence[Sequence[int]]

_NUMBERED = 12
_NAMED = 40
_LISTED_PAIRS = 50
_DESCRIBED = 3


def picture(record: Mapping[str, Any]) -> Picture | None:
    """Return counts by true and predicted class, coloured by the share of the true class."""
    best = record.get("best") or {}
    if not best.get("confusion"):
        return None
    counts, classes = best["confusion"], best["classes"]
    figure = go.Figure(_heatmap(counts, classes))
    framed(figure, legend=False)
    _axes(figure, classes)
    return Picture(
        key="confusion",
        title="Confusion",
        caption="Rows are the true classes, columns what was predicted; the colour is the share of "
        "the row."
        + (" The table lists the most frequent mix-ups." if len(classes) > _NUMBERED else ""),
        description=_describe(counts, classes, best.get("part", "test")),
        figure=figure,
        table=_matrix(counts, classes) if len(classes) <= _NUMBERED else _pairs(counts, classes),
        height=18 + min(len(classes), 24) * 0.75,
    )


def _heatmap(counts: Counts, classes: Sequence[str]) -> go.Heatmap:
    names = [words.in_picture(words.short(name, 60)) for name in classes]
    places = list(range(len(classes)))
    return go.Heatmap(
        x=places,
        y=places,
        z=[[n / max(sum(row), 1) for n in row] for row in counts],
        zmin=0,
        zmax=1,
        text=[[str(n) if n else "" for n in row] for row in counts],
        texttemplate="%{text}" if len(classes) <= _NUMBERED else None,
        customdata=[
            [[names[i], names[j], n, sum(row)] for j, n in enumerate(row)]
            for i, row in enumerate(counts)
        ],
        hovertemplate="true <b>%{customdata[0]}</b><br>predicted <b>%{customdata[1]}</b><br>"
        "%{customdata[2]} of n = %{customdata[3]}, %{z:.0%} of the true class; 1 seed"
        "<extra></extra>",
        colorscale=[[i / 4, light(f"heat-{i}")] for i in range(5)],
        showscale=False,
        xgap=1,
        ygap=1,
    )


def _axes(figure: go.Figure, classes: Sequence[str]) -> None:
    step = 1 if len(classes) <= _NAMED else -(-len(classes) // _NAMED)
    shown = list(range(0, len(classes), step))
    longest = 18 if len(classes) <= _NUMBERED else 14
    labels = {
        "tickvals": shown,
        "ticktext": [words.in_picture(words.short(classes[i], longest)) for i in shown],
        "showgrid": False,
        "tickfont": {"size": 12 if len(classes) <= _NUMBERED else 9},
    }
    figure.update_xaxes(**labels, title={"text": "predicted"}, constrain="domain")
    figure.update_yaxes(
        **labels, title={"text": "true"}, autorange="reversed", constrain="domain", scaleanchor="x"
    )


def _mixed(counts: Counts) -> list[tuple[int, int, int]]:
    """Return (count, true, predicted) of what was mixed up, most frequent first."""
    found = [(n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j]
    return sorted(found, key=lambda one: (-one[0], one[1], one[2]))


def _describe(counts: Counts, classes: Sequence[str], part: str) -> str:
    total = sum(sum(row) for row in counts)
    right = sum(row[i] for i, row in enumerate(counts))
    text = (
        f"Confusion matrix of {len(classes)} classes: {words.count(right)} of {words.count(total)} "
        f"{part} items are right."
    )
    worst = [
        f"{classes[i]} taken for {classes[j]} ({n})" for n, i, j in _mixed(counts)[:_DESCRIBED]
    ]
    return f"{text} Most frequent mistakes: {words.listed(worst)}." if worst else text


def _matrix(counts: Counts, classes: Sequence[str]) -> words.Table:
    rows = tuple(
        (
            words.Cell(name),
            *(
                words.Cell(str(n), f"{words.percent(n / max(sum(row), 1))} of n = {sum(row)}")
                for n in row
            ),
        )
        for name, row in zip(classes, counts, strict=True)
    )
    columns = ("True \\ predicted", *classes)
    return words.Table(columns, rows, frozenset(range(1, len(columns))))


def _pairs(counts: Counts, classes: Sequence[str]) -> words.Table:
    rows = tuple(
        (
            words.Cell(classes[i]),
            words.Cell(classes[j]),
            words.Cell(words.count(n), f"of n = {sum(counts[i])} items of the true class; 1 seed"),
            words.Cell(words.percent(n / max(sum(counts[i]), 1)), f"n = {sum(counts[i])}"),
        )
        for n, i, j in _mixed(counts)[:_LISTED_PAIRS]
    )
    columns = ("True class", "Taken for", "Items", "Share of the true class")
    return words.Table(columns, rows, frozenset({2, 3}))
