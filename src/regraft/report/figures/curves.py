"""Learning curves: how each trained arm came to what it reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from regraft.evidence.words import number
from regraft.report import words
from regraft.report.figures.frame import Picture, framed
from regraft.report.palette import light, series
from regraft.report.reading import higher_is_better, metric_of, places_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOSSES = [digit * 10.0**power for power in range(-5, 3) for digit in (1, 2, 5)]


def metric_picture(record: Mapping[str, Any]) -> Picture | None:
    """Return the validation metric against the training step, one line per trained arm."""
    title = words.metric_title(metric_of(record))
    return _picture(
        record,
        quantity="metric",
        key="curves-metric",
        title=f"Learning curves: {title}",
        axis=f"{title}, validation",
        caption=f"{title[:1].upper()}{title[1:]} on the validation items at each evaluation of "
        "the run with the chosen learning rate.",
    )


def loss_picture(record: Mapping[str, Any]) -> Picture | None:
    """Return the training loss against the training step, one line per trained arm."""
    return _picture(
        record,
        quantity="train_loss",
        key="curves-loss",
        title="Learning curves: training loss",
        axis="training loss",
        caption="Mean training loss since the evaluation before. Where it still falls while the "
        "metric does not rise, the arm overfits.",
    )


def _picture(
    record: Mapping[str, Any], *, quantity: str, key: str, title: str, axis: str, caption: str
) -> Picture | None:
    curves = [
        {**curve, "points": points}
        for curve in record.get("curves") or ()
        if (points := [one for one in curve["points"] if one.get(quantity) is not None])
    ]
    if not curves:
        return None
    places = places_of(record)
    figure = go.Figure()
    for curve in sorted(curves, key=lambda one: -places.get(one["protocol"], len(places))):
        place = places.get(curve["protocol"], len(places))
        figure.add_trace(_trace(curve, quantity, place, bold=place == 0))
    framed(figure)
    figure.update_layout(legend={"traceorder": "reversed"})
    figure.update_xaxes(title={"text": "training step"}, rangemode="tozero", nticks=6)
    figure.update_yaxes(title={"text": axis}, nticks=6)
    rising = quantity == "metric" and higher_is_better(record)
    if quantity == "train_loss" and all(p[quantity] > 0 for c in curves for p in c["points"]):
        figure.update_yaxes(type="log", tickvals=_LOSSES, ticktext=[f"{v:g}" for v in _LOSSES])
    elif quantity == "metric":
        figure.update_yaxes(range=_range(curves, quantity, rising=rising))
    return Picture(
        key=key,
        title=title,
        caption=caption,
        description=_describe(curves, quantity, axis, rising=rising),
        figure=figure,
        table=_table(curves, quantity, axis),
        height=25,
    )


def _trace(curve: Mapping[str, Any], quantity: str, place: int, *, bold: bool) -> go.Scatter:
    points, told = curve["points"], words.in_picture(_told(curve, quantity))
    colour, dash, symbol = series(place)
    return go.Scatter(
        x=[one["step"] for one in points],
        y=[one[quantity] for one in points],
        mode="lines+markers",
        name=words.in_picture(words.short(curve["label"], 32)),
        line={
            "color": light(colour),
            "dash": dash,
            "width": 3.5 if bold else 1.75,
        },
        marker={"size": 8 if bold else 6, "symbol": symbol},
        customdata=[
            [words.in_picture(words.seconds_text(one.get("seconds"))), f"{one['epoch']:g}", told]
            for one in points
        ],
        hovertemplate="step %{x}, epoch %{customdata[1]}, %{customdata[0]}: <b>%{y:.3f}</b>"
        "<br>%{customdata[2]}",
    )


def _told(curve: Mapping[str, Any], quantity: str) -> str:
    """Return what stands behind a point: of how many items, of which run, and that it has none."""
    if quantity == "train_loss":
        return f"mean over the training batches since the evaluation before; 1 seed; {words.POINT}"
    known = {key: curve.get(key) for key in ("n", "estimator", "seeds")}
    return words.score_title({"seeds": 1, **{k: v for k, v in known.items() if v is not None}})


def _best(curve: Mapping[str, Any], quantity: str, *, rising: bool) -> Mapping[str, Any]:
    choose = max if rising else min
    found: Mapping[str, Any] = choose(curve["points"], key=lambda one: one[quantity])
    return found


def _range(curves: Sequence[Mapping[str, Any]], quantity: str, *, rising: bool) -> list[float]:
    """Return a range that holds the best value of every arm, not every arm's first steps."""
    bests = [_best(curve, quantity, rising=rising)[quantity] for curve in curves]
    every = sorted(one[quantity] for curve in curves for one in curve["points"])
    quartile = every[len(every) // 4] if rising else every[-(len(every) // 4) - 1]
    low, high = (
        (min(*bests, quartile), max(every)) if rising else (min(every), max(*bests, quartile))
    )
    margin = 0.06 * (high - low) + 0.002
    return [low - margin, high + margin]


def _describe(
    curves: Sequence[Mapping[str, Any]], quantity: str, axis: str, *, rising: bool
) -> str:
    ends = [
        f"{curve['label']} from {number(curve['points'][0][quantity])} to "
        f"{number(_best(curve, quantity, rising=rising)[quantity])} at step "
        f"{words.count(_best(curve, quantity, rising=rising)['step'])}"
        for curve in curves
    ]
    best = "highest" if rising else "lowest"
    return f"Lines of {axis} over training steps, first and {best} value: {'; '.join(ends)}."


def _table(curves: Sequence[Mapping[str, Any]], quantity: str, axis: str) -> words.Table:
    rows = tuple(
        (
            words.Cell(curve["label"], f"run {curve['run']}"),
            words.Cell(words.count(one["step"]), f"steps of run {curve['run']}"),
            words.Cell(f"{one['epoch']:g}", "passes over the training items"),
            words.Cell(words.seconds_text(one.get("seconds")), "wall time since the run began"),
            words.Cell(number(one[quantity]), _told(curve, quantity)),
        )
        for curve in curves
        for one in curve["points"]
    )
    return words.Table(("Arm", "Step", "Epoch", "After", axis), rows, frozenset({1, 2, 3, 4}))
