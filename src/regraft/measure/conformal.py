"""Split conformal prediction: sets of classes that hold the right one as often as promised.

The promise holds on average over draws of calibration and test items that are exchangeable; it
says nothing of a single class, group or item, nor of data from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from regraft.errors import ShapeError
from regraft.measure.intervals import Interval, wilson
from regraft.measure.shapes import check_probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

Method = Literal["lac", "aps"]


def lac_scores(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return 1 − p of every class, the score that gives the smallest sets on average.

    Args:
        probabilities: Shape (N, C).

    Returns:
        Shape (N, C); larger = less fitting.

    Reference:
        Sadinle, Lei & Wasserman, Least Ambiguous Set-Valued Classifiers with Bounded Error Levels,
        JASA 114 (2019).
    """
    return 1.0 - probabilities.astype(np.float64)


def aps_scores(
    probabilities: NDArray[np.floating], *, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return Σ of the probabilities above each class's own, plus u times its own.

    The sets adapt to how hard an item is. u is uniform in [0, 1), one per item: without it the
    coverage would be above what is asked.

    Args:
        probabilities: Shape (N, C).
        generator: Source of u.

    Returns:
        Shape (N, C); larger = less fitting.

    Reference:
        Romano, Sesia & Candès, Classification with Valid and Adaptive Coverage, NeurIPS 2020,
        eq. 7.
    """
    wide = probabilities.astype(np.float64)
    order = np.argsort(-wide, axis=1, kind="stable")
    ranked = np.take_along_axis(wide, order, axis=1)
    above = np.cumsum(ranked, axis=1) - ranked
    scores = np.empty_like(wide)
    np.put_along_axis(scores, order, above + generator.random((len(wide), 1)) * ranked, axis=1)
    return scores


def conformal_threshold(scores: NDArray[np.floating], *, alpha: float) -> float:
    """Return the ⌈(n+1)(1−α)⌉-th smallest score; ∞ where n is too small for so small an α.

    Args:
        scores: Of the right classes of the calibration items, shape (n,), n ≥ 1.
        alpha: Share of items whose set may miss the right class, in (0, 1).

    Raises:
        ShapeError: There are no scores, or alpha is outside (0, 1).

    Reference:
        Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005, section 2.

    Example:
        >>> conformal_threshold(np.arange(9) / 10, alpha=0.1)
        0.8
        >>> conformal_threshold(np.arange(8) / 10, alpha=0.1)
        inf
    """
    if scores.ndim != 1 or not len(scores) or not 0 < alpha < 1:
        raise ShapeError(
            f"conformal_threshold: scores {scores.shape}, alpha {alpha}. "
            "Give at least one score and an alpha between 0 and 1."
        )
    # 1 − α is not exact in floating point: 10 · 0.9 must give 9, not 10.
    rank = int(np.ceil((len(scores) + 1) * (1 - alpha) - 1e-9))
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else float("inf")


def conformal_sets(
    calibration: NDArray[np.floating],
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    *,
    alpha: float = 0.1,
    method: Method = "lac",
    seed: int = 0,
) -> NDArray[np.bool_]:
    """Return for each item the set of classes that may be right.

    The right class is in the set with probability ≥ 1 − α, and ≤ 1 − α + 1/(n + 1) where scores
    do not tie. Sets can be empty: such an item fits no class.

    Args:
        calibration: Probabilities of held-out items, shape (n, C), n ≥ 1; neither trained on nor
            used to choose the model.
        labels: Their class indices, shape (n,).
        probabilities: Of the items asked about, shape (N, C).
        alpha: Share of misses that is allowed, in (0, 1).
        method: ``lac`` for the smallest sets, ``aps`` for sets that grow with difficulty.
        seed: Of the randomisation of ``aps``.

    Returns:
        Shape (N, C), True where the class is in the item's set.

    Raises:
        ShapeError: The shapes do not fit together, a label is not a class, or alpha is outside
            (0, 1).
    """
    check_probabilities(calibration, labels, where="conformal_sets")
    if probabilities.ndim != 2 or probabilities.shape[1] != calibration.shape[1]:
        raise ShapeError(
            f"conformal_sets: probabilities {probabilities.shape} do not have the "
            f"{calibration.shape[1]} classes of the calibration items. Give (N, C)."
        )
    generator = np.random.default_rng(seed)

    def scores(p: NDArray[np.floating]) -> NDArray[np.float64]:
        return lac_scores(p) if method == "lac" else aps_scores(p, generator=generator)

    fitting = scores(calibration)[np.arange(len(labels)), labels]
    return np.asarray(scores(probabilities) <= conformal_threshold(fitting, alpha=alpha))


@dataclass(frozen=True, slots=True)
class SetQuality:
    """How often sets hold the right class, and at what size.

    Attributes:
        coverage: Share of sets that hold the right class, with Wilson's interval.
        mean_size: Mean number of classes in a set.
        empty: Share of empty sets.
        single: Share of sets of one class.
    """

    coverage: Interval
    mean_size: float
    empty: float
    single: float


def set_quality(sets: NDArray[np.bool_], labels: NDArray[np.integer]) -> SetQuality:
    """Return coverage and size of prediction sets (N, C) on items with labels (N,).

    Raises:
        ShapeError: The shapes do not fit together.
    """
    check_probabilities(sets.astype(np.float64), labels, where="set_quality")
    held, size = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
    return SetQuality(
        coverage=wilson(int(held.sum()), len(labels)),
        mean_size=float(size.mean()),
        empty=float((size == 0).mean()),
        single=float((size == 1).mean()),
    )
