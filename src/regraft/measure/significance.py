"""Tests of two systems against each other, from paired scores to one p.

All of them take A and B in that order and are oriented alike: a positive difference means that A
scored higher, and turning the two round turns its sign and nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from scipy.stats import binom, chi2, norm, rankdata
from scipy.stats import t as student

from regraft.errors import ConfigError, ShapeError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

McNemar = Literal["mid_p", "exact", "chi2"]

PERMUTATIONS = 10_000
_ALL_SIGNS = 16
_ALL_RANKS = 200
# Two sums of the same numbers in another order differ by rounding; that is no difference.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Significance:
    """What a test of A against B found.

    Attributes:
        test: Its name, with how p was found.
        difference: Mean of A − B; for 0/1 scores the difference of the two shares.
        statistic: The quantity that p is the probability of.
        p: Two-sided, in [0, 1].
        n: Pairs that it rests on.
    """

    test: str
    difference: float
    statistic: float
    p: float
    n: int

    def to_json(self) -> dict[str, float | int | str]:
        """Return the plain record."""
        return asdict(self)


def mcnemar(a: ArrayLike, b: ArrayLike, *, method: McNemar = "mid_p") -> Significance:
    """Test whether A is right as often as B on the same items.

    Only the m items on which exactly one is right speak; under the null each is A's with
    probability ½. With k the smaller count: exact p = 2 P(X ≤ k), mid-p = that − P(X = k), where
    X ~ Binomial(m, ½); chi2 compares (|m₁ − m₂| − 1)² / m with χ²₁. The mid-p rejects a true null
    about as often as it says, where the exact test does so far less often.

    Args:
        a: 1 where A is right, else 0; shape (n,).
        b: The same of B, same items.
        method: ``mid_p``, ``exact`` or ``chi2`` (with continuity correction).

    Returns:
        Its `statistic` is the corrected χ² for ``chi2``, else the items on which A alone is right.

    Raises:
        ConfigError: The method is unknown.
        ShapeError: The two differ in length, are empty, or are not 0/1.

    Reference:
        McNemar, Psychometrika 12 (1947); Fagerland, Lydersen & Laake, The McNemar Test for Binary
        Matched-Pairs Data, BMC Med. Res. Methodol. 13 (2013).

    Example:
        >>> found = mcnemar([1] * 12, [0] * 8 + [1] * 4)
        >>> round(found.difference, 3), round(found.p, 6)
        (0.667, 0.003906)
    """
    if method not in get_args(McNemar):
        raise ConfigError(
            f"mcnemar: unknown method {method!r}.{did_you_mean(method, get_args(McNemar))}"
        )
    first, second = _pair("mcnemar", a, b)
    if not np.isin(first, (0, 1)).all() or not np.isin(second, (0, 1)).all():
        raise ShapeError("mcnemar: scores are not 0/1. Give 1 for right, or take another test.")
    only_a, only_b = int((first > second).sum()), int((second > first).sum())
    differ, fewer = only_a + only_b, min(only_a, only_b)
    statistic = float(only_a)
    if method == "chi2":
        statistic = max(abs(only_a - only_b) - 1, 0) ** 2 / differ if differ else 0.0
        p = float(chi2.sf(statistic, 1))
    else:
        p = 2 * float(binom.cdf(fewer, differ, 0.5))
        p -= float(binom.pmf(fewer, differ, 0.5)) if method == "mid_p" else 0.0
    name = {"mid_p": "McNemar, mid-p", "exact": "McNemar, exact", "chi2": "McNemar, χ²"}[method]
    return Significance(name, _mean_gap(first, second), statistic, _clipped(p), len(first))


def permutation_test(
    a: ArrayLike, b: ArrayLike, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> Significance:
    """Test by turning signs whether paired scores differ in their mean.

    Under the null each pair's difference is as likely −d as d. p is the share of all 2ⁿ sign
    patterns whose mean lies as far from 0 as the observed one; above 16 pairs it is estimated from
    random patterns as (1 + as far) / (1 + drawn), which is never 0.

    Args:
        a: Scores of A, shape (n,).
        b: Scores of B, same items or seeds.
        permutations: Patterns drawn where there are too many to list.
        seed: Of the drawing.

    Raises:
        ShapeError: The two differ in length, are empty, or hold what is not finite.

    Reference:
        Fisher, The Design of Experiments (1935), section 21; Phipson & Smyth, Stat. Appl. Genet.
        Mol. Biol. 9 (2010), for the added 1.

    Example:
        >>> permutation_test([2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 1.0, 1.0, 1.0, 1.0]).p
        0.0625
    """
    first, second = _pair("permutation_test", a, b)
    gaps, n = first - second, len(first)
    observed = abs(float(gaps.sum()))
    least = observed - _ROUNDING * float(np.abs(gaps).sum())
    if n <= _ALL_SIGNS:
        # Turning every sign gives the same distance, so half of the patterns is enough.
        patterns = np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1
        p = float(np.mean(np.abs((1 - 2 * patterns) @ gaps) >= least))
        how = f"all {2**n:,} patterns"
    else:
        sums = _random_sums(gaps, permutations, np.random.default_rng(seed))
        p = (1 + int((np.abs(sums) >= least).sum())) / (1 + permutations)
        how = f"{permutations:,} patterns"
    return Significance(
        f"paired permutation test, {how}", _mean_gap(first, second), float(gaps.mean()), p, n
    )


def wilcoxon(a: ArrayLike, b: ArrayLike) -> Significance:
    """Wilcoxon's signed-rank test of paired scores, over seeds or data sets.

    Pairs without a difference are left out; the others are ranked by |d|, ties at their mean rank.
    Up to 200 pairs p comes from the exact distribution of the rank sum over all signs of the ranks
    at hand, beyond that from the normal one. Five pairs cannot reach 0.05: their least p is 0.0625;
    six reach 0.03125.

    Args:
        a: Scores of A, shape (n,).
        b: Scores of B, same seeds or data sets.

    Returns:
        Its `statistic` is the rank sum of the pairs where A is higher; `n` counts all pairs.

    Raises:
        ShapeError: The two differ in length, are empty, or hold what is not finite.

    Reference:
        Wilcoxon, Individual Comparisons by Ranking Methods, Biometrics 1 (1945); Demšar,
        Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006), section
        3.1.3.

    Example:
        >>> [wilcoxon(range(1, n + 1), [0] * n).p for n in (5, 6)]
        [0.0625, 0.03125]
    """
    first, second = _pair("wilcoxon", a, b)
    gaps = first - second
    scale = float(np.abs(gaps).max(initial=0.0))
    # 0.3 − 0.2 and 0.2 − 0.1 differ in the last bit: such differences are one rank, not two.
    gaps = np.round(gaps / scale, 12) if scale else gaps
    gaps = gaps[gaps != 0]
    if not len(gaps):
        return Significance("Wilcoxon, exact", 0.0, 0.0, 1.0, len(first))
    ranks = rankdata(np.abs(gaps))
    statistic = float(ranks[gaps > 0].sum())
    if len(gaps) <= _ALL_RANKS:
        p, how = _exact_rank_p(ranks, statistic), "exact"
    else:
        deviation = float(np.sqrt((ranks**2).sum() / 4))
        away = max(abs(statistic - float(ranks.sum()) / 2) - 0.5, 0.0)
        p, how = 2 * float(norm.sf(away / deviation)), "normal approximation"
    return Significance(
        f"Wilcoxon, {how}", _mean_gap(first, second), statistic, _clipped(p), len(first)
    )


def nadeau_bengio(a: ArrayLike, b: ArrayLike, *, n_train: int, n_test: int) -> Significance:
    """Corrected t-test over splits whose training sets overlap.

    t = d̄ / √((1/k + n_test/n_train) s²) with k − 1 degrees of freedom. Without the second term the
    splits would count as independent, and cross-validation would call equal systems different.

    Args:
        a: Score of A on each split, shape (k,); k ≥ 2.
        b: Score of B on the same splits.
        n_train: Items that each split trains on.
        n_test: Items that each split scores.

    Returns:
        Its `statistic` is t: infinite, with p = 0, where all k differences are the same one.

    Raises:
        ShapeError: The two differ in length, fewer than 2 splits are given, or a size is below 1.

    Reference:
        Nadeau & Bengio, Inference for the Generalization Error, Machine Learning 52 (2003), eq. 9.

    Example:
        >>> found = nadeau_bengio([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], n_train=90, n_test=10)
        >>> round(found.statistic, 4), round(found.p, 4)
        (3.0, 0.0955)
    """
    first, second = _pair("nadeau_bengio", a, b)
    k = len(first)
    if k < 2 or min(n_train, n_test) < 1:
        raise ShapeError(
            f"nadeau_bengio: {k} splits of {n_train} to train and {n_test} to test. Give at least "
            "2 splits and 1 item of each."
        )
    gaps = first - second
    mean, deviation = float(gaps.mean()), float(gaps.std(ddof=1))
    if deviation <= _ROUNDING * abs(mean) or deviation == 0.0:
        t = float(np.copysign(np.inf, mean)) if mean else 0.0
    else:
        t = mean / float(np.sqrt((1 / k + n_test / n_train) * deviation**2))
    p = 2 * float(student.sf(abs(t), k - 1))
    return Significance("Nadeau–Bengio corrected t", mean, t, _clipped(p), k)


def paired_share_ends(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the difference of two shares on the same items.

    With q the shares (count + 1)/(n + 2) of items on which A alone and B alone is right:
    q_A − q_B ± z √((q_A + q_B − (q_A − q_B)²)/(n + 2)), widened to hold the plain difference.

    Args:
        a: 1 where A is right, else 0; shape (n,).
        b: The same of B, same items.
        level: Nominal coverage in (0, 1).

    Raises:
        ShapeError: The two differ in length or are empty.

    Reference:
        Bonett & Price, Adjusted Wald Confidence Interval for a Difference of Binomial Proportions
        Based on Paired Data, J. Educ. Behav. Stat. 37 (2012), eq. 6.

    Example:
        >>> low, high = paired_share_ends([1] * 12, [0] * 8 + [1] * 4)
        >>> round(low, 3), round(high, 3)
        (0.245, 0.898)
    """
    first, second = _pair("paired_share_ends", a, b)
    n = len(first)
    only_a, only_b = float((first > second).sum()), float((second > first).sum())
    ours, theirs = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    away = ours - theirs
    half = float(norm.ppf(0.5 + level / 2)) * np.sqrt((ours + theirs - away**2) / (n + 2))
    seen = (only_a - only_b) / n
    return float(max(min(away - half, seen), -1.0)), float(min(max(away + half, seen), 1.0))


def signed_rank_ends(gaps: ArrayLike, *, level: float = 0.95) -> tuple[float, float, float]:
    """Return low, middle and high of the typical paired difference, after Wilcoxon's test.

    The means (d_i + d_j)/2, i ≤ j, are put in order: the median is the estimate, and the C + 1
    outermost are the ends, C the largest rank sum with 2 P(W ≤ C) ≤ 1 − level. Below 6 pairs no
    such C exists and the ends are the outermost means, which hold less often than the level says.

    Args:
        gaps: Differences A − B, shape (n,), n ≥ 1.
        level: Nominal coverage in (0, 1).

    Raises:
        ShapeError: There is none, or one is not finite.

    Reference:
        Hodges & Lehmann, Ann. Math. Stat. 34 (1963); Hollander, Wolfe & Chicken, Nonparametric
        Statistical Methods (2014), section 3.3.

    Example:
        >>> signed_rank_ends([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        (1.0, 3.5, 6.0)
    """
    values, _ = _pair("signed_rank_ends", gaps, gaps)
    n = len(values)
    means = np.sort(((values[:, None] + values[None]) / 2)[np.triu_indices(n)])
    middle = n * (n + 1) / 4
    deviation = float(np.sqrt(n * (n + 1) * (2 * n + 1) / 24))
    cut = int(middle + float(norm.ppf((1 - level) / 2)) * deviation)
    if n <= _ALL_RANKS:
        tail = _rank_sum_chances(2 * np.arange(1, n + 1)).cumsum()[::2]
        cut = int(np.searchsorted(tail, (1 - level) / 2 + 1e-12, side="right")) - 1
    cut = max(cut, 0)
    return float(means[cut]), float(np.median(means)), float(means[-1 - cut])


def _pair(name: str, a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ShapeError(
            f"{name}: scores {first.shape} and {second.shape} are no pairs. Give two of shape (n,)."
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ShapeError(f"{name}: a score is not finite. Leave out its pair.")
    return first, second


def _mean_gap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float((first - second).mean())


def _clipped(p: float) -> float:
    return min(max(p, 0.0), 1.0)


def _random_sums(
    gaps: NDArray[np.float64], permutations: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return sums of the gaps under random signs, a limited number of signs in memory at once."""
    parts, size = [], max(1, 2**22 // len(gaps))
    for start in range(0, permutations, size):
        n = min(size, permutations - start)
        signs = generator.integers(0, 2, size=(n, len(gaps)), dtype=np.int8) * 2 - 1
        parts.append(signs @ gaps)
    return np.concatenate(parts)


def _exact_rank_p(ranks: NDArray[np.float64], statistic: float) -> float:
    """Return 2 P(rank sum ≤ the smaller one), each rank's sign being a fair coin."""
    chances = _rank_sum_chances(np.round(2 * ranks).astype(np.int64))  # mean ranks are halves
    total = len(chances) - 1
    smaller = min(round(2 * statistic), total - round(2 * statistic))
    return 2 * float(chances[: smaller + 1].sum())


def _rank_sum_chances(doubled: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the chance of every sum 0 … Σ of twice the ranks."""
    total = int(doubled.sum())
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    for rank in doubled:
        shifted = np.zeros_like(chances)
        shifted[rank:] = chances[: total + 1 - rank]
        chances = (chances + shifted) / 2
    return chances
