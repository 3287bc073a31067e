"""Cost against quality: what each arm takes, and what it gives."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from regraft.report import words
from regraft.report.figures.frame import Picture, framed
from regraft.report.palette import ROLES, light
from regraft.report.reading import (
    arm_number,
    higher_is_better,
    kept_values,
    metric_of,
    score_of,
    scored_arms,
    winner_of,
)
from regraft.report.scale import Scale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Arm = Mapping[str, Any]
    Box = tuple[float, float, float, float]

_LEAST_SECONDS = 0.01
_SECONDS = (0.01, 0.1, 1, 10, 60, 600, 3600, 36000, 360000)
# What a label takes of the picture, in shares of its width and height.
_LETTER, _LINE = 0.0098, 0.05
_LONGEST_LABEL = 32
# How far inside the edge an arm is drawn that lies beyond it, in shares of the range.
_EDGE = 0.02
# Room for labels above the best arm, in shares of the range.
_HEADROOM = 0.07


def picture(record: Mapping[str, Any]) -> Picture | None:
    """Return seconds of one run (log) against the metric on validation, with error bars."""
    arms = [arm for arm in scored_arms(record) if arm.get("seconds") is not None]
    if len(arms) < 2:
        return None
    metric, upward = metric_of(record), higher_is_better(record)
    scores = [arm["validation"][metric] for arm in arms]
    scale = Scale.of(scores, higher_is_better=upward, kept=kept_values(record))
    figure = go.Figure()
    frontier = _frontier(arms, metric, upward=upward)
    figure.add_trace(_frontier_trace(frontier, metric, scale, upward=upward))
    positions = _positions(arms, metric, scale)
    for role in ROLES:
        chosen = [i for i, arm in enumerate(arms) if arm["role"] == role]
        if chosen:
            figure.add_trace(_trace(record, arms, chosen, positions, scale))
    framed(figure)
    title = words.metric_title(metric)
    _axes(figure, arms, scale, title)
    return Picture(
        key="cost-quality",
        title="Cost and quality",
        caption=f"Each point is one run of an arm: its wall time, and its {title} on the "
        "validation items with a 95 % interval. The stepped line joins the arms than which none "
        "is both cheaper and better. Triangles at the edge lie beyond it.",
        description=_describe(record, arms, frontier),
        figure=figure,
        table=_table(arms, metric),
        height=30,
    )


def _seconds(arm: Arm) -> float:
    return max(float(arm["seconds"]), _LEAST_SECONDS)


def _frontier(arms: Sequence[Arm], metric: str, *, upward: bool) -> list[Arm]:
    """Return the arms than which none is both cheaper and better, cheapest first."""
    sign, best, found = (1 if upward else -1), float("-inf"), []
    for arm in sorted(
        arms, key=lambda one: (_seconds(one), -sign * one["validation"][metric]["value"])
    ):
        value = sign * arm["validation"][metric]["value"]
        if value > best:
            best = value
            found.append(arm)
    return found


def _frontier_trace(arms: Sequence[Arm], metric: str, scale: Scale, *, upward: bool) -> go.Scatter:
    bad_end = scale.low if upward else scale.high
    values = [arm["validation"][metric]["value"] for arm in arms]
    return go.Scatter(
        x=[_seconds(arm) for arm in arms],
        y=[value if scale.holds(value) else bad_end for value in values],
        mode="lines",
        line={"shape": "hv", "color": light("faint"), "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )


def _trace(
    record: Mapping[str, Any],
    arms: Sequence[Arm],
    chosen: Sequence[int],
    positions: Sequence[str],
    scale: Scale,
) -> go.Scatter:
    metric, some = metric_of(record), [arms[i] for i in chosen]
    name, colour, symbol = ROLES[some[0]["role"]]
    scores = [arm["validation"][metric] for arm in some]
    inside = [scale.holds(score["value"]) for score in scores]
    bounds = [_bounds(score, scale) for score in scores]
    beyond = "triangle-down" if higher_is_better(record) else "triangle-up"
    winners = [bool(arm["winner"]) for arm in some]
    return go.Scatter(
        x=[_seconds(arm) for arm in some],
        y=[middle for _, middle, _ in bounds],
        error_y={
            "type": "data",
            "array": [high - middle for _, middle, high in bounds],
            "arrayminus": [middle - low for low, middle, _ in bounds],
            "color": light(f"{colour}-soft"),
            "thickness": 1.2,
            "width": 0,
        },
        mode="markers+text",
        name=name,
        marker={
            "symbol": [symbol if one else beyond for one in inside],
            "size": [15 if one else 10 for one in winners],
            "color": light(colour),
            "opacity": 1,
            "line": {"color": light("ink"), "width": [2 if one else 0 for one in winners]},
        },
        text=[_label(arm) for arm in some],
        meta={"narrow": [str(arm_number(record, arm)) for arm in some]},
        textposition=[positions[i] for i in chosen],
        textfont={"size": 12, "color": light("ink")},
        cliponaxis=False,
        customdata=[_hover(arm, score) for arm, score in zip(some, scores, strict=True)],
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{customdata[2]}"
        "<br>%{customdata[3]}<extra></extra>",
    )


def _bounds(score: Mapping[str, Any], scale: Scale) -> tuple[float, float, float]:
    value = float(score["value"])
    if not scale.holds(value):
        edge = _EDGE * (scale.high - scale.low)
        middle = scale.low + edge if value < scale.low else scale.high - edge
        return middle, middle, middle
    middle = value
    low, high = (value if score[end] is None else float(score[end]) for end in ("low", "high"))
    return max(low, scale.low), middle, min(high, scale.high)


def _label(arm: Arm) -> str:
    name = words.in_picture(words.short(arm["title"], _LONGEST_LABEL))
    return f"<b>{name}</b>" if arm["winner"] else name


def _hover(arm: Arm, score: Mapping[str, Any]) -> list[str]:
    seconds = f"{words.seconds_text(arm['seconds'])} a run"
    if arm.get("seconds_total"):
        seconds += f", {words.seconds_text(arm['seconds_total'])} with tuning and repetitions"
    told = words.score_title({"seeds": arm.get("n_seeds"), **score})
    texts = (arm["title"], words.score_text(score), told, seconds)
    return [words.in_picture(one) for one in texts]


def _positions(arms: Sequence[Arm], metric: str, scale: Scale) -> list[str]:
    """Return for each label a side of its point where it covers no other label or point."""
    across = [log10(_seconds(arm)) for arm in arms]
    first, span = min(across), max(max(across) - min(across), 0.5)
    points = [
        ((x - first) / span, scale.share(_bounds(arm["validation"][metric], scale)[1]))
        for x, arm in zip(across, arms, strict=True)
    ]
    taken = [(x - 0.012, y - 0.02, x + 0.012, y + 0.02) for x, y in points]
    bars = []
    for (x, _), arm in zip(points, arms, strict=True):
        low, _, high = _bounds(arm["validation"][metric], scale)
        bars.append((x - 0.004, scale.share(low), x + 0.004, scale.share(high)))
    found = []
    for (x, y), arm in zip(points, arms, strict=True):
        width = _LETTER * len(words.short(arm["title"], _LONGEST_LABEL))
        boxes = {
            "middle right": (x + 0.015, y - _LINE / 2, x + 0.015 + width, y + _LINE / 2),
            "middle left": (x - 0.015 - width, y - _LINE / 2, x - 0.015, y + _LINE / 2),
            "top center": (x - width / 2, y + 0.025, x + width / 2, y + 0.025 + _LINE),
            "bottom center": (x - width / 2, y - 0.025 - _LINE, x + width / 2, y - 0.025),
            "top right": (x + 0.01, y + 0.02, x + 0.01 + width, y + 0.02 + _LINE),
            "bottom right": (x + 0.01, y - 0.02 - _LINE, x + 0.01 + width, y - 0.02),
            "top left": (x - 0.01 - width, y + 0.02, x - 0.01, y + 0.02 + _LINE),
            "bottom left": (x - 0.01 - width, y - 0.02 - _LINE, x - 0.01, y - 0.02),
        }
        side = min(boxes, key=lambda name: _cost(boxes[name], taken, bars))
        taken.append(boxes[side])
        found.append(side)
    return found


def _cost(box: Box, taken: Sequence[Box], bars: Sequence[Box]) -> float:
    """Return how badly a label lies: over other labels, over error bars, outside the picture."""
    left, bottom, right, top = box
    outside = (
        max(0.0, -0.08 - left)
        + max(0.0, right - 1.14)
        + max(0.0, top - 1.0 - _HEADROOM)
        + max(0.0, -bottom)
    )
    return 0.3 * outside + 5 * _covered(box, taken) + _covered(box, bars)


def _covered(box: Box, taken: Sequence[Box]) -> float:
    left, bottom, right, top = box
    return sum(
        max(0.0, min(right, other[2]) - max(left, other[0]))
        * max(0.0, min(top, other[3]) - max(bottom, other[1]))
        for other in taken
    )


def _axes(figure: go.Figure, arms: Sequence[Arm], scale: Scale, title: str) -> None:
    seconds = [_seconds(arm) for arm in arms]
    low, high = log10(min(seconds)), log10(max(seconds))
    margin = max(0.08 * (high - low), 0.15)
    figure.update_xaxes(
        type="log",
        range=[low - margin, high + 3 * margin],
        tickvals=list(_SECONDS),
        ticktext=[_tick(one) for one in _SECONDS],
        title={"text": "wall time of one run"},
    )
    headroom = _HEADROOM * (scale.high - scale.low)
    figure.update_yaxes(
        range=[scale.low, scale.high + headroom], title={"text": title}, tickformat=".3~f"
    )


def _tick(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 3600 else f"{seconds / 3600:g} h"


def _describe(record: Mapping[str, Any], arms: Sequence[Arm], frontier: Sequence[Arm]) -> str:
    title = words.metric_title(metric_of(record))
    cheapest, dearest = min(arms, key=_seconds), max(arms, key=_seconds)
    text = (
        f"Scatter plot of wall time against {title} for {len(arms)} arms, from {cheapest['title']} "
        f"({words.seconds_text(cheapest['seconds'])}) to {dearest['title']} "
        f"({words.seconds_text(dearest['seconds'])})."
    )
    winner = winner_of(record)
    if winner is not None and (score := score_of(winner, "validation", metric_of(record))):
        text += (
            f" The winner, {winner['title']}, reaches {words.score_text(score)} in "
            f"{words.seconds_text(winner['seconds'])}."
        )
    names = words.listed([arm["title"] for arm in frontier])
    return f"{text} No arm is both cheaper and better than: {names}."


def _table(arms: Sequence[Arm], metric: str) -> words.Table:
    rows = tuple(
        (
            words.Cell(arm["title"]),
            words.Cell(ROLES[arm["role"]][0]),
            words.Cell(words.seconds_text(arm["seconds"]), f"{arm['seconds']:.2f} s wall time"),
            words.score_cell(arm["validation"][metric]),
        )
        for arm in arms
    )
    columns = ("Arm", "Role", "One run", words.metric_title(metric))
    return words.Table(columns, rows, frozenset({2, 3}))
