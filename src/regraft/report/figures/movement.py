"""Feature movement: how far each arm took the features from where pretraining had left them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from regraft.evidence.words import number
from regraft.report import words
from regraft.report.figures.frame import Picture, framed
from regraft.report.palette import ROLES, light

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SIGNIFICANT = 0.05


def picture(record: Mapping[str, Any]) -> Picture | None:
    """Return MMD² and linear CKA between features before and after, by arm."""
    arms = [arm for arm in record["arms"] if arm.get("movement")]
    if not arms:
        return None
    arms = sorted(arms, key=lambda arm: arm["movement"]["mmd2"])
    figure = go.Figure()
    figure.add_trace(_bars(arms, "mmd2", "x"))
    figure.add_trace(_bars(arms, "cka", "x2"))
    framed(figure, legend=False)
    _axes(figure, arms)
    return Picture(
        key="movement",
        title="How far the features moved",
        caption="Validation items seen by the pretrained and by the adapted backbone. MMD² is 0 "
        "where nothing moved; CKA is 1 where the geometry is the same. Hollow: not significant.",
        description=_describe(arms),
        figure=figure,
        table=_table(arms),
        height=7 + 2.2 * len(arms),
    )


def _bars(arms: Sequence[Mapping[str, Any]], quantity: str, axis: str) -> go.Bar:
    colours = [light(ROLES[arm["role"]][1]) for arm in arms]
    moved = [quantity == "cka" or _moved(arm) for arm in arms]
    return go.Bar(
        x=[arm["movement"][quantity] for arm in arms],
        y=list(range(len(arms))),
        xaxis=axis,
        orientation="h",
        marker={
            "color": [
                c if one else "rgba(0, 0, 0, 0)" for c, one in zip(colours, moved, strict=True)
            ],
            "line": {"color": colours, "width": 1.5},
        },
        text=[number(arm["movement"][quantity]) for arm in arms],
        textposition="outside",
        cliponaxis=False,
        textfont={"size": 12, "color": light("ink")},
        customdata=[[words.in_picture(arm["title"]), _title(arm, quantity)] for arm in arms],
        hovertemplate="<b>%{customdata[0]}</b> %{text}<br>%{customdata[1]}<extra></extra>",
    )


def _moved(arm: Mapping[str, Any]) -> bool:
    p = arm["movement"].get("p")
    return p is not None and p < _SIGNIFICANT


def _axes(figure: go.Figure, arms: Sequence[Mapping[str, Any]]) -> None:
    labels = [words.in_picture(words.short(arm["title"], 22)) for arm in arms]
    most = max(arm["movement"]["mmd2"] for arm in arms)
    figure.update_layout(
        bargap=0.45,
        xaxis2=figure.layout.xaxis.to_plotly_json(),
        yaxis={"tickvals": list(range(len(arms))), "ticktext": labels, "showgrid": False},
    )
    figure.update_layout(
        xaxis={
            "domain": [0, 0.46],
            "range": [min(0.0, *(arm["movement"]["mmd2"] for arm in arms)), 1.25 * max(most, 0.01)],
            "title": {"text": "MMD²"},
            "nticks": 4,
        },
        xaxis2={
            "domain": [0.54, 1],
            "range": [0, 1.2],
            "title": {"text": "linear CKA"},
            "dtick": 0.5,
        },
    )


def _describe(arms: Sequence[Mapping[str, Any]]) -> str:
    each = [
        f"{arm['title']} MMD² {number(arm['movement']['mmd2'])}, CKA "
        f"{number(arm['movement']['cka'])}"
        for arm in reversed(arms)
    ]
    return f"Bars of feature movement, furthest first: {'; '.join(each)}."


def _table(arms: Sequence[Mapping[str, Any]]) -> words.Table:
    rows = tuple(
        (
            words.Cell(arm["title"]),
            words.Cell(number(arm["movement"]["mmd2"]), _title(arm, "mmd2")),
            words.Cell(_p(arm), "sign-flip test within pairs"),
            words.Cell(number(arm["movement"]["cka"]), _title(arm, "cka")),
        )
        for arm in reversed(arms)
    )
    return words.Table(("Arm", "MMD²", "p", "CKA"), rows, frozenset({1, 2, 3}))


def _p(arm: Mapping[str, Any]) -> str:
    p = arm["movement"].get("p")
    return words.MISSING if p is None else words.probability(p)


def _title(arm: Mapping[str, Any], quantity: str) -> str:
    n, p = arm["movement"].get("n"), _p(arm)
    text = "unbiased linear CKA" if quantity == "cka" else f"paired, unbiased MMD², p = {p}"
    counted = "" if n is None else f"; n = {words.count(n)}"
    ends = words.interval_text(_shift(arm)) if quantity == "mmd2" else ""
    spread = f"95 % interval {ends}" if ends else words.POINT
    return f"{text}{counted}; 1 seed; {spread}"


def _shift(arm: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ends of MMD²; records of old have none."""
    return {"low": arm["movement"].get("low"), "high": arm["movement"].get("high")}
