"""Exact laws of rank correlations when one side is shuffled, ties included.

All n! orders are summed over sets of placed items instead of one by one, which keeps ten cells
within a fraction of a second.
"""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_EXACT = 10


def doubled_ranks(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return twice the midranks of values (n,): whole numbers whatever is tied."""
    return np.asarray(np.rint(2 * rankdata(values)), dtype=np.int64)


def spearman_law(
    first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the values of Σ a_i b_π(i) and their probabilities over all orders π.

    Args:
        first: Doubled ranks a, shape (n,), n ≤ 10.
        second: Doubled ranks b, shape (n,).

    Returns:
        Values, ascending, and probabilities that sum to 1.
    """
    n = len(first)
    most = int(np.sort(first) @ np.sort(second))
    laws = {0: np.eye(1, most + 1, 0)[0]}
    for placed in range(n):
        grown: dict[int, NDArray[np.float64]] = {}
        for taken, law in laws.items():
            for j in range(n):
                if not taken >> j & 1:
                    moved = _shifted(law, int(first[placed] * second[j]))
                    key = taken | 1 << j
                    grown[key] = grown[key] + moved if key in grown else moved
        laws = grown
    return _law(laws[(1 << n) - 1], 0, n)


def kendall_law(
    first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the values of Σ_{i<j} sign(a_j − a_i) sign(b_π(j) − b_π(i)) with probabilities.

    Args:
        first: Doubled ranks a, shape (n,), n ≤ 10.
        second: Doubled ranks b, shape (n,).

    Returns:
        Values, ascending, and probabilities that sum to 1.
    """
    n = len(first)
    pairs = n * (n - 1) // 2
    # Counts of values −pairs…pairs; items that are tied in a are placed together.
    laws = {0: np.eye(1, 2 * pairs + 1, pairs)[0]}
    signs = np.sign(second[:, None] - second[None, :]).astype(int)
    for size in np.unique(first, return_counts=True)[1].tolist():
        grown: dict[int, NDArray[np.float64]] = {}
        for taken, law in laws.items():
            before = [j for j in range(n) if taken >> j & 1]
            free = [j for j in range(n) if not taken >> j & 1]
            for chosen in combinations(free, size):
                gained = int(signs[np.ix_(chosen, before)].sum())
                key = taken | sum(1 << j for j in chosen)
                moved = _shifted(law, gained) * factorial(size)
                grown[key] = grown[key] + moved if key in grown else moved
        laws = grown
    return _law(laws[(1 << n) - 1], -pairs, n)


def _shifted(law: NDArray[np.float64], by: int) -> NDArray[np.float64]:
    moved = np.zeros_like(law)
    if by >= 0:
        moved[by:] = law[: len(law) - by]
    else:
        moved[:by] = law[-by:]
    return moved


def _law(
    counts: NDArray[np.float64], start: int, n: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    held = np.flatnonzero(counts)
    return (held + start).astype(np.int64), counts[held] / factorial(n)
