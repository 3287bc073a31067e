"""The ends of confidence intervals, each by a formula that holds for its kind of metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from regraft.measure.calibration import ECE_BINS
from regraft.measure.resampling import resample_weights
from regraft.measure.weighted import ece_gaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_EFFECTIVE = 4.0
_SCALES = np.linspace(0.0, 3.0, 31)
_CHUNK_NUMBERS = 1 << 19


def wilson_ends(share: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion; n need not be whole.

    Args:
        share: The proportion, in [0, 1].
        n: Items, or effective items, > 0.
        level: Nominal coverage in (0, 1).

    Reference:
        Wilson, Probable Inference, JASA 22 (1927).
    """
    z = float(norm.ppf(0.5 + level / 2))
    scale = 1 + z**2 / n
    centre = (share + z**2 / (2 * n)) / scale
    half = z / scale * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
    # At the ends the bound is exact; rounding would leave 1e-17 beside it.
    low = 0.0 if share == 0.0 else max(0.0, min(centre - half, share))
    high = 1.0 if share == 1.0 else min(1.0, max(centre + half, share))
    return low, high


def effective_items(share: float, deviation: float, n: int) -> float:
    """Return v(1 − v)/s², the items whose proportion v would have standard error s.

    Args:
        share: The metric's value v, in [0, 1].
        deviation: Its standard error s; where it is 0, or v an end, all n items count.
        n: Items; the result lies between 1 and 4n.

    Reference:
        Korn & Graubard, Confidence Intervals for Proportions with Small Expected Number of
        Positive Counts, Survey Methodology 24 (1998), section 2.
    """
    if deviation <= 0.0 or share in (0.0, 1.0):
        return float(n)
    return float(np.clip(share * (1 - share) / deviation**2, 1.0, _MOST_EFFECTIVE * n))


def recall_deviation(rights: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Return the standard error of the mean recall of the classes.

    √(Σ_c r_c (1 − r_c)/n_c) / C with r_c = (right + ½)/(n_c + 1): a class with no mistake among few
    items is not certain.

    Args:
        rights: Share of repetitions that are right on each item, shape (N,).
        labels: Class indices, shape (N,).
    """
    counts = np.bincount(labels)
    rights_of = np.bincount(labels, weights=rights)[counts > 0]
    counts = counts[counts > 0]
    recalls = (rights_of + 0.5) / (counts + 1)
    return float(np.sqrt((recalls * (1 - recalls) / counts).sum()) / len(counts))


def mean_ends(values: NDArray[np.floating], *, level: float = 0.95) -> tuple[float, float, float]:
    """Return the ends of a mean's interval, and its skewness over √n.

    With a = skewness/√n, g(T) = T + aT²/3 + a²T³/27 + a/6 of T = (mean − μ)/(s/√n) is nearly free
    of the skewness of the values. The ends are mean − g⁻¹(±t) s/√n, t the quantile with n − 1
    degrees of freedom and g⁻¹(w) = 3((1 + a(w − a/6))^⅓ − 1)/a.

    Args:
        values: One per item, shape (n,). Where n is 1 or all are alike the ends are the mean.
        level: Nominal coverage in (0, 1).

    Reference:
        Hall, On the Removal of Skewness by Transformation, J. R. Statist. Soc. B 54 (1992), eq. 2.
    """
    n, mean = len(values), float(values.mean())
    spread = float(values.std())
    if n < 2 or spread <= 1e-12 * max(abs(mean), 1e-300):
        return mean, mean, 0.0
    skew = float((((values - mean) / spread) ** 3).mean()) / float(np.sqrt(n))
    quantile = float(student.ppf(0.5 + level / 2, n - 1))
    error = spread / float(np.sqrt(n - 1))
    if abs(skew) < 1e-6:
        return mean - quantile * error, mean + quantile * error, skew
    upper, lower = (
        3 / skew * (float(np.cbrt(1 + skew * (w - skew / 6))) - 1) for w in (quantile, -quantile)
    )
    return min(mean - upper * error, mean), max(mean - lower * error, mean), skew


def calibration_ends(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return the ends of ECE's interval, and what a calibrated model would show by noise alone.

    The estimate Σ_b |g_b| of the bins' gaps g_b is biased upward: noise alone makes gaps. So for
    each scale θ the estimate of a model with gaps θg_b is simulated, Σ_b |θg_b + e_b*|, with noise
    e* from a bootstrap of items; the interval holds the errors θΣ|g_b| whose middle 95 % hold the
    estimate seen. It is widened to hold that estimate.

    Args:
        probabilities: Shape (S, N, C); the mean over S is what is looked at.
        labels: Class indices, shape (N,).
        level: Nominal coverage in (0, 1).
        resamples: Bootstrap resamples of items.
        seed: Of the resampling.
    """
    gaps = [ece_gaps(one, labels) for one in probabilities]
    n = len(labels)
    observed = [np.asarray(one.sum(axis=1)).reshape(ECE_BINS, 1) / n for one in gaps]
    value = float(np.mean([np.abs(one).sum() for one in observed]))
    generator = np.random.default_rng(seed)
    size = max(1, _CHUNK_NUMBERS // n)
    chunks = []
    for start in range(0, resamples, size):
        weights = resample_weights(
            [np.arange(n)],
            n_items=n,
            resamples=min(size, resamples - start),
            generator=generator,
        )
        noise = [(one @ weights) / n - mean for one, mean in zip(gaps, observed, strict=True)]
        chunks.append(np.array([_mean_error(scale, observed, noise) for scale in _SCALES]))
    shown = np.concatenate(chunks, axis=1)
    tail = (1 - level) / 2
    least, most = np.maximum.accumulate(np.quantile(shown, [tail, 1 - tail], axis=1), axis=1)
    low = value * float(np.interp(value, most, _SCALES))
    high = value * float(np.interp(value, least, _SCALES))
    return min(low, value), min(max(high, value), 1.0), float(shown[0].mean())


def _mean_error(
    scale: float, gaps: list[NDArray[np.float64]], noise: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return Σ_b |θg_b + e_b| of each resample, mean over repetitions."""
    errors = [np.abs(scale * g + e).sum(axis=0) for g, e in zip(gaps, noise, strict=True)]
    return np.asarray(np.mean(errors, axis=0))
