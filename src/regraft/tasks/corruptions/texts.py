"""Corruptions of texts: typing errors, wrong case, lost words, lost endings."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from regraft.seeds import numpy_generator
from regraft.tasks.corruptions.severity import check_corruption, of_severity

if TYPE_CHECKING:
    import numpy as np

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = MappingProxyType(
    {
        letter: row[max(0, i - 1) : i] + row[i + 1 : i + 2]
        for row in _ROWS
        for i, letter in enumerate(row)
    }
)


def _typos(text: str, severity: int, generator: np.random.Generator) -> str:
    """Hit the key beside the one meant, or exchange two letters; the length stays."""
    share = of_severity((0.03, 0.06, 0.1, 0.16, 0.24), severity)
    letters, hits = list(text), generator.random(len(text)) < share
    kinds, sides = generator.random(len(text)), generator.random(len(text))
    i = 0
    while i < len(letters):
        if hits[i] and kinds[i] < 0.5 and _can_exchange(letters, i):
            letters[i], letters[i + 1] = letters[i + 1], letters[i]
            i += 1
        elif hits[i] and letters[i].lower() in _NEIGHBOURS:
            near = _NEIGHBOURS[letters[i].lower()]
            struck = near[int(sides[i] * len(near))]
            letters[i] = struck.upper() if letters[i].isupper() else struck
        i += 1
    return "".join(letters)


def _can_exchange(letters: list[str], i: int) -> bool:
    pair = letters[i : i + 2]
    return len(pair) == 2 and all(one.isalpha() for one in pair) and pair[0] != pair[1]


def _case(text: str, severity: int, generator: np.random.Generator) -> str:
    """Turn capitals into small letters and the other way round; the length stays."""
    share = of_severity((0.05, 0.15, 0.3, 0.5, 0.8), severity)
    hits = generator.random(len(text)) < share
    turned = (one.swapcase() for one in text)
    # Some letters turn into two (ß → SS): they stay.
    return "".join(
        new if hit and len(new) == 1 else old
        for old, new, hit in zip(text, turned, hits, strict=True)
    )


def _word_drop(text: str, severity: int, generator: np.random.Generator) -> str:
    """Leave words out, at least one stays; where one is left out, so is the space before it."""
    share = of_severity((0.05, 0.1, 0.2, 0.3, 0.45), severity)
    words = text.split(" ")
    draws = generator.random(len(words))
    kept = [word for word, draw in zip(words, draws, strict=True) if draw >= share or not word]
    if not any(kept):
        return words[int(draws.argmax())] if text.strip() else text
    return " ".join(kept)


def _truncation(text: str, severity: int, generator: np.random.Generator) -> str:
    """Cut the end off, keeping a share of the characters, at least one. Nothing is random."""
    share = of_severity((0.9, 0.75, 0.6, 0.45, 0.3), severity)
    return text[: max(1, round(share * len(text)))]


_BY_NAME = MappingProxyType(
    {"typos": _typos, "case": _case, "word_drop": _word_drop, "truncation": _truncation}
)
TEXT_CORRUPTIONS = tuple(_BY_NAME)


def corrupt_text(text: str, name: str, *, severity: int, seed: int) -> str:
    """Return a corrupted text; the same arguments give the same text.

    ``typos`` and ``case`` keep the length, ``word_drop`` and ``truncation`` never lengthen; an
    empty text stays empty.

    Args:
        text: Any text; typing errors hit the letters a to z of a QWERTY keyboard, and exchange
            letters of any alphabet.
        name: One of `TEXT_CORRUPTIONS`.
        severity: 1 to 5.
        seed: Of the randomness.

    Raises:
        ConfigError: No corruption has this name, or the severity is none of 1…5.

    Example:
        >>> corrupt_text("graft the tree", "truncation", severity=3, seed=0)
        'graft th'
    """
    check_corruption(name, TEXT_CORRUPTIONS, severity)
    return _BY_NAME[name](text, severity, numpy_generator(seed, "corruption", name))
