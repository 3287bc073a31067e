"""Reliability: does the winner's confidence mean what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from regraft.evidence.words import number
from regraft.measure.intervals import wilson
from regraft.report import words
from regraft.report.figures.frame import Picture, framed
from regraft.report.palette import light

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Bin = Mapping[str, Any]

_BARS_TOP = 0.2


def picture(record: Mapping[str, Any]) -> Picture | None:
    """Return accuracy against confidence, before and after temperature scaling."""
    best = record.get("best") or {}
    reliability = best.get("reliability")
    if not reliability:
        return None
    figure = go.Figure()
    figure.add_trace(_diagonal())
    series = [("as trained", "vermilion", "circle", reliability["bins"])]
    if reliability.get("bins_calibrated"):
        scaled = reliability["bins_calibrated"]
        series.append(("after temperature scaling", "blue", "diamond", scaled))
    for name, colour, symbol, bins in series:
        figure.add_trace(_points(bins, name, colour, symbol))
        figure.add_trace(_bars(bins, name, colour))
    framed(figure)
    _axes(figure)
    return Picture(
        key="reliability",
        title="Calibration",
        caption="On the dotted line, nine of ten answers given with confidence 0.9 are right; "
        "below it the model is too sure. The bars count the items.",
        description=_describe(reliability, best.get("part", "test")),
        figure=figure,
        table=_table(series),
        height=29,
    )


def _diagonal() -> go.Scatter:
    return go.Scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": light("faint"), "dash": "dot", "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )


def _filled(bins: Sequence[Bin]) -> list[Bin]:
    return [one for one in bins if one["n"] and one["accuracy"] is not None]


def _points(bins: Sequence[Bin], name: str, colour: str, symbol: str) -> go.Scatter:
    some = _filled(bins)
    spread = [wilson(one["accuracy"] * one["n"], one["n"]) for one in some]
    return go.Scatter(
        x=[one["confidence"] for one in some],
        y=[one["accuracy"] for one in some],
        error_y={
            "type": "data",
            "array": [
                max(s.high - one["accuracy"], 0.0) for s, one in zip(spread, some, strict=True)
            ],
            "arrayminus": [
                max(one["accuracy"] - s.low, 0.0) for s, one in zip(spread, some, strict=True)
            ],
            "color": light(f"{colour}-soft"),
            "thickness": 1.2,
            "width": 0,
        },
        mode="lines+markers",
        name=name,
        line={"color": light(colour), "width": 1.5},
        marker={"symbol": symbol, "size": 8},
        cliponaxis=False,
        customdata=[
            [one["n"], words.interval_text({"low": s.low, "high": s.high}), s.estimator]
            for s, one in zip(spread, some, strict=True)
        ],
        hovertemplate="confidence %{x:.3f}, right %{y:.3f} %{customdata[1]}"
        "<br>n = %{customdata[0]}; 1 seed; %{customdata[2]}",
    )


def _bars(bins: Sequence[Bin], name: str, colour: str) -> go.Bar:
    return go.Bar(
        x=[(one["low"] + one["high"]) / 2 for one in bins],
        y=[one["n"] for one in bins],
        yaxis="y2",
        name=name,
        marker={"color": light(colour), "line": {"width": 0}},
        showlegend=False,
        hovertemplate="%{y} items",
    )


def _axes(figure: go.Figure) -> None:
    figure.update_layout(
        bargap=0.15,
        barmode="group",
        yaxis2={
            **figure.layout.yaxis.to_plotly_json(),
            "domain": [0, _BARS_TOP - 0.05],
            "anchor": "x",
        },
    )
    figure.update_xaxes(range=[0, 1.01], title={"text": "confidence"}, dtick=0.2, anchor="y2")
    figure.update_layout(
        yaxis={
            "range": [0, 1.04],
            "domain": [_BARS_TOP, 1],
            "title": {"text": "share right"},
            "dtick": 0.2,
        },
        yaxis2={"title": {"text": "items"}, "nticks": 3},
    )


def _describe(reliability: Mapping[str, Any], part: str) -> str:
    before, after = reliability["ece"], reliability["ece_calibrated"]
    return (
        f"Reliability diagram on the {part} items: share of right answers against confidence. "
        f"Expected calibration error {words.score_text(before)} as trained and "
        f"{words.score_text(after)} after scaling by temperature {reliability['temperature']:.2f}."
    )


def _table(series: Sequence[tuple[str, str, str, Sequence[Bin]]]) -> words.Table:
    rows = tuple(
        (
            words.Cell(name),
            words.Cell(f"{one['low']:.2f} – {one['high']:.2f}", "from, up to a confidence of"),
            words.Cell(number(one["confidence"]), f"mean over n = {one['n']} items; 1 seed"),
            _share(one),
            words.Cell(words.count(one["n"]), "items in the bin"),
        )
        for name, _, _, bins in series
        for one in _filled(bins)
    )
    columns = ("Probabilities", "Bin", "Mean confidence", "Share right", "Items")
    return words.Table(columns, rows, frozenset({2, 3, 4}))


def _share(one: Bin) -> words.Cell:
    spread = wilson(one["accuracy"] * one["n"], one["n"])
    interval = {"value": one["accuracy"], "low": spread.low, "high": spread.high}
    return words.score_cell({**interval, "n": one["n"], "estimator": spread.estimator, "seeds": 1})
