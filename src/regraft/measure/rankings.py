"""Several systems over several data sets: do their ranks differ, and which from which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2, rankdata, studentized_range
from scipy.stats import f as fisher

from regraft.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Friedman:
    """Friedman's test of k systems over N data sets.

    Attributes:
        mean_ranks: Of each system, 1 the best; ties share their mean rank.
        chi2: Friedman's χ², corrected for ties; k − 1 degrees of freedom.
        p_chi2: Its p.
        f: Iman and Davenport's F of it; infinite where all data sets rank alike.
        p: Its p, with k − 1 and (k − 1)(N − 1) degrees of freedom.
        n: Data sets.
    """

    mean_ranks: tuple[float, ...]
    chi2: float
    p_chi2: float
    f: float
    p: float
    n: int


@dataclass(frozen=True, slots=True)
class Nemenyi:
    """Nemenyi's comparison of all pairs of k systems over N data sets.

    Attributes:
        mean_ranks: Of each system, 1 the best.
        critical_difference: Mean ranks that differ by more are told apart.
        p: Two-sided p of each pair, shape (k, k), corrected for all pairs; 1 on the diagonal.
        level: 1 − the chance of any false call.
        n: Data sets.
    """

    mean_ranks: tuple[float, ...]
    critical_difference: float
    p: tuple[tuple[float, ...], ...]
    level: float
    n: int


def friedman(scores: ArrayLike) -> Friedman:
    """Test whether k systems rank alike over N data sets.

    χ² = 12N/(k(k+1)) Σ_j (R_j − (k+1)/2)², R_j the mean rank, divided by
    1 − Σ(t³ − t)/(N(k³ − k)) where t systems tie; F = (N−1)χ²/(N(k−1) − χ²), which is less timid.

    Args:
        scores: One row per data set, one column per system, higher better; shape (N, k), k ≥ 3,
            N ≥ 2.

    Raises:
        ShapeError: There are fewer than 3 systems or 2 data sets, or a score is not finite.

    Reference:
        Friedman, J. Am. Stat. Assoc. 32 (1937); Iman & Davenport, Commun. Stat. 9 (1980); Demšar,
        JMLR 7 (2006), section 3.2.2.

    Example:
        >>> friedman([[3, 2, 1], [3, 2, 1], [2, 3, 1], [3, 2, 1], [3, 1, 2]]).mean_ranks
        (1.2, 2.0, 2.8)
    """
    ranks = _ranks("friedman", scores)
    n, k = ranks.shape
    means = ranks.mean(axis=0)
    # Var of a row's ranks is (k² − 1)/12 without ties; the measured one holds the correction.
    spread = ((ranks - (k + 1) / 2) ** 2).sum() / (k - 1)
    statistic = float(n**2 * ((means - (k + 1) / 2) ** 2).sum() / spread) if spread else 0.0
    rest = n * (k - 1) - statistic
    ratio = (n - 1) * statistic / rest if rest > 1e-9 * n else float("inf")
    return Friedman(
        mean_ranks=tuple(float(one) for one in means),
        chi2=statistic,
        p_chi2=float(chi2.sf(statistic, k - 1)),
        f=ratio,
        p=float(fisher.sf(ratio, k - 1, (k - 1) * (n - 1))),
        n=n,
    )


def nemenyi(scores: ArrayLike, *, level: float = 0.95) -> Nemenyi:
    """Compare all pairs of systems after Friedman's test has called them different.

    Args:
        scores: One row per data set, one column per system, higher better; shape (N, k), k ≥ 3.
        level: 1 − the chance of any false call.

    Raises:
        ShapeError: There are fewer than 3 systems or 2 data sets, or a score is not finite.

    Reference:
        Nemenyi, Distribution-free Multiple Comparisons, thesis, Princeton (1963); Demšar, JMLR 7
        (2006), section 3.2.2.

    Example:
        >>> nemenyi([[3, 2, 1]] * 5).critical_difference.__round__(3)
        1.482
    """
    ranks = _ranks("nemenyi", scores)
    n, k = ranks.shape
    means = ranks.mean(axis=0)
    gaps = np.abs(means[:, None] - means[None])
    ranges = gaps / np.sqrt(k * (k + 1) / (6 * n)) * np.sqrt(2)
    p = np.clip(studentized_range.sf(ranges, k, np.inf), 0.0, 1.0)
    np.fill_diagonal(p, 1.0)
    return Nemenyi(
        mean_ranks=tuple(float(one) for one in means),
        critical_difference=critical_difference(k, n, level=level),
        p=tuple(tuple(float(one) for one in row) for row in p),
        level=level,
        n=n,
    )


def critical_difference(n_systems: int, n_datasets: int, *, level: float = 0.95) -> float:
    """Return q √(k(k+1)/(6N)), q the studentised range's quantile divided by √2.

    Args:
        n_systems: k, ≥ 2.
        n_datasets: N, ≥ 1.
        level: 1 − the chance of any false call.

    Raises:
        ShapeError: k is below 2 or N below 1.

    Reference:
        Demšar, JMLR 7 (2006), table 5: q is 1.960, 2.343, 2.569 for 2, 3, 4 systems.

    Example:
        >>> critical_difference(4, 14).__round__(2)
        1.25
    """
    if n_systems < 2 or n_datasets < 1:
        raise ShapeError(
            f"critical_difference: {n_systems} systems on {n_datasets} data sets. Give at least 2 "
            "systems and 1 data set."
        )
    q = float(studentized_range.ppf(level, n_systems, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(n_systems * (n_systems + 1) / (6 * n_datasets)))


def _ranks(name: str, scores: ArrayLike) -> NDArray[np.float64]:
    """Return ranks (N, k), 1 for the highest score of a row."""
    table = np.asarray(scores, np.float64)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 3:
        raise ShapeError(
            f"{name}: scores have shape {table.shape}. Give (data sets, systems), at least (2, 3)."
        )
    if not np.isfinite(table).all():
        raise ShapeError(f"{name}: a score is not finite. Leave out its data set.")
    return np.asarray(rankdata(-table, axis=1))
