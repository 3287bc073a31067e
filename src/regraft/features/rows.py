"""Chosen rows of features that lie on the disk, copied a block at a time."""

from __future__ import annotations

from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from regraft.features.mapped import file_of, give_back

_ROWS_AT_ONCE = 256
"""Rows copied between two times that pages are given back. Splits keep their rows ascending, so
that these lie close; a row that lies apart can bring 2 MiB, a large page of the system's cache."""

Chosen = slice | NDArray[np.integer] | NDArray[np.bool_]


class Features(Protocol):
    """Features (n, d) as those read them who take them in blocks: an array, or rows of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and width."""
        ...

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def __getitem__(self, rows: Chosen, /) -> NDArray[Any]:
        """Return some rows."""
        ...


@final
class FeatureRows:
    """Rows of features (n, d) by their numbers; nothing is copied before it is asked for.

    Pages of a mapped file that were read to make a copy are given back at once: they stay in the
    system's cache, and the process does not hold what it has read.
    """

    def __init__(self, features: NDArray[Any], rows: NDArray[np.integer]) -> None:
        self._features, self._rows = features, rows
        self._file = file_of(features)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and width."""
        return len(self._rows), *self._features.shape[1:]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def __getitem__(self, rows: Chosen, /) -> NDArray[Any]:
        """Return a copy of some rows."""
        wanted = self._rows[rows]
        if self._file is None:
            gathered: NDArray[Any] = self._features[wanted]
            return gathered
        copied = np.empty((len(wanted), *self._features.shape[1:]), self._features.dtype)
        for start in range(0, len(wanted), _ROWS_AT_ONCE):
            piece = slice(start, start + _ROWS_AT_ONCE)
            copied[piece] = self._features[wanted[piece]]
            give_back(self._file)
        return copied

    def chosen(self, rows: Chosen) -> FeatureRows:
        """Return some of the rows, not copied."""
        return FeatureRows(self._features, self._rows[rows])

    def whole(self) -> NDArray[Any]:
        """Return all rows as one array; it is no copy where they are those of the features."""
        n = len(self._features)
        if len(self) == n and np.array_equal(self._rows, np.arange(n)):
            return self._features
        return self[:]


def chosen(features: Features, rows: Chosen) -> FeatureRows:
    """Return some rows of features, not copied.

    Example:
        >>> some = chosen(np.eye(4), np.array([3, 1]))
        >>> some.shape, some[0:1].tolist()
        ((2, 4), [[0.0, 0.0, 0.0, 1.0]])
    """
    if isinstance(features, FeatureRows):
        return features.chosen(rows)
    return FeatureRows(np.asanyarray(features), np.arange(len(features))[rows])
