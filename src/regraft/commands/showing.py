"""Where commands write: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import os
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from regraft.errors import ConfigError

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


def write_whole(path: Path, text: str) -> Path:
    """Write a file, whole or not at all, and return its path.

    Raises:
        ConfigError: It cannot be written.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise ConfigError(
            f"cannot be written ({error.strerror}). Name another file.", where=str(path)
        ) from error
    return path


def complain(kind: str, message: str, *, where: str | None = None, as_json: bool) -> None:
    """Say in one sentence why there is no result; where JSON is asked for, as an object too."""
    if as_json:
        print_json({"error": {"kind": kind, "message": message, "where": where}})
    text = f"regraft: {where}: {message}" if where else f"regraft: {message}"
    err.print(text, markup=False, highlight=False, style="red", soft_wrap=True)


def check_form(report: Path | None) -> None:
    """Refuse a report in a form that there is not, before the work begins.

    Raises:
        ConfigError: The file ends in something else.
    """
    from regraft.report.page import writer_for

    if report is not None:
        writer_for(report)


def finish(
    study: Study, *, report: Path | None, as_json: bool, quiet: bool, open_report: bool = False
) -> None:
    """Drive a study to its end, show what came out, and exit by the target."""
    from regraft.report.facts import warnings
    from regraft.report.page import write_any
    from regraft.report.summary import run_summary
    from regraft.report.target import target_lines
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
        raise typer.Exit(INTERRUPTED)
    result = study.result()
    path = write_any(result.record, report or Path(f"regraft-{study.id[:8]}.html"))
    if as_json:
        print_json(run_summary(result.record))
    else:
        warned = [f"warning: {one}." for one in warnings(result.record)]
        say("\n".join([result.verdict, *target_lines(result.record), *warned]))
        say(f"study:  {study.id}\nreport: {path}\ngraft:  {result.record['best']['graft']}")
    if open_report and _has_screen():
        webbrowser.open(path.resolve().as_uri())
    target = result.record["target"]
    codes = {"met": 0, "not_met": NOT_MET, "undecided": UNDECIDED}
    raise typer.Exit(codes[target["status"]] if target else 0)


def _has_screen() -> bool:
    """Whether a browser could show a page; on Linux, where a display is named."""
    return sys.platform != "linux" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))
