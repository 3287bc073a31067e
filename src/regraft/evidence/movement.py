"""How far a run moved the features of the items on which it was validated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.draws import drawn
from regraft.measure.shift import cosine_drift, paired_shift
from regraft.measure.similarity import cka_linear
from regraft.measure.spreads import mean_ends

if TYPE_CHECKING:
    from collections.abc import Mapping

_LARGEST = 1000
_FEWEST = 8
MMD_BY = "paired unbiased MMD², Gaussians of ½, 1 and 2 median distances; jackknife interval"
DRIFT_BY = "mean of 1 − cos over items; Hall's interval"


def movement(
    before: np.ndarray[Any, Any], after: np.ndarray[Any, Any], *, seed: int
) -> dict[str, Any] | None:
    """Return how far the features of the same items moved.

    Args:
        before: Pooled features of the pretrained backbone, shape (n, width).
        after: The same items after adaptation, same shape.
        seed: Of the draw of items and of the permutations.

    Returns:
        MMD² (paired, unbiased) with its 95 % ends ``low`` and ``high`` and sign-flip ``p``, linear
        ``cka`` (unbiased), and the mean cosine ``drift`` with its ends. None where fewer than 8
        items were validated, or where features do not vary, so that nothing is defined; at most
        1,000 are looked at.
    """
    if len(before) < _FEWEST:
        return None
    rows = drawn(len(before), _LARGEST, seed=seed, name="movement")
    before, after = before[rows], after[rows]
    shift = paired_shift(before, after, seed=seed)
    cka = cka_linear(before, after)
    if not np.isfinite([shift.mmd2, shift.low, shift.high, shift.p, cka]).all():
        return None
    drift = cosine_drift(before, after)
    return {
        "mmd2": shift.mmd2,
        "low": shift.low,
        "high": shift.high,
        "p": shift.p,
        "cka": cka,
        "drift": _mean(drift[np.isfinite(drift)]),
        "n": shift.n,
        "seeds": 1,
        "estimator": "validation items before and after, first run: paired, unbiased MMD² with its "
        "jackknife interval and a sign-flip test; unbiased linear CKA without an interval",
    }


def _mean(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    if not len(values):
        return dict.fromkeys(("value", "low", "high"))
    low, high, _ = mean_ends(values)
    ends = {"value": float(values.mean()), "low": low, "high": high}
    return {**ends, "n": len(values), "seeds": 1, "estimator": DRIFT_BY}


def depth_movement(
    before: Mapping[int, np.ndarray[Any, Any]],
    after: Mapping[int, np.ndarray[Any, Any]],
    weights: Mapping[int, float | None],
    *,
    n_blocks: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Return what moved at each depth, from the input upwards; empty for fewer than 8 items.

    A depth at which the states do not vary is left out.

    Args:
        before: Pooled states of the pretrained backbone by depth, shape (n, width of the depth).
        after: Those of the adapted one, the same items and depths.
        weights: ‖w − w₀‖ / ‖w₀‖ of what lies below each depth and above the one before.
        n_blocks: Depth of the pooled features.
        seed: Seed of the permutations.
    """
    found = []
    for depth, states in sorted(before.items()):
        one = movement(states, after[depth], seed=seed)
        if one is not None:
            named = {"depth": depth, "name": depth_name(depth, n_blocks)}
            found.append({**named, **one, "weights": weights[depth]})
    return found


def depth_name(depth: int, n_blocks: int) -> str:
    """Return what is looked at there, for people.

    Example:
        >>> [depth_name(depth, 3) for depth in range(4)]
        ['stem', 'after block 0', 'after block 1', 'pooled features']
    """
    if depth == n_blocks:
        return "pooled features"
    return "stem" if depth == 0 else f"after block {depth - 1}"
