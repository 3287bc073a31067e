"""Which of many items are looked at: a seeded draw without replacement, in the items' order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.seeds import numpy_generator

if TYPE_CHECKING:
    Rows = np.ndarray[Any, Any]


def drawn(n: int, most: int, *, seed: int, name: str) -> Rows:
    """Return which of n items are looked at, ascending; all of them where there are no more.

    The first of them would not do: items may lie class by class.

    Args:
        n: How many there are.
        most: How many are looked at.
        seed: Of the draw.
        name: Of the draw: draws by other names are independent.

    Example:
        >>> drawn(3, 5, seed=0, name="example").tolist()
        [0, 1, 2]
    """
    return np.sort(numpy_generator(seed, name).permutation(n)[:most])
