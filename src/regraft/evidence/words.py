"""Numbers for people."""

from __future__ import annotations


def number(value: float | None) -> str:
    """Return a number with three decimals, the leading zero dropped.

    Example:
        >>> number(0.9124), number(1.5), number(-0.03), number(None)
        ('.912', '1.500', '−.030', '–')
    """
    if value is None:
        return "–"
    text = f"{abs(value):.3f}"
    text = text.removeprefix("0") if text.startswith("0.") else text
    return f"−{text}" if value < 0 and text.strip(".0") else text


def signed(value: float) -> str:
    """Return a difference with its sign: ``+.031``, ``−.004``."""
    return ("−" if value < 0 else "+") + number(abs(value))


def signed_percent(percent: float) -> str:
    """Return a change in percent with its sign.

    Example:
        >>> signed_percent(12.4), signed_percent(-0.6), signed_percent(0.2)
        ('+12 %', '−1 %', '+0 %')
    """
    whole = round(percent)
    return ("−" if whole < 0 else "+") + f"{abs(whole)} %"


def seconds_text(seconds: float | None) -> str:
    """Return seconds for people.

    Example:
        >>> seconds_text(0.4), seconds_text(75), seconds_text(5400)
        ('0.4 s', '1 min', '1.5 h')
    """
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def percent(share: float) -> str:
    """Return a share in whole percent.

    Example:
        >>> percent(0.043), percent(0.004), percent(0.998)
        ('4 %', 'less than 1 %', 'more than 99 %')
    """
    if share < 0.01:
        return "less than 1 %"
    return "more than 99 %" if share > 0.99 else f"{100 * share:.0f} %"
