"""Where the ledger lives."""

from __future__ import annotations

import os
from pathlib import Path

from regraft.errors import LedgerError


def ledger_home(given: Path | None) -> Path:
    """Return the folder given, else of REGRAFT_HOME, else ``~/.local/share/regraft``.

    Raises:
        LedgerError: A ``~`` stands for a home folder that the system does not know.
    """
    try:
        return _home(given)
    except RuntimeError as error:
        raise LedgerError(
            f"the home folder is not known ({error}). Name a folder with --home.", where="ledger"
        ) from error


def _home(given: Path | None) -> Path:
    if given is not None:
        return given.expanduser()
    named = os.environ.get("REGRAFT_HOME")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "regraft"
