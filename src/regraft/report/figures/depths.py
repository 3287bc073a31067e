"""Where it moved: the shift of the features at each depth, by protocol."""

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

    Arm = Mapping[str, Any]

_KEY = "moved"
_NUMBERED = 9
_SIGNIFICANT = 0.05


def picture(record: Mapping[str, Any]) -> Picture | None:
    """Return MMD² by depth and protocol as a heat map."""
    drawn = figure_of(record, _KEY)
    arms = drawn.get("depths", ())
    if not arms:
        return None
    longest = max((arm["depths"] for arm in arms), key=len)
    figure = go.Figure(_heatmap(arms, len(longest)))
    framed(figure, legend=False)
    places = list(range(len(longest)))
    figure.update_xaxes(
        tickvals=places, ticktext=[_tick(one) for one in longest], showgrid=False, tickangle=-40
    )
    figure.update_yaxes(
        tickvals=list(range(len(arms))),
        ticktext=[words.in_picture(words.short(arm["title"], 22)) for arm in arms],
        showgrid=False,
        autorange="reversed",
    )
    return Picture(
        key="depths",
        title="Where it moved",
        caption="MMD² between the features of the same validation items before and after, at each "
        "depth of the arms of the final evaluation; the darker, the further. Exactly 0 is shown "
        "as a dash: nothing there is different.",
        description=_describe(arms),
        figure=figure,
        table=_table(arms),
        height=8 + 2.4 * len(arms),
        question=_KEY,
    )


def _heatmap(arms: Sequence[Arm], width: int) -> go.Heatmap:
    rows = [[*arm["depths"], *([None] * (width - len(arm["depths"])))] for arm in arms]
    most = max(max(one["mmd2"] for one in arm["depths"]) for arm in arms)
    return go.Heatmap(
        x=list(range(width)),
        y=list(range(len(arms))),
        z=[[None if one is None else max(one["mmd2"], 0.0) for one in row] for row in rows],
        zmin=0,
        zmax=max(most, 1e-6),
        text=[[_text(one) for one in row] for row in rows],
        texttemplate="%{text}" if width <= _NUMBERED else None,
        customdata=[
            [_hover(arm["title"], one) for one in row] for arm, row in zip(arms, rows, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
        colorscale=[[i / 4, light(f"heat-{i}")] for i in range(5)],
        showscale=False,
        xgap=2,
        ygap=2,
    )


def _tick(one: Mapping[str, Any]) -> str:
    return str(one["name"]).replace("after block ", "block ").replace("pooled features", "pooled")


def _text(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return ""
    return "–" if one["mmd2"] == 0.0 else number(one["mmd2"])


def _hover(title: str, one: Mapping[str, Any] | None) -> str:
    if one is None:
        return ""
    return "<br>".join(
        (
            f"<b>{words.in_picture(words.short(title, 40))}</b>, {one['name']}",
            f"MMD² {words.score_text(_shift(one))}, p = {words.probability(one['p'])}",
            f"CKA {number(one['cka'])}",
            f"cosine drift {words.score_text(one['drift'])}",
            f"weights changed by {_weights(one)}",
            f"n = {words.count(one['n'])} items, 1 seed",
        )
    )


def _shift(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"value": one["mmd2"], "low": one["low"], "high": one["high"]}


def _weights(one: Mapping[str, Any]) -> str:
    return words.MISSING if one["weights"] is None else words.percent(one["weights"])


def _describe(arms: Sequence[Arm]) -> str:
    each = []
    for arm in arms:
        most = max(arm["depths"], key=lambda one: one["mmd2"])
        each.append(
            f"{arm['title']} moved most at {most['name']}, MMD² {number(most['mmd2'])}"
            if most["mmd2"] > 0
            else f"{arm['title']} moved nowhere"
        )
    return f"Heat map of feature movement by depth: {'; '.join(each)}."


def _table(arms: Sequence[Arm]) -> words.Table:
    rows = tuple(
        (
            words.Cell(arm["title"]),
            words.Cell(one["name"], f"depth {one['depth']}"),
            words.Cell(
                words.score_text(_shift(one)),
                f"paired, unbiased; jackknife interval; n = {words.count(one['n'])}; 1 seed",
            ),
            words.Cell(words.probability(one["p"]), "sign-flip test within pairs"),
            words.Cell(number(one["cka"]), "unbiased linear CKA, no interval"),
            words.Cell(
                words.score_text(one["drift"]),
                f"mean of 1 − cos; n = {words.count(one['n'])} items; 1 seed",
            ),
            words.Cell(_weights(one), "‖w − w₀‖ / ‖w₀‖ below this depth; exact, no interval"),
        )
        for arm in arms
        for one in arm["depths"]
    )
    columns = ("Arm", "Where", "MMD²", "p", "CKA", "Cosine drift", "Weights changed")
    return words.Table(columns, rows, frozenset({2, 3, 4, 5, 6}))
