"""Write docs/cli.md from the command line's own help: python docs/generate_cli.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.main import get_command

from regraft.cli import app

PAGE = Path(__file__).with_name("cli.md")


def _row(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{(parameter.metavar or parameter.name or '').upper()}`"
    text = (parameter.help or "").replace("|", "\\|")
    return f"| {names} | {text} |"


def page() -> str:
    """Return the page: each command with its help, arguments and options."""
    group: Any = get_command(app)
    parts = ["# Commands", "", "Written by `docs/generate_cli.py` from the program's own help."]
    for name, command in group.commands.items():
        about, _, example = (command.help or "").partition("Example:")
        parts += ["", f"## `regraft {name}`", "", " ".join(about.split()), ""]
        parts += ["```console", example.strip(), "```", "", "| | |", "|---|---|"]
        parts += [_row(parameter) for parameter in command.params if parameter.name != "help"]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
