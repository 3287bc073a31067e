"""Where a learning curve will end, with a stated confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from regraft.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL = 0.9
_EXPONENTS = np.linspace(0.1, 2.0, 26)
_FLOORS = np.linspace(0.0, 1.0, 24)


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """What a curve is expected to show at a later step: a mixture of normals.

    Attributes:
        centres: Shape (k,); widths: their standard deviations (k,); weights: (k,), they sum to 1.
    """

    centres: NDArray[np.float64]
    widths: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """The expected value."""
        return float(self.weights @ self.centres)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the central interval that holds a share of the forecast."""
        return self._quantile((1 - level) / 2), self._quantile((1 + level) / 2)

    def chance_below(self, other: Forecast) -> float:
        """Return how probable it is that this ends lower than another, the two independent."""
        widths = np.hypot(self.widths[:, None], other.widths[None, :])
        apart = (other.centres[None, :] - self.centres[:, None]) / widths
        return float(self.weights @ ndtr(apart) @ other.weights)

    def _quantile(self, share: float) -> float:
        low = float((self.centres - 6 * self.widths).min())
        high = float((self.centres + 6 * self.widths).max())
        for _ in range(60):
            middle = (low + high) / 2
            if float(self.weights @ ndtr((middle - self.centres) / self.widths)) < share:
                low = middle
            else:
                high = middle
        return (low + high) / 2


def forecast(
    steps: Sequence[float], errors: Sequence[float], *, at: float, noise: float
) -> Forecast:
    """Extrapolate an error that falls with training by a power law, a + b · step^(−c).

    Before the curve is seen every floor a between 0 and the last error is as probable as any other,
    every exponent c between 0.1 and 2, and every height b; each pair (a, c) then counts as much as
    it explains what was seen, b integrated out. With one point the forecast is as wide as that.

    Args:
        steps: Where the error was measured, > 0, increasing.
        errors: What was measured, ≥ 0, less is better; shape as `steps`, at least one.
        at: The later step.
        noise: Standard deviation of one measurement, > 0.

    Raises:
        ShapeError: There is no point, or they do not fit.

    Reference:
        Domhan, Springenberg & Hutter, Speeding up automatic hyperparameter optimization of deep
        neural networks by extrapolation of learning curves, IJCAI 2015 (pow3).

    Example:
        >>> seen = [0.1 + 0.8 * step**-0.5 for step in (10, 20, 40, 80)]
        >>> round(forecast((10, 20, 40, 80), seen, at=320, noise=0.002).mean, 2)
        0.14
    """
    t, y = np.asarray(steps, np.float64), np.asarray(errors, np.float64)
    if t.shape != y.shape or t.ndim != 1 or not len(t):
        raise ShapeError(
            f"steps {t.shape} and errors {y.shape} do not fit: as many of one as of the other, "
            "at least one."
        )
    noise = max(noise, 1e-9)
    floors = (_FLOORS * (y[-1] + noise))[:, None, None]
    shapes = (t[None, :] / t[-1]) ** -_EXPONENTS[:, None]  # (exponents, points)
    above = y - floors  # (floors, 1, points)
    power = (shapes**2).sum(-1)
    heights = np.maximum((above * shapes).sum(-1) / power, 0.0)  # (floors, exponents)
    wrong = above - heights[..., None] * shapes
    fit = -0.5 * (wrong**2).sum(-1) / noise**2 - 0.5 * np.log(power)
    weights = np.exp(fit - fit.max())
    further = (at / t[-1]) ** -_EXPONENTS
    centres = floors[..., 0] + heights * further
    widths = np.broadcast_to(noise * np.sqrt(1 + further**2 / power), centres.shape)
    return Forecast(centres.ravel(), widths.ravel(), (weights / weights.sum()).ravel())
