"""Errors a user can act on.

    RegraftError            base; the command line prints it as one sentence and exits with 2
    ├── ConfigError         a study, task, protocol or option is wrong: edit it
    ├── DataError           the data cannot be used as it is: mend the file, row or column named
    ├── BackboneError       the backbone cannot be loaded, cut or adapted: name another, mend files
    ├── GraftError          a graft does not fit, was tampered with, or cannot be trusted
    ├── LedgerError         the ledger cannot be read or written: see the path named
    │   └── LockedError     another process drives this study: wait for it or stop it
    ├── BudgetError         the budget is too small for what must run: raise it
    ├── ResumeError         what was stored of an interrupted run does not fit what is asked now
    └── ShapeError          a function was called with arrays whose shapes do not fit together

The form of a message is *where: what is wrong (the value seen). What to do.*
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class RegraftError(Exception):
    """Base of all errors that a user can act on.

    Args:
        message: What is wrong and what to do, without the place.
        where: The file, row, key or option that is wrong.
    """

    def __init__(self, message: str, *, where: str | None = None) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where

    @property
    def kind(self) -> str:
        """Name of the error for machine-readable output, for example ``DataError``."""
        return type(self).__name__


class ConfigError(RegraftError):
    """A study, task, protocol or option is wrong: edit it."""


class DataError(RegraftError):
    """The data cannot be used as it is: mend the file, row or column named."""


class BackboneError(RegraftError):
    """The backbone cannot be loaded, cut or adapted: name another or mend its files."""


class GraftError(RegraftError):
    """A graft does not fit its backbone, was tampered with, or cannot be trusted."""


class LedgerError(RegraftError):
    """The ledger cannot be read or written: see the path named."""


class LockedError(LedgerError):
    """Another process drives this study: wait for it or stop it."""


class BudgetError(RegraftError):
    """The budget is too small for what must run: raise it."""


class ResumeError(RegraftError):
    """What was stored of an interrupted run does not fit what is asked now."""


class ShapeError(RegraftError):
    """A function was called with arrays whose shapes do not fit together."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known name, or all where none is near.

    Example:
        >>> did_you_mean("loar", ["lora", "bottleneck"])
        " Did you mean 'lora'?"
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    if near:
        return f" Did you mean {near[0]!r}?"
    return f" Known: {', '.join(names)}." if names else ""
