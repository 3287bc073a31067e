"""Prepared inputs of a few items, in memory and gone with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.backbones.preprocess import Preprocess
    from regraft.tasks.items import Items

_PREPARED_AT_ONCE = 64


@final
class HeldArrays:
    """Arrays by item, in memory."""

    def __init__(self, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        self._arrays = arrays

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._arrays)

    def gather(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        """Return copies of the arrays of some items."""
        return [np.array(self._arrays[int(row)]) for row in rows]

    def lengths(self) -> np.ndarray[Any, Any]:
        """Return each item's number of values, shape (n,)."""
        return np.array([one.size for one in self._arrays], np.int64)


def held_inputs(preprocess: Preprocess, items: Items) -> HeldArrays:
    """Return each item after the backbone's own preprocessing, as `prepare_inputs` keeps it."""
    arrays: list[np.ndarray[Any, Any]] = []
    for start in range(0, len(items), _PREPARED_AT_ONCE):
        stop = min(start + _PREPARED_AT_ONCE, len(items))
        arrays += preprocess.prepare([items.read(row) for row in range(start, stop)])
    return HeldArrays(arrays)
