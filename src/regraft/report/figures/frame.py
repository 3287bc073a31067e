"""What all pictures share: their frame, and what makes them readable without eyes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import plotly.io

from regraft.report.palette import light

if TYPE_CHECKING:
    from regraft.report.words import Table

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif'


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A figure and its alternatives.

    Attributes:
        key: Its name in the page, unique.
        title: Its heading.
        caption: What to look at, in a sentence or two.
        description: What it shows, in words, for readers who cannot see it.
        figure: The Plotly figure.
        table: The numbers that it draws.
        height: Its height in lines of 16 pixels.
        question: Key of the question under which it stands; "" where it has its own section.
    """

    key: str
    title: str
    caption: str
    description: str
    figure: go.Figure
    table: Table
    height: float = 24.0
    question: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the figure as plain JSON, traces and layout."""
        plain = json.loads(plotly.io.to_json(self.figure, engine="json", remove_uids=True))
        return {"data": plain["data"], "layout": plain["layout"]}


def framed(figure: go.Figure, *, legend: bool = True) -> go.Figure:
    """Return the figure with the report's frame: quiet axes, no background, a legend below."""
    figure.layout.template = None
    figure.update_layout(
        font={"family": FONT, "size": 13, "color": light("ink")},
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        margin={"l": 8, "r": 16, "t": 12, "b": 8},
        autosize=True,
        dragmode=False,
        hovermode="closest",
        showlegend=legend,
        legend={
            "orientation": "h",
            "x": 0,
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
            "font": {"size": 12},
        },
        hoverlabel={
            "bgcolor": light("raised"),
            "bordercolor": light("faint"),
            "font": {"color": light("ink"), "family": FONT, "size": 12},
            "align": "left",
        },
    )
    figure.update_xaxes(
        **_axis(), title={"standoff": 8, "font": {"color": light("muted"), "size": 13}}
    )
    figure.update_yaxes(
        **_axis(), title={"standoff": 12, "font": {"color": light("muted"), "size": 13}}
    )
    return figure


def _axis() -> dict[str, Any]:
    return {
        "automargin": True,
        "fixedrange": True,
        "zeroline": False,
        "gridcolor": light("rule"),
        "linecolor": light("faint"),
        "tickcolor": light("faint"),
        "tickfont": {"color": light("muted"), "size": 12},
    }
