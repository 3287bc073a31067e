"""Movement against gain: whether the arms that moved less gained more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from regraft.evidence.words import number
from regraft.report import words
from regraft.report.figures.frame import Picture, framed
from regraft.report.palette import light, series
from regraft.report.reading import figure_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Cell = Mapping[str, Any]

_KEY = "moved"
_FEWEST = 2
_LABELLED = 8


def picture(record: Mapping[str, Any]) -> Picture | None:
    """Return MMD² of the pooled features against the gain over the control, a point per cell."""
    drawn = figure_of(record, _KEY)
    if len(drawn.get("cells", ())) < _FEWEST:
        return None
    return drawn_cells(drawn, named_by="title", question=_KEY)


def drawn_cells(limits: Mapping[str, Any], *, named_by: str, question: str = "") -> Picture:
    """Return the picture of cells and of what their correlation says.

    Args:
        limits: As `regraft.evidence.cells.limits_json` gives them, one cell at least.
        named_by: Field of a cell that points are labelled by.
        question: Key of the question under which it stands.
    """
    cells = limits["cells"]
    backbones = list(dict.fromkeys(one["backbone"] for one in cells))
    figure = go.Figure()
    for place, backbone in enumerate(backbones):
        chosen = [one for one in cells if one["backbone"] == backbone]
        figure.add_trace(
            _points(chosen, backbone, place, named_by, is_labelled=len(cells) <= _LABELLED)
        )
    figure.add_hline(y=0, line={"color": light("faint"), "width": 1})
    framed(figure, legend=len(backbones) > 1)
    most = max(max(one["mmd2"] for one in cells), 0.01)
    least = min(0.0, *(one["mmd2"] for one in cells))
    figure.update_xaxes(
        title={"text": "MMD² of the features"}, nticks=6, range=[least - 0.06 * most, 1.25 * most]
    )
    figure.update_yaxes(title={"text": "gain in per cent"}, nticks=7)
    gain = limits["gain"]
    return Picture(
        key="movement-gain",
        title="Movement against gain",
        caption=f"A point is an adapted arm: how far its features moved, and its gain over the "
        f"control without transfer, both on validation with 95 % intervals. {_sentence(gain)}",
        description=_describe(cells, gain),
        figure=figure,
        table=_table(cells),
        height=26,
        question=question,
    )


def _sentence(gain: Mapping[str, Any]) -> str:
    """Return the verdict as a sentence."""
    return f"Their correlation is {gain['text']}."


def _points(
    cells: Sequence[Cell], backbone: str, place: int, named_by: str, *, is_labelled: bool
) -> go.Scatter:
    colour, _, symbol = series(place)
    return go.Scatter(
        x=[one["mmd2"] for one in cells],
        y=[one["gain"] for one in cells],
        error_x=_bars([one["mmd2"] for one in cells], cells, "low", "high", colour),
        error_y=_bars([one["gain"] for one in cells], cells, "gain_low", "gain_high", colour),
        mode="markers+text" if is_labelled else "markers",
        name=words.in_picture(words.short(backbone, 36)),
        marker={"symbol": symbol, "size": 10, "color": light(colour)},
        text=[words.in_picture(words.short(_last(one[named_by]), 20)) for one in cells],
        meta={"narrow": ["" for _ in cells]},
        textposition=_positions(cells),
        textfont={"size": 12, "color": light("ink")},
        cliponaxis=False,
        customdata=[_hover(one) for one in cells],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _last(name: str) -> str:
    """Return the last part of a path; what is no path is its own last part."""
    return str(name).rstrip("/").rpartition("/")[2]


def _positions(cells: Sequence[Cell]) -> list[str]:
    """Return where labels stand: in turn above and below, so that neighbours do not collide."""
    order = sorted(range(len(cells)), key=lambda i: (cells[i]["mmd2"], cells[i]["gain"]))
    places = [""] * len(cells)
    for turn, i in enumerate(order):
        places[i] = "bottom right" if turn % 2 else "top right"
    return places


def _bars(
    values: Sequence[float], cells: Sequence[Cell], low: str, high: str, colour: str
) -> dict[str, Any]:
    pairs = list(zip(values, cells, strict=True))
    return {
        "type": "data",
        "array": [max(one[high] - value, 0.0) for value, one in pairs],
        "arrayminus": [max(value - one[low], 0.0) for value, one in pairs],
        "color": light(f"{colour}-soft"),
        "thickness": 1.2,
        "width": 0,
    }


def _hover(one: Cell) -> str:
    return "<br>".join(
        (
            f"<b>{words.in_picture(words.short(one['title'], 40))}</b>",
            words.in_picture(words.short(f"{one['backbone']} on {one['data']}", 60)),
            f"MMD² {words.score_text(_moved(one))}",
            f"gain {_gain(one)} over {words.in_picture(one['over'])}",
            f"n = {words.count(one['n'])} items, {_seeds(one)}",
            *((f"gain: {words.warning_of(one)}",) if words.warning_of(one) else ()),
        )
    )


def _moved(one: Cell) -> dict[str, Any]:
    return {"value": one["mmd2"], "low": one["low"], "high": one["high"]}


def _gain(one: Cell) -> str:
    text = f"{one['gain']:+.1f} % [{one['gain_low']:+.1f}, {one['gain_high']:+.1f}]"
    return f"{text} {words.CARE}" if words.warning_of(one) else text


def _seeds(one: Cell) -> str:
    return "1 seed" if one["seeds"] == 1 else f"{one['seeds']} seeds"


def _describe(cells: Sequence[Cell], gain: Mapping[str, Any]) -> str:
    each = [f"{one['title']} MMD² {number(one['mmd2'])}, gain {_gain(one)}" for one in cells]
    return f"Points of gain over movement: {'; '.join(each)}. {_sentence(gain)}"


def _table(cells: Sequence[Cell]) -> words.Table:
    rows = tuple(
        (
            words.Cell(one["title"]),
            words.Cell(words.short(one["backbone"], 40), one["backbone"]),
            words.Cell(words.short(one["data"], 30), one["data"]),
            words.Cell(
                words.score_text(_moved(one)),
                f"paired, unbiased MMD²; jackknife interval; n = {words.count(one['n'])}; 1 seed",
            ),
            words.Cell(
                _gain(one),
                f"over {one['over']}; paired bootstrap; n = {words.count(one['n'])}; {_seeds(one)}",
            ),
            words.Cell(words.percent(one["steps"]), "share of its steps until it had converged"),
        )
        for one in cells
    )
    columns = ("Arm", "Backbone", "Data", "MMD²", "Gain", "Steps to convergence")
    return words.Table(columns, rows, frozenset({3, 4, 5}))
