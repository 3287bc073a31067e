from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest

from regraft.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Shown:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


class Regraft(Protocol):
    """Runs the command line within this process."""

    def __call__(self, *arguments: object) -> Shown: ...


@pytest.fixture
def regraft(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Regraft:
    """Return the command line; it runs in an empty folder of its own."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*arguments: object) -> Shown:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["regraft", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Shown(ended.value.code, shown.out, shown.err)

    return run
