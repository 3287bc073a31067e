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
    for place, arm in enumerate(ordered):
        if arm.get("law"):
            figure.add_trace(_law(arm, place))
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
        caption=" ".join([_caption(arms), efficiency.get("note") or ""]).strip(),
        description=_describe(arms, title),
        figure=figure,
        table=_table(arms, title),
        height=27,
    )


def _caption(arms: Sequence[Mapping[str, Any]]) -> str:
    bands = "Bands are 95 % intervals."
    laws = "Fine dots are power laws of the error, err(n) = a + b n^−c."
    return f"{bands} {laws}" if any(arm.get("law") for arm in arms) else bands


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


def _law(arm: Mapping[str, Any], place: int) -> go.Scatter:
    """Return the power law as fine dots; hovering tells its parameters."""
    law, colour = arm["law"], series(place)[0]
    return go.Scatter(
        x=[one["labels_per_class"] for one in law["curve"]],
        y=[one["value"] for one in law["curve"]],
        mode="markers",
        marker={"size": 2.5, "color": light(colour)},
        customdata=[
            [
                words.score_text(one),
                words.in_picture(f"{arm['title']}: {law_text(law)}; {_behind_law(law)}"),
            ]
            for one in law["curve"]
        ],
        hovertemplate="%{customdata[1]}<br>%{x:.3g} labels per class: %{customdata[0]}"
        "<extra></extra>",
        showlegend=False,
    )


def law_text(law: Mapping[str, Any]) -> str:
    """Return a power law in words: ``err(n) = .050 + .800 n^−.500``."""
    return (
        f"err(n) = {number(law['floor'])} + {number(law['scale'])} n^−{number(law['exponent'])}"
        f", {_law_intervals(law)}" + (f"; {law['note']}" if law["note"] else "")
    )


def _law_intervals(law: Mapping[str, Any]) -> str:
    """Return the intervals of a law's parameters; older records have none of b."""
    named = {"a": "floor_interval", "b": "scale_interval", "c": "exponent_interval"}
    known = {name: law[key] for name, key in named.items() if law.get(key)}
    return ", ".join(f"{name} [{number(at[0])}, {number(at[1])}]" for name, at in known.items())


def _behind_law(law: Mapping[str, Any]) -> str:
    parts = [f"n = {words.count(law['n'])}"] if law.get("n") else []
    parts += [one for one in (words.seeds_text(law.get("seeds")), law["estimator"]) if one]
    return "; ".join(parts)


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
            _fit_cell(arm, one),
        )
        for arm in arms
        for one in _points(arm)
    )
    columns = ("Arm", "Labels per class", "Labels", title, "Seeds", "Power law")
    if not any(arm.get("law") for arm in arms):
        return words.Table(columns[:-1], tuple(row[:-1] for row in rows), frozenset({1, 2, 3, 4}))
    return words.Table(columns, rows, frozenset({1, 2, 3, 4, 5}))


def _fit_cell(arm: Mapping[str, Any], point: Mapping[str, Any]) -> words.Cell:
    """Return what the law gives at the nearest of its points."""
    law = arm.get("law")
    if not law:
        return words.Cell(words.MISSING)
    per_class = point["labels_per_class"]
    near = min(law["curve"], key=lambda one: abs(one["labels_per_class"] - per_class))
    return words.Cell(words.score_text(near), f"{law_text(law)}; {_behind_law(law)}")
