"""Where the ledger lives."""

from __future__ import annotations

import os
from pathlib import Path


def ledger_home(given: Path | None) -> Path:
    """Return the folder given, else of REGRAFT_HOME, else ``~/.local/share/regraft``."""
    if given is not None:
        return given.expanduser()
    named = os.environ.get("REGRAFT_HOME")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "regraft"
