"""Exact and near duplicates among items."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from regraft.tasks.looks import near_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.tasks.looks import Look

_BETWEEN_DIGITS_NOT = re.compile(r"(?<!\d) | (?!\d)")

Pairs = np.ndarray[Any, Any]


def normalised_text(text: str) -> str:
    """Return a text without case, punctuation and spacing; letters of any script and signs stay.

    Between two digits a space stays, so that 1.5 and 15 differ.

    Example:
        >>> normalised_text("Don't PAY 1,000!"), normalised_text("do n't pay 1 000")
        ('dontpay1 000', 'dontpay1 000')
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _BETWEEN_DIGITS_NOT.sub("", " ".join(folded.translate(_SEPARATORS).split()))


def clusters(keys: Sequence[str], looks: Sequence[Look | None] | None) -> np.ndarray[Any, Any]:
    """Return for each item the first item of its cluster of duplicates (itself where it has none).

    Args:
        keys: Items with the same key are duplicates.
        looks: What was kept of images, or None for other kinds.
    """
    first: dict[str, int] = {}
    found = np.array([first.setdefault(key, i) for i, key in enumerate(keys)], np.int64)
    if looks is None:
        return found
    chosen = [(i, look) for i in first.values() if (look := looks[i]) and look.is_telling]
    rows = np.array([i for i, _ in chosen], np.int64)
    pairs = list(near_pairs([look for _, look in chosen]))
    return _joined(found, rows[np.concatenate(pairs)]) if pairs else found


def _joined(found: np.ndarray[Any, Any], pairs: Pairs) -> np.ndarray[Any, Any]:
    """Return the first item of each cluster after joining the clusters of some pairs (m, 2)."""
    n = len(found)
    one = np.concatenate([np.arange(n), pairs[:, 0]])
    two = np.concatenate([found, pairs[:, 1]])
    graph = coo_array((np.ones(len(one), np.int8), (one, two)), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    first = np.full(n, n, np.int64)
    np.minimum.at(first, component, np.arange(n))
    least: np.ndarray[Any, Any] = first[component]
    return least


class _Separators(dict[int, str | int]):
    """Maps punctuation, spaces and control characters to a space, everything else to itself."""

    def __missing__(self, code: int) -> str | int:
        # Not a regular expression of \W: that takes vowel signs of Indic scripts for punctuation.
        value: str | int = " " if unicodedata.category(chr(code))[0] in "PZC" else code
        self[code] = value
        return value


_SEPARATORS = _Separators()
