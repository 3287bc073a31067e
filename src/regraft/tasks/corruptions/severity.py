"""The five severities that every corruption has."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from regraft.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

SEVERITIES = (1, 2, 3, 4, 5)


def check_corruption(name: str, known: Iterable[str], severity: int) -> None:
    """Refuse a corruption or severity that does not exist.

    Raises:
        ConfigError: No corruption has this name, or the severity is none of 1…5.
    """
    names = list(known)
    if name not in names:
        raise ConfigError(f"unknown corruption {name!r}.{did_you_mean(name, names)}")
    if severity not in SEVERITIES:
        raise ConfigError(
            f"severity {severity!r} of {name!r} is none of 1, 2, 3, 4, 5. "
            "Give one of them; what is not corrupted needs no call."
        )


def of_severity(values: tuple[T, T, T, T, T], severity: int) -> T:
    """Return the value for a severity in 1…5."""
    return values[severity - 1]
