"""The command that asks a ledger whether what moved less gained more: limits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regraft.commands.options import Home, Json
from regraft.commands.showing import out, print_json, say

if TYPE_CHECKING:
    from collections.abc import Mapping


def limits(
    studies: Annotated[
        list[str] | None, typer.Argument(help="Ids or names; all finished studies if none.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", help="A page with the picture: .html.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Ask over studies whether backbones whose features moved less gained more, or sooner.

    A cell is a backbone on a task: its best adapted arm on validation. Prints the correlation with
    exact p, interval, and what so many cells can show.

    Example: regraft limits
    """
    from regraft.evidence.ledger_cells import limits_of_ledger
    from regraft.ledger.ledger import Ledger

    found = limits_of_ledger(Ledger.open(home), studies or ())
    if output is not None:
        from regraft.report.comparison import write_limits

        write_limits(found, output)
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: Mapping[str, Any]) -> None:
    from regraft.terminal import table

    columns = ("study", "data", "backbone", "arm", "MMD²", "gain, 95 %", "steps")
    cells = (
        (
            one["study"][:12],
            Path(one["data"]).name or one["data"],
            Path(one["backbone"]).name,
            one["title"],
            f"{one['mmd2']:.4f}",
            f"{one['gain']:+.1f} % [{one['gain_low']:+.1f}, {one['gain_high']:+.1f}]",
            "" if one["steps"] is None else f"{one['steps']:.0%}",
        )
        for one in found["cells"]
    )
    out.print(table("Movement and gain", columns, cells))
    say(f"movement and gain: {found['gain']['text']}")
    say(f"movement and steps to convergence: {found['speed']['text']}")
    for one in found["left_out"]:
        say(f"left out: study {one['study']}: {one['reason']}")
