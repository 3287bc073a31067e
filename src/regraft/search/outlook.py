"""How probable it is that a candidate which is behind would end ahead of the best."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from regraft.measure.extrapolation import Forecast, forecast
from regraft.measure.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.search.halving import Standing

UNLIKELY = 0.05
"""Who is less likely than this to end ahead of the best drops out (Domhan et al., 2015)."""


def chances(standings: Sequence[Standing], metric: str) -> dict[str, float]:
    """Return, by run, the chance of ending ahead of the one that is best now; its own is 1.

    Each learning curve is extrapolated to the end of its steps, the two taken as independent: they
    are scored on the same items, so the chance is rather too high than too low.

    Args:
        standings: All that are compared.
        metric: The study's metric.
    """
    best = max(standings, key=lambda one: (one.value, -one.log_loss))
    ahead = _forecast(best, metric)
    return {
        one.run: 1.0 if one is best else _forecast(one, metric).chance_below(ahead)
        for one in standings
    }


def _forecast(one: Standing, metric: str) -> Forecast:
    curve = one.curve or ((one.step, one.value),)
    errors = [_error(value, metric) for _, value in curve]
    last = errors[-1]
    if METRICS[metric].proportion:
        # At 0 and 1 one item more or less is the least that can be seen.
        noise = math.sqrt(max(last * (1 - last), 1 / one.n_items) / one.n_items)
    else:  # an item's loss varies about as much as the mean is
        noise = last / math.sqrt(one.n_items)
    if one.ended:
        return forecast([1.0], errors[-1:], at=1.0, noise=noise)
    return forecast([max(step, 1) for step, _ in curve], errors, at=one.total_steps, noise=noise)


def _error(value: float, metric: str) -> float:
    """Return what falls as the metric gets better; `value` counts more as better."""
    return max(0.0, 1.0 - value) if METRICS[metric].proportion else max(0.0, -value)
