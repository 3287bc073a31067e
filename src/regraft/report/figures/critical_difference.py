"""Critical difference: mean ranks over data sets, and which systems cannot be told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from regraft.report import words
from regraft.report.figures.frame import Picture, framed
from regraft.report.palette import light

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Ranks = Sequence[tuple[str, float]]


def picture(found: Mapping[str, Any]) -> Picture | None:
    """Return the critical-difference picture of a comparison; None where Friedman did not apply.

    Args:
        found: What `regraft compare` prints with ``--json``.

    Reference:
        Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006),
        figure 1.
    """
    if found["test"] != "friedman":
        return None
    ranks = sorted(found["mean_ranks"].items(), key=lambda one: one[1])
    groups = alike(ranks, found["comparisons"])
    reach = found["critical_difference"]
    figure = go.Figure()
    figure.add_trace(_reach(reach, len(ranks)))
    _drops(figure, ranks, len(groups))
    for place, group in enumerate(groups):
        figure.add_trace(_bar(group, len(ranks) + place))
    figure.add_trace(_dots(ranks, found))
    framed(figure, legend=False)
    figure.update_xaxes(
        title={"text": "mean rank (1 is best)"},
        range=[0.8, max(len(ranks), 1 + reach) + 0.25],
        dtick=1,
        tick0=1,
    )
    figure.update_yaxes(
        tickvals=[-1, *range(len(ranks))],
        ticktext=["", *(words.in_picture(words.short(name, 24)) for name, _ in ranks)],
        range=[len(ranks) + len(groups) - 0.4, -1.8],
        showgrid=False,
    )
    return Picture(
        key="critical-difference",
        title="Who can be told apart",
        caption=f"Mean ranks over n = {found['n']} data sets. Mean ranks that differ by more than "
        f"the critical difference of {reach:.2f} are told apart (Nemenyi, 95 %); a bar below joins "
        "those that are not.",
        description=_describe(ranks, groups, found),
        figure=figure,
        table=_table(found),
        height=10 + 1.8 * (len(ranks) + len(groups)),
    )


def alike(ranks: Ranks, comparisons: Sequence[Mapping[str, Any]]) -> list[list[tuple[str, float]]]:
    """Return the largest runs of neighbouring ranks of which no two are told apart, best first.

    Args:
        ranks: Names and mean ranks, best first.
        comparisons: Every pair, with ``first``, ``second`` and whether it is a ``tie``.
    """
    ties = {frozenset((one["first"], one["second"])): one["tie"] for one in comparisons}
    found: list[tuple[int, int]] = []
    for start in range(len(ranks)):
        end = start
        while end + 1 < len(ranks) and all(
            ties[frozenset((ranks[i][0], ranks[end + 1][0]))] for i in range(start, end + 1)
        ):
            end += 1
        if end > start and (not found or end > found[-1][1]):
            found.append((start, end))
    return [list(ranks[start : end + 1]) for start, end in found]


def _reach(reach: float, n_systems: int) -> go.Scatter:
    """Return the length of the critical difference, drawn from rank 1 on above all rows."""
    return go.Scatter(
        x=[1, 1 + reach],
        y=[-1, -1],
        mode="lines+markers+text",
        line={"color": light("ink"), "width": 1.5},
        marker={"symbol": "line-ns-open", "size": 9, "color": light("ink")},
        text=[f"critical difference {reach:.2f}", ""],
        textposition="top right",
        textfont={"size": 12, "color": light("muted")},
        cliponaxis=False,
        customdata=[f"{n_systems} systems"] * 2,
        hovertemplate=f"critical difference {reach:.3f} of %{{customdata}}, Nemenyi, 95 %"
        "<extra></extra>",
    )


def _drops(figure: go.Figure, ranks: Ranks, n_groups: int) -> None:
    for row, (_, rank) in enumerate(ranks):
        figure.add_shape(
            type="line",
            x0=rank,
            x1=rank,
            y0=row,
            y1=len(ranks) + max(n_groups - 1, 0),
            line={"color": light("rule"), "width": 1},
            layer="below",
        )


def _bar(group: Ranks, row: float) -> go.Scatter:
    names = words.in_picture(words.listed([name for name, _ in group]))
    return go.Scatter(
        x=[group[0][1], group[-1][1]],
        y=[row, row],
        mode="lines",
        line={"color": light("ink"), "width": 5},
        hovertemplate=f"cannot be told apart: {names}<extra></extra>",
    )


def _dots(ranks: Ranks, found: Mapping[str, Any]) -> go.Scatter:
    return go.Scatter(
        x=[rank for _, rank in ranks],
        y=list(range(len(ranks))),
        mode="markers+text",
        marker={"size": 11, "color": light("blue")},
        text=[f"{rank:.2f}" for _, rank in ranks],
        textposition="middle right",
        textfont={"size": 12, "color": light("ink")},
        cliponaxis=False,
        customdata=[words.in_picture(name) for name, _ in ranks],
        hovertemplate="<b>%{customdata}</b> mean rank %{x:.3f}, "
        f"n = {found['n']} data sets<extra></extra>",
    )


def _describe(ranks: Ranks, groups: Sequence[Ranks], found: Mapping[str, Any]) -> str:
    each = ", ".join(f"{name} {rank:.2f}" for name, rank in ranks)
    joined = "; ".join(words.listed([name for name, _ in group]) for group in groups)
    apart = f" Not told apart: {joined}." if joined else " All are told apart."
    p = words.probability(found["p_overall"])
    return f"Mean ranks: {each}. Friedman's p that all are alike is {p}.{apart}"


def _table(found: Mapping[str, Any]) -> words.Table:
    rows = tuple(
        (
            words.Cell(one["first"]),
            words.Cell(one["second"]),
            words.Cell(
                words.comparison_text(one), f"n = {found['n']} data sets; {one['estimator']}"
            ),
            words.Cell(words.probability(one["p_adjusted"]), "Nemenyi, not below Friedman's"),
            words.Cell("a tie" if one["tie"] else one["winner"]),
        )
        for one in found["comparisons"]
    )
    columns = ("System", "Against", "Ahead in mean rank", "p", "Better")
    return words.Table(columns, rows, frozenset({2, 3}))
