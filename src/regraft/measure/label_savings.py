"""How many labels transfer saves: the same quality from fewer of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.optimize import isotonic_regression

from regraft.errors import ShapeError
from regraft.measure.power_law import RESAMPLES, PowerLaw, fit_power_law

if TYPE_CHECKING:
    from numpy.typing import NDArray

Bound = Literal["exact", "at least", "at most", "unknown"]
_SIGNS: dict[Bound, str] = {"exact": "", "at least": "≥ ", "at most": "≤ ", "unknown": ""}


@dataclass(frozen=True, slots=True)
class DataSaving:
    """n_scratch / n_transfer, the labels each needs for the same quality.

    Attributes:
        target: The quality that both are to reach.
        ratio: The ratio, or its bound; None where nothing is known.
        bound: ``exact`` where both curves cross the target within their range; ``at least`` where
            scratch never gets there or transfer is there from its first point on; ``at most`` the
            other way round; ``unknown`` where neither end is known.
        n_scratch: Labels that scratch needs; None where its curve does not cross the target.
        n_transfer: Labels that transfer needs; None where its curve does not cross the target.
    """

    target: float
    ratio: float | None
    bound: Bound
    n_scratch: float | None
    n_transfer: float | None

    def text(self) -> str:
        """Return the saving in words, for example ``≥ 8.0 × fewer labels``."""
        if self.ratio is None:
            return "the curves do not tell how many labels are saved"
        return f"{_SIGNS[self.bound]}{self.ratio:.1f} × fewer labels"


def data_saving_ratio(
    n_scratch: NDArray[np.floating] | NDArray[np.integer],
    scratch: NDArray[np.floating],
    n_transfer: NDArray[np.floating] | NDArray[np.integer],
    transfer: NDArray[np.floating],
    *,
    target: float | None = None,
    higher_is_better: bool = True,
) -> DataSaving:
    """Return how many times fewer labels transfer needs for the same quality.

    Each curve is made monotone (isotonic regression) and read between its points linearly in
    log n; what lies beyond them is not extrapolated but said to be a bound. Ten times fewer labels
    are 90 % fewer.

    Args:
        n_scratch: Numbers of labels of the model trained from scratch, ascending, > 0, shape (K,).
        scratch: Its metric at each, shape (K,).
        n_transfer: The same of the transferred model, shape (L,).
        transfer: Its metric at each, shape (L,).
        target: The quality to reach; by default the best that scratch reaches.
        higher_is_better: The metric's direction.

    Raises:
        ShapeError: A curve's shapes differ, or its numbers of labels do not ascend from above 0.

    Example:
        >>> n = np.array([10, 100])
        >>> data_saving_ratio(n, np.array([0.5, 0.7]), n, np.array([0.6, 0.8])).text()
        '3.2 × fewer labels'
    """
    sign = 1.0 if higher_is_better else -1.0
    curves = [_monotone(n_scratch, sign * scratch), _monotone(n_transfer, sign * transfer)]
    aim = float(curves[0][1][-1]) if target is None else sign * target
    low_scratch, high_scratch = _needed(*curves[0], aim)
    low_transfer, high_transfer = _needed(*curves[1], aim)
    low = low_scratch / high_transfer
    high = high_scratch / low_transfer if low_transfer > 0 else float("inf")
    ratio, bound = _bounded(low, high)
    return DataSaving(
        target=sign * aim,
        ratio=ratio,
        bound=bound,
        n_scratch=low_scratch if low_scratch == high_scratch else None,
        n_transfer=low_transfer if low_transfer == high_transfer else None,
    )


def area_under_log_n(
    n_labels: NDArray[np.floating] | NDArray[np.integer], values: NDArray[np.floating]
) -> float:
    """Return the mean of a metric over log n: its area (trapezoids) by the width in log n.

    Args:
        n_labels: Numbers of labels, ascending, > 0, shape (K,), K ≥ 2. Areas compare only over the
            same range.
        values: The metric at each, shape (K,).

    Raises:
        ShapeError: The shapes differ, the numbers do not ascend, or there are fewer than 2.

    Example:
        >>> round(area_under_log_n(np.array([1, 10, 100]), np.array([0.0, 0.5, 1.0])), 6)
        0.5
    """
    _check(n_labels, values)
    if len(n_labels) < 2:
        raise ShapeError("area_under_log_n: one point has no area. Give at least 2.")
    logs = np.log(n_labels.astype(np.float64))
    return float(np.trapezoid(values, logs) / (logs[-1] - logs[0]))


@dataclass(frozen=True, slots=True)
class LabelEfficiency:
    """What few labels buy with and without transfer.

    Attributes:
        saving: Labels saved at the best quality of scratch, or at the target.
        saving_low: Lower end of the ratio's bootstrap interval over draws, bounds taken at their
            cautious end; None where each n was drawn once.
        saving_high: Upper end; ∞ where a share of the draws bounds the ratio only from below.
        area_scratch: Mean metric of scratch over log n.
        area_transfer: Mean metric of transfer over log n.
        law_scratch: Power law of the errors of scratch; None at fewer than 3 numbers of labels.
        law_transfer: Power law of the errors of transfer; None likewise.
    """

    saving: DataSaving
    saving_low: float | None
    saving_high: float | None
    area_scratch: float
    area_transfer: float
    law_scratch: PowerLaw | None
    law_transfer: PowerLaw | None


def label_efficiency(
    n_labels: NDArray[np.floating] | NDArray[np.integer],
    scratch: NDArray[np.floating],
    transfer: NDArray[np.floating],
    *,
    target: float | None = None,
    higher_is_better: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> LabelEfficiency:
    """Return everything that two curves over the same numbers of labels say about labels saved.

    Args:
        n_labels: Numbers of labels, ascending, > 0, shape (K,), K ≥ 2.
        scratch: Metric of the model trained from scratch, shape (K,), or (K, D) for D draws.
        transfer: Metric of the transferred model, shape (K,) or (K, D), the same draws.
        target: The quality to reach; by default the best that scratch reaches.
        higher_is_better: The metric's direction; the error of a metric where higher is better is 1
            minus it, else the metric itself.
        resamples: Bootstrap resamples of draws, at each number of labels.
        seed: Of the resampling.

    Raises:
        ShapeError: The shapes do not fit together.
    """
    if scratch.shape != transfer.shape or scratch.ndim not in (1, 2):
        raise ShapeError(
            f"label_efficiency: scratch {scratch.shape} and transfer {transfer.shape} do not fit. "
            "Give (K,) or (K, D) twice."
        )
    both = [x.reshape(len(x), -1).astype(np.float64) for x in (scratch, transfer)]

    def saving(a: NDArray[np.float64], b: NDArray[np.float64]) -> DataSaving:
        return data_saving_ratio(
            n_labels, a, n_labels, b, target=target, higher_is_better=higher_is_better
        )

    found = saving(*(x.mean(axis=1) for x in both))
    low, high = None, None
    if both[0].shape[1] > 1:
        chosen = _chosen(both[0].shape, resamples, seed)
        rows = np.arange(len(n_labels))[:, None]
        each = [saving(*(x[rows, one].mean(axis=1) for x in both)) for one in chosen]
        low, high = saving_ends(each)
    laws = [
        fit_power_law(n_labels, 1 - x if higher_is_better else x, resamples=resamples, seed=seed)
        if len(n_labels) >= 3
        else None
        for x in both
    ]
    areas = [area_under_log_n(n_labels, x.mean(axis=1)) for x in both]
    return LabelEfficiency(found, low, high, areas[0], areas[1], laws[0], laws[1])


def _chosen(shape: tuple[int, ...], resamples: int, seed: int) -> NDArray[np.int64]:
    """Return the draws of each resample, the same for both curves, shape (resamples, K, D)."""
    return np.random.default_rng(seed).integers(0, shape[1], size=(resamples, *shape))


def saving_ends(each: list[DataSaving]) -> tuple[float, float]:
    """Return the 95 % ends over resamples, each bounded ratio taken at both of its ends.

    Args:
        each: The saving of each resample, one at least.

    Returns:
        ≥ 0; the upper one is ∞ where a share of the resamples bounds the ratio only from below.
    """
    lows = [one.ratio if one.ratio is not None and one.bound != "at most" else 0.0 for one in each]
    highs = [
        one.ratio if one.ratio is not None and one.bound in ("exact", "at most") else np.inf
        for one in each
    ]
    # Interpolating between two infinities would give no number.
    low = np.quantile(lows, 0.025, method="lower")
    return float(low), float(np.quantile(highs, 0.975, method="higher"))


def _bounded(low: float, high: float) -> tuple[float | None, Bound]:
    if low == high:
        return low, "exact"
    if low > 0 and np.isinf(high):
        return low, "at least"
    if low == 0 and np.isfinite(high):
        return high, "at most"
    return None, "unknown"


def _needed(
    n_labels: NDArray[np.float64], values: NDArray[np.float64], target: float
) -> tuple[float, float]:
    """Return the range in which the number of labels for a target lies."""
    first, last = float(n_labels[0]), float(n_labels[-1])
    if target > values[-1]:
        return last, float("inf")
    if target < values[0]:
        return 0.0, first
    # The first point at or above the target: a plateau is reached where it begins.
    at = int(np.searchsorted(values, target, side="left"))
    if values[at] == target:
        return float(n_labels[at]), float(n_labels[at])
    share = (target - values[at - 1]) / (values[at] - values[at - 1])
    n = float(n_labels[at - 1] * (n_labels[at] / n_labels[at - 1]) ** share)
    return n, n


def _monotone(
    n_labels: NDArray[np.floating] | NDArray[np.integer], values: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return n and the non-decreasing curve nearest to the values."""
    _check(n_labels, values)
    fitted = isotonic_regression(values.astype(np.float64)).x
    return n_labels.astype(np.float64), np.asarray(fitted, dtype=np.float64)


def _check(
    n_labels: NDArray[np.floating] | NDArray[np.integer], values: NDArray[np.floating]
) -> None:
    if n_labels.ndim != 1 or n_labels.shape != values.shape or not len(n_labels):
        raise ShapeError(
            f"{n_labels.shape} numbers of labels and {values.shape} values do not fit. "
            "Give (K,) twice."
        )
    if n_labels[0] <= 0 or (np.diff(n_labels) <= 0).any():
        raise ShapeError(
            f"numbers of labels {n_labels.tolist()} do not ascend from above 0. Sort them."
        )
