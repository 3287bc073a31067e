"""Pages of a mapped file, given back once they were copied."""

from __future__ import annotations

import mmap
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def file_of(array: NDArray[Any]) -> mmap.mmap | None:
    """Return the file that an array is a view of; None where it is none, or can be written to."""
    base: object = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:  # what is written to a private map is lost with its pages
            return None
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def give_back(file: mmap.mmap | None) -> None:
    """Let go of a file's pages: they stay in the system's cache, and the process holds none."""
    if file is not None and sys.platform == "linux":
        file.madvise(mmap.MADV_DONTNEED)
