"""The command line. Heavy rooms are imported when a command needs them."""

from __future__ import annotations

import logging
import sys

import typer

from regraft.commands import limits, ranking, records, sequence, studies, tools
from regraft.commands.showing import BAD_INPUT, INTERRUPTED, complain
from regraft.errors import RegraftError

app = typer.Typer(
    name="regraft",
    help="Graft a pretrained model onto your task: find the best way to adapt it, and prove it.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for command in (
    studies.run,
    studies.demo,
    studies.inspect,
    studies.plan,
    ranking.rank,
    records.studies,
    records.runs,
    records.report,
    records.compare,
    limits.limits,
    sequence.sequence,
    records.verify,
    tools.predict,
    records.clean,
    tools.doctor,
    tools.schema,
    tools.pretrain,
):
    app.command()(command)


def main() -> None:
    """Run the command line; the one border where errors become sentences and exit codes."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    arguments = sys.argv[1:] or ["--help"]
    as_json = "--json" in arguments
    try:
        code = app(arguments, prog_name="regraft", standalone_mode=False) or 0
    except RegraftError as error:
        message = str(error).removeprefix(f"{error.where}: ")
        complain(error.kind, message, where=error.where, as_json=as_json)
        code = BAD_INPUT
    except typer.TyperException as error:
        message = f"{error.format_message().rstrip('.')}. See regraft --help."
        complain("UsageError", message, as_json=as_json)
        code = BAD_INPUT
    if code == INTERRUPTED:
        complain("Interrupted", "interrupted; the same command goes on from here", as_json=as_json)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
