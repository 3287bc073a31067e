"""Whether one system's scores are almost always above another's, as distributions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from regraft.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

ASO_STEP = 0.005
ASO_RESAMPLES = 1000
ASO_DECISIVE = 0.2
"""A below this is called better; 0.5 is where neither dominates, and is too lenient a bound."""


@dataclass(frozen=True, slots=True)
class Dominance:
    """How far A is from dominating B.

    Attributes:
        violation: ε, the share of the squared distance between the two quantile functions that
            lies where B is above A; 0: A dominates, 1: B dominates, 0.5: neither.
        upper: ε_min, its upper confidence bound, in [0, 1].
        level: Of that bound, before it is divided among the comparisons.
        n: Scores of A and of B.
    """

    violation: float
    upper: float
    level: float
    n: tuple[int, int]

    @property
    def is_better(self) -> bool:
        """Whether A almost stochastically dominates B at the advised bound of 0.2."""
        return self.upper < ASO_DECISIVE

    def to_json(self) -> dict[str, float | list[int] | bool]:
        """Return the plain record, `is_better` included."""
        return {**asdict(self), "n": list(self.n), "is_better": self.is_better}


def aso(
    a: ArrayLike,
    b: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = ASO_RESAMPLES,
    comparisons: int = 1,
    seed: int = 0,
) -> Dominance:
    """Almost stochastic order of unpaired scores, higher being better.

    With F⁻¹ and G⁻¹ the quantile functions of A and B:
    ε = ∫ max(G⁻¹ − F⁻¹, 0)² / ∫ (G⁻¹ − F⁻¹)², and
    ε_min = ε − √((n+m)/(n·m)) σ̂ Φ⁻¹((1 − level)/comparisons), σ̂ the standard deviation over
    bootstrap resamples of √(n·m/(n+m)) (ε* − ε). Quantiles are taken at the middle of steps of
    0.005. Scores that are all alike give ε = 0.5: neither is better.

    Args:
        a: Scores of A, one per seed, shape (n,); n ≥ 2.
        b: Scores of B, shape (m,); m ≥ 2.
        level: Confidence that ε lies below ε_min.
        resamples: Bootstrap resamples, A and B drawn apart since they are not pairs.
        comparisons: How many such comparisons are made; the level is corrected for them.
        seed: Of the resampling.

    Raises:
        ShapeError: There are fewer than 2 scores of one, or one is not finite.

    Reference:
        Del Barrio, Cuesta-Albertos & Matrán, An Optimal Transportation Approach for Assessing
        Almost Stochastic Order (2018); Dror, Shlomov & Reichart, Deep Dominance, ACL 2019, eq. 4.

    Example:
        >>> above = aso([0.9, 0.91, 0.93], [0.7, 0.8, 0.85])
        >>> above.violation, above.upper
        (0.0, 0.0)
    """
    first, second = _scores("A", a), _scores("B", b)
    n, m = len(first), len(second)
    violation = float(_violation(first[None], second[None])[0])
    generator = np.random.default_rng(seed)
    drawn = _violation(
        generator.choice(first, size=(resamples, n)), generator.choice(second, size=(resamples, m))
    )
    # The two square roots of the definition cancel: σ̂ scales back what it was scaled by.
    deviation = float(np.std(drawn - violation))
    upper = violation - deviation * float(norm.ppf((1 - level) / comparisons))
    return Dominance(violation, min(max(upper, 0.0), 1.0), level, (n, m))


def _scores(name: str, scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ShapeError(
            f"aso: scores of {name} have shape {values.shape}. Give at least 2 finite ones, (n,)."
        )
    return values


def _violation(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ε of each row of scores (R, n) and (R, m)."""
    gaps = _quantiles(second) - _quantiles(first)
    squared = gaps**2
    whole = squared.sum(axis=1)
    above = np.where(gaps > 0, squared, 0.0).sum(axis=1)
    shares = np.full(len(gaps), 0.5)
    np.divide(above, whole, out=shares, where=whole > 0)
    return shares


def _quantiles(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return F⁻¹(t) = min{x: F(x) ≥ t} of each row, at the middle of every step of t."""
    middles = np.arange(ASO_STEP / 2, 1, ASO_STEP)
    places = np.ceil(middles * scores.shape[1]).astype(np.int64) - 1
    return np.asarray(np.sort(scores, axis=1)[:, places])
