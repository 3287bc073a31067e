"""Slices: how often the winner errs in each, beside all items."""

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

    Slice = Mapping[str, Any]

_LONGEST = 34


def picture(record: Mapping[str, Any]) -> Picture | None:
    """Return the share of errors in each slice with intervals that hold together."""
    drawn = figure_of(record, "fail")
    slices = sorted(drawn.get("slices") or (), key=lambda one: one["value"])
    if not slices:
        return None
    overall = drawn["overall"]
    figure = go.Figure()
    for is_worse in (True, False):
        if any(one["is_worse"] == is_worse for one in slices):
            figure.add_trace(_trace(slices, is_worse=is_worse))
    figure.add_vline(x=overall["value"], line={"color": light("faint"), "dash": "dot"})
    framed(figure)
    labels = [words.in_picture(words.short(one["name"], _LONGEST)) for one in slices]
    figure.update_xaxes(title={"text": "share of errors"}, rangemode="tozero", nticks=6)
    figure.update_yaxes(
        tickvals=list(range(len(slices))), ticktext=labels, range=[-0.6, len(slices) - 0.4]
    )
    return Picture(
        key="slices",
        title="Errors by slice",
        caption=f"The {len(slices)} most telling of {drawn['n_tested']} slices, none made from "
        "errors, with intervals that hold for all of them together. The dotted line is all items.",
        description=_describe(slices, overall),
        figure=figure,
        table=_table(slices),
        height=8 + 1.9 * len(slices),
        question="fail",
    )


def _trace(slices: Sequence[Slice], *, is_worse: bool) -> go.Scatter:
    colour = "vermilion" if is_worse else "grey"
    some = [(place, one) for place, one in enumerate(slices) if one["is_worse"] == is_worse]
    return go.Scatter(
        x=[one["value"] for _, one in some],
        y=[place for place, _ in some],
        error_x={
            "type": "data",
            "array": [one["high"] - one["value"] for _, one in some],
            "arrayminus": [one["value"] - one["low"] for _, one in some],
            "color": light(f"{colour}-soft"),
            "thickness": 1.5,
            "width": 0,
        },
        mode="markers",
        name="fails more than the rest" if is_worse else "not significantly",
        marker={
            "color": light(colour),
            "size": 10,
            "symbol": "diamond" if is_worse else "circle",
        },
        cliponaxis=False,
        customdata=[_hover(one) for _, one in some],
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{customdata[2]}"
        "<extra></extra>",
    )


def _hover(one: Slice) -> list[str]:
    told = f"{one['errors']} of n = {one['n']}, elsewhere {number(one['rest'])}; {_p(one)}"
    return [words.in_picture(text) for text in (one["name"], words.score_text(one), told)]


def _p(one: Slice) -> str:
    return f"p = {words.probability(one['p_adjusted'])} after Holm's correction"


def _describe(slices: Sequence[Slice], overall: Mapping[str, Any]) -> str:
    worse = [
        f"{one['name']} {words.score_text(one)}" for one in reversed(slices) if one["is_worse"]
    ]
    found = f"Significantly worse: {words.listed(worse)}." if worse else "None is so by the test."
    return (
        f"Share of errors in {len(slices)} slices, with {words.score_text(overall)} over all "
        f"items. {found}"
    )


def _table(slices: Sequence[Slice]) -> words.Table:
    rows = tuple(
        (
            words.Cell(one["name"], _mix(one)),
            words.score_cell(one),
            words.Cell(number(one["rest"]), _elsewhere(one)),
            words.Cell(words.probability(one["p_adjusted"]), f"one-sided mid-p; {_p(one)}"),
            words.Cell(words.count(one["n"]), f"{one['errors']} of them wrong"),
        )
        for one in reversed(slices)
    )
    return words.Table(
        ("Slice", "Share of errors", "Elsewhere", "p", "Items"), rows, frozenset({1, 2, 3, 4})
    )


def _elsewhere(one: Slice) -> str:
    """Return what stands behind the errors elsewhere; older records have no interval of them."""
    behind = (one.get("behind") or {}).get("rest")
    told = words.score_title(behind) if behind else "no interval"
    return f"share of errors among all other items; {told}"


def _mix(one: Slice) -> str:
    return ", ".join(f"{each['label']} {words.percent(each['share'])}" for each in one["classes"])
