"""Seeds: every random choice has its own, derived from the study's by name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """Return a seed in [0, 2**63) for the thing named, independent of all other names.

    Example:
        >>> derive(0, "split") == derive(0, "split"), derive(0, "split") == derive(0, "order")
        (True, False)
    """
    text = "\0".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a numpy generator seeded for the thing named."""
    import numpy as np

    return np.random.default_rng(derive(seed, *names))
