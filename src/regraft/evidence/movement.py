"""How far a run moved the features of the items on which it was validated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft.measure.shift import mmd2_paired, mmd2_paired_test
from regraft.measure.similarity import cka_linear

if TYPE_CHECKING:
    import numpy as np

_LARGEST = 1000
_FEWEST = 8


def movement(
    before: np.ndarray[Any, Any], after: np.ndarray[Any, Any], *, seed: int
) -> dict[str, Any] | None:
    """Return MMD² (paired, unbiased), its sign-flip p, and unbiased linear CKA of the same items.

    Args:
        before: Pooled features of the pretrained backbone, shape (n, width).
        after: The same items after adaptation, same shape.
        seed: Seed of the permutations.

    Returns:
        None where fewer than 8 items were validated; at most 1,000 are looked at.
    """
    if len(before) < _FEWEST:
        return None
    before, after = before[:_LARGEST], after[:_LARGEST]
    return {
        "mmd2": mmd2_paired(before, after),
        "p": mmd2_paired_test(before, after, seed=seed),
        "cka": cka_linear(before, after),
        "n": len(before),
        "seeds": 1,
        "estimator": "validation items before and after, first run: paired, unbiased MMD² with a "
        "sign-flip test; unbiased linear CKA",
        "no_interval": "a distance of features has no interval here; p says whether it is more "
        "than chance",
    }
