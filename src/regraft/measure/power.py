"""How small a difference a test set can show, before anything is trained."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from regraft.errors import ShapeError

CORRELATION = 0.5
SEED_CORRELATION = 0.7


def minimum_detectable_difference(
    n_test: int,
    base_rate: float,
    n_seeds: int = 1,
    *,
    level: float = 0.95,
    power: float = 0.8,
    correlation: float = CORRELATION,
    seed_correlation: float = SEED_CORRELATION,
) -> float | None:
    """Return the least gain in accuracy that a paired test on so many items finds so often.

    The d that solves d = (z_{(1+level)/2} √(V + d²) + z_power √V)/√n. V is the variance per item of
    the difference of two systems' means over S seeds, with shares p and p + d of right answers,
    s = (1 + (S − 1)ρ_seed)/S and c = ρ √(p(1 − p)(p + d)(1 − p − d)):
    V = s(p(1 − p) + (p + d)(1 − p − d)) − 2c. For one seed it is the difference that McNemar's test
    finds. What other seeds would have given is in it only so far as they change the answers.

    Args:
        n_test: Items, ≥ 1.
        base_rate: Accuracy of the weaker system, in (0, 1).
        n_seeds: Repetitions of each system on the same items, ≥ 1.
        level: 1 − the chance of a false call.
        power: Chance to find the difference.
        correlation: ρ of the answers of the two systems on the same item, in [0, 1); 0 is the worst
            case, systems on one backbone agree more.
        seed_correlation: ρ_seed of the answers of two seeds of one system; not below `correlation`.

    Returns:
        In accuracy; None where not even a system without mistakes would be told apart.

    Raises:
        ShapeError: A number lies outside its range.

    Reference:
        Connor, Sample Size for Testing Differences in Proportions for the Paired-Sample Design,
        Biometrics 43 (1987), eq. 1.

    Example:
        >>> round(minimum_detectable_difference(400, 0.8), 3)
        0.053
    """
    _check(n_test, base_rate, n_seeds, correlation, seed_correlation)
    seeds = (1 + (n_seeds - 1) * seed_correlation) / n_seeds
    least, often = float(norm.ppf(0.5 + level / 2)), float(norm.ppf(power))

    def missing(gain: float) -> float:
        better = base_rate + gain
        ours, theirs = base_rate * (1 - base_rate), max(better * (1 - better), 0.0)
        shared = correlation * float(np.sqrt(ours * theirs))
        # No two answers agree more than always: P(both right) is at most the smaller share.
        shared = min(shared, base_rate * (1 - better))
        variance = max(seeds * (ours + theirs) - 2 * shared, 0.0)
        needed = least * np.sqrt(variance + gain**2) + often * np.sqrt(variance)
        return float(gain - needed / np.sqrt(n_test))

    most = 1 - base_rate
    return None if missing(most) < 0 else float(brentq(missing, 0.0, most, xtol=1e-9))


def _check(
    n_test: int, base_rate: float, n_seeds: int, correlation: float, seed_correlation: float
) -> None:
    if n_test < 1 or n_seeds < 1 or not 0.0 < base_rate < 1.0:
        raise ShapeError(
            f"minimum_detectable_difference: {n_test} items, base rate {base_rate}, {n_seeds} "
            "seeds. Give at least 1 item and seed and a rate between 0 and 1."
        )
    if not 0.0 <= correlation <= seed_correlation <= 1.0 or correlation == 1.0:
        raise ShapeError(
            f"minimum_detectable_difference: correlations {correlation} of systems and "
            f"{seed_correlation} of seeds. Give 0 ≤ the first ≤ the second ≤ 1."
        )
