"""The colours of the report: one table from which the page's and the pictures' are taken.

Pictures carry the light colour; the page's script replaces it by the CSS variable of the same name,
so that pictures follow the reader's light or dark mode. Line colours are those of Okabe and Ito,
which colour-blind readers can tell apart, darkened or lightened for contrast with the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Ink:
    """One colour on light and on dark paper."""

    light: str
    dark: str


_PLAIN = {
    "paper": Ink("#ffffff", "#14181c"),
    "raised": Ink("#f6f7f8", "#1c2127"),
    "ink": Ink("#1b2026", "#e7eaed"),
    "muted": Ink("#5a646e", "#a3adb7"),
    "rule": Ink("#e1e5e8", "#2f363d"),
    "faint": Ink("#c3cad0", "#4a545e"),
    "accent": Ink("#0a5c9e", "#6cb4ee"),
    "good": Ink("#0f6b46", "#5cc79a"),
    "bad": Ink("#a4262c", "#f28b82"),
    "unsure": Ink("#7a5200", "#e3b341"),
    "heat-0": Ink("#f5f8fb", "#1d242b"),
    "heat-1": Ink("#c9dcec", "#22405a"),
    "heat-2": Ink("#7fb1d9", "#2c6699"),
    "heat-3": Ink("#2f78b3", "#5aa3dc"),
    "heat-4": Ink("#0b3d6b", "#cbe4f8"),
}
_LINES = {
    "blue": Ink("#0072b2", "#56a8e0"),
    "vermilion": Ink("#c64f00", "#f2955c"),
    "green": Ink("#00805c", "#3cc79d"),
    "purple": Ink("#a3548a", "#dd97c4"),
    "amber": Ink("#a87400", "#e2b33c"),
    "sky": Ink("#3a8fc0", "#9bd3f5"),
    "grey": Ink("#6f7780", "#9ba5af"),
}
_OPACITIES = {"band": 0.16, "soft": 0.5}


def _thinned(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"


INKS: Mapping[str, Ink] = MappingProxyType(
    {
        **_PLAIN,
        **_LINES,
        **{
            f"{name}-{thin}": Ink(_thinned(one.light, opacity), _thinned(one.dark, opacity))
            for name, one in _LINES.items()
            for thin, opacity in _OPACITIES.items()
        },
    }
)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "pentagon")
ROLES: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "control_without_transfer": ("Control without transfer", "grey", "square"),
        "control_without_fine_tuning": ("Control without fine-tuning", "amber", "diamond"),
        "candidate": ("Candidate", "blue", "circle"),
    }
)


def light(name: str) -> str:
    """Return a colour as pictures carry it."""
    return INKS[name].light


def series(place: int) -> tuple[str, str, str]:
    """Return colour, dash and symbol of the line at a place; no two of the first 35 are alike."""
    colours = tuple(_LINES)
    turn, rest = divmod(place, len(colours))
    return colours[rest], _DASHES[turn % len(_DASHES)], _SYMBOLS[rest]


def css_variables(*, dark: bool) -> str:
    """Return the declarations of all colours, one per line."""
    return "\n".join(f"--{name}: {one.dark if dark else one.light};" for name, one in INKS.items())


def variable_of() -> dict[str, str]:
    """Return the CSS variable by the light colour, for the page's script."""
    return {one.light: f"--{name}" for name, one in INKS.items()}
