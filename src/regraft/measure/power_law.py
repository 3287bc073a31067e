"""How the error falls with the number of labels: err(n) = a + b · n^−c."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from regraft.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 500
_STEEPEST = 5.0
_FIRST_GRID = 65
_GRID = 17
_ZOOMS = 9


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """err(n) = floor + scale · n^−exponent, fitted to errors at several numbers of labels.

    Attributes:
        floor: a ≥ 0, the error that more labels of this kind do not take away.
        scale: b ≥ 0.
        exponent: c ≥ 0.
        floor_interval: Bootstrap interval over draws; None where each n was drawn once.
        exponent_interval: The same of the exponent.
        residual: Root mean square of what the fit leaves.
        note: Why it is to be taken with care; empty where it is not.
    """

    floor: float
    scale: float
    exponent: float
    floor_interval: tuple[float, float] | None
    exponent_interval: tuple[float, float] | None
    residual: float
    note: str = ""

    def error_at(self, n: float) -> float:
        """Return the fitted error at n > 0 labels."""
        return float(self.floor + self.scale * n**-self.exponent)

    def labels_for(self, error: float) -> float:
        """Return how many labels the fit needs for an error; ∞ where it never gets there."""
        if error <= self.floor or self.exponent == 0:
            return 0.0 if error >= self.error_at(1) else float("inf")
        return float((self.scale / (error - self.floor)) ** (1 / self.exponent))


def fit_power_law(
    n_labels: NDArray[np.floating] | NDArray[np.integer],
    errors: NDArray[np.floating],
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> PowerLaw:
    """Return the least-squares power law of errors, with bootstrap intervals over draws.

    For a given exponent the two others are a linear least-squares problem with a, b ≥ 0, solved
    exactly; the exponent in [0, 5] is found on a grid that is refined around its best. A resample
    takes as many draws as there are, with replacement, separately at each number of labels.

    Args:
        n_labels: Numbers of labels, shape (K,), K ≥ 3 different ones, > 0.
        errors: Shape (K,), or (K, D) for D draws of labels at each.
        resamples: Bootstrap resamples of draws.
        level: Nominal coverage of the intervals, in (0, 1).
        seed: Of the resampling.

    Raises:
        ShapeError: The shapes do not fit together, or there are fewer than 3 numbers of labels.

    Reference:
        Cortes et al., Learning Curves: Asymptotic Values and Rate of Convergence, NeurIPS 1993,
        eq. 1; Hestness et al., Deep Learning Scaling is Predictable, Empirically, 2017.

    Example:
        >>> n = np.array([10, 20, 50, 100, 200, 500])
        >>> law = fit_power_law(n, 0.05 + 0.8 * n**-0.5)
        >>> round(law.floor, 4), round(law.scale, 4), round(law.exponent, 4)
        (0.05, 0.8, 0.5)
    """
    draws = errors[:, None] if errors.ndim == 1 else errors
    n = n_labels.astype(np.float64)
    _check(n, draws)
    floor, scale, exponent = _fits(n, draws.mean(axis=1)[None].astype(np.float64))[0]
    residual = draws.mean(axis=1) - (floor + scale * n**-exponent)
    intervals: list[tuple[float, float] | None] = [None, None]
    if draws.shape[1] > 1:
        found = _fits(n, _resampled_means(draws.astype(np.float64), resamples, seed))
        intervals = [_ends(found[:, column], level) for column in (0, 2)]
    return PowerLaw(
        floor=float(floor),
        scale=float(scale),
        exponent=float(exponent),
        floor_interval=intervals[0],
        exponent_interval=intervals[1],
        residual=float(np.sqrt((residual**2).mean())),
        note=_note(len(n), float(exponent), float(scale)),
    )


def fitted_laws(
    n_labels: NDArray[np.floating] | NDArray[np.integer], errors: NDArray[np.floating]
) -> list[PowerLaw]:
    """Return the power law of each of R resampled error curves, without intervals.

    Args:
        n_labels: Numbers of labels, shape (K,), K ≥ 3 different ones, > 0.
        errors: Shape (K, R), one column for each curve.

    Raises:
        ShapeError: As `fit_power_law`.
    """
    n, curves = n_labels.astype(np.float64), errors.astype(np.float64)
    _check(n, curves)
    found = []
    for column, (floor, scale, exponent) in zip(curves.T, _fits(n, curves.T), strict=True):
        left = float(np.sqrt(((column - (floor + scale * n**-exponent)) ** 2).mean()))
        note = _note(len(n), float(exponent), float(scale))
        found.append(PowerLaw(float(floor), float(scale), float(exponent), None, None, left, note))
    return found


def _note(k: int, exponent: float, scale: float) -> str:
    if scale == 0 or exponent == 0:
        return "the error does not fall with labels: the exponent says nothing"
    if exponent > _STEEPEST - 1e-6:
        return f"the exponent is at its bound of {_STEEPEST:g}"
    return "three numbers of labels fit any such curve exactly" if k == 3 else ""


def _resampled_means(draws: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Return mean errors (resamples, K) of draws taken with replacement at each n."""
    k, d = draws.shape
    chosen = np.random.default_rng(seed).integers(0, d, size=(resamples, k, d))
    return np.asarray(draws[np.arange(k)[:, None], chosen].mean(axis=2))


def _fits(n: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (floor, scale, exponent) of each row of errors (R, K), shape (R, 3)."""
    # Around the geometric mean the powers stay near 1, whatever the unit of n.
    centre = float(np.exp(np.log(n).mean()))
    relative, rows = n / centre, np.arange(len(errors))
    grid = np.broadcast_to(np.linspace(0.0, _STEEPEST, _FIRST_GRID), (len(errors), _FIRST_GRID))
    step = _STEEPEST / (_FIRST_GRID - 1)
    for _ in range(_ZOOMS):
        floor, scale, loss = _linear_fits(relative, errors, grid)
        best = loss.argmin(axis=1)
        at = grid[rows, best]
        around = np.linspace(-step, step, _GRID)
        last = (floor[rows, best], scale[rows, best] * centre**at, at)
        grid = np.clip(at[:, None] + around, 0.0, _STEEPEST)
        step = 2 * step / (_GRID - 1)
    return np.stack(last, axis=1)


def _linear_fits(
    n: NDArray[np.float64], errors: NDArray[np.float64], exponents: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return floor, scale and squared loss, each (R, G), best under floor, scale ≥ 0."""
    x = n ** -exponents[..., None]  # (R, G, K)
    y = errors[:, None, :]
    mean_x, mean_y = x.mean(axis=-1), y.mean(axis=-1)
    spread = ((x - mean_x[..., None]) ** 2).mean(axis=-1)
    together = ((x - mean_x[..., None]) * (y - mean_y[..., None])).mean(axis=-1)
    # What equal errors leave of a slope is rounding.
    is_felt = together > 1e-14 * np.abs(mean_y) * np.sqrt(spread)
    slope = np.divide(together, spread, out=np.zeros_like(spread), where=is_felt & (spread > 1e-20))
    slope = np.maximum(slope, 0.0)
    floor = mean_y - slope * mean_x
    through_zero = np.maximum((x * y).sum(axis=-1) / (x * x).sum(axis=-1), 0.0)
    is_low = floor < 0
    floor, scale = np.where(is_low, 0.0, floor), np.where(is_low, through_zero, slope)
    loss = ((y - floor[..., None] - scale[..., None] * x) ** 2).sum(axis=-1)
    return floor, scale, loss


def _ends(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check(n: NDArray[np.float64], draws: NDArray[np.floating]) -> None:
    if draws.ndim != 2 or n.ndim != 1 or len(n) != len(draws) or not draws.shape[1]:
        raise ShapeError(
            f"fit_power_law: {n.shape} numbers of labels and errors {draws.shape} do not fit. "
            "Give (K,) and (K,) or (K, D)."
        )
    if len(set(n.tolist())) < 3 or not (n > 0).all():
        raise ShapeError(
            f"fit_power_law: numbers of labels {n.tolist()}. Give at least 3 different ones above "
            "0: the curve has three parameters."
        )
    if not np.isfinite(draws).all():
        raise ShapeError("fit_power_law: an error is not finite. Leave that draw out.")
