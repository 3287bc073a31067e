"""The command line. Heavy rooms are imported when a command needs them."""

from __future__ import annotations

import logging
import sys

import typer

from regraft.commands import records, studies, tools
from regraft.commands.showing import BAD_INPUT, INTERRUPTED, err, print_json
from regraft.errors import RegraftError

app = typer.Typer(
    name="regraft",
    help="Graft a pretrained model onto your task: find the best way to adapt it, and prove it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for command in (
    studies.run,
    studies.demo,
    studies.inspect,
    studies.plan,
    records.studies,
    records.runs,
    records.report,
    records.compare,
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
    try:
        app()
    except RegraftError as error:
        if "--json" in sys.argv:
            where = error.where
            message = str(error).removeprefix(f"{where}: ") if where else str(error)
            print_json({"error": {"kind": error.kind, "message": message, "where": where}})
        err.print(f"regraft: {error}", markup=False, highlight=False, style="red", soft_wrap=True)
        raise SystemExit(BAD_INPUT) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
