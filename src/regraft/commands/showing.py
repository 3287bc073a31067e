"""Where commands write: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

if TYPE_CHECKING:
    from regraft.study import Study

BAD_INPUT, NOT_MET, UNDECIDED, DIFFERS, INTERRUPTED = 2, 3, 4, 5, 130

out = Console()
err = Console(stderr=True)


def say(text: str) -> None:
    """Write a line for people, as it is."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """Write one JSON object."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def finish(
    study: Study, *, report: Path | None, as_json: bool, quiet: bool, open_report: bool = False
) -> None:
    """Drive a study to its end, show what came out, and exit by the target."""
    from regraft.report.summary import run_summary
    from regraft.search.clock import Clock
    from regraft.terminal import Progress, run_title

    study.register()
    clock = Clock(study.ledger, study.id, study.spec.budget)
    progress = Progress(
        err,
        metric=study.spec.task.metric,
        titles=lambda run: run_title(study.ledger.runs.get(run).configuration),
        remaining=lambda: clock.remaining,
    )
    if not progress.watch(study.events(), live=not quiet and not as_json and err.is_terminal):
        err.print("interrupted; the same command goes on from here")
        raise typer.Exit(INTERRUPTED)
    result = study.result()
    path = result.report(report or Path(f"regraft-{study.id[:8]}.html"))
    if as_json:
        print_json(run_summary(result.record))
    else:
        say(result.verdict)
        say(f"study:  {study.id}\nreport: {path}\ngraft:  {result.record['best']['graft']}")
    if open_report:
        typer.launch(str(path.resolve()))
    target = result.record["target"]
    codes = {"met": 0, "not_met": NOT_MET, "undecided": UNDECIDED}
    raise typer.Exit(codes[target["status"]] if target else 0)
