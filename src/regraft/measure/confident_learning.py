"""Which labels are likely wrong: confident learning on out-of-fold probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from regraft.measure.shapes import check_probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class LabelErrors:
    """Items whose label is likely wrong.

    Attributes:
        rows: Their rows, the least credible label first.
        suggested: The class that each more likely has, same order.
        thresholds: t_j, mean probability of class j over the items labelled j, shape (C,); NaN
            where no item has the label.
        joint: Estimated joint of given label (rows) and true class (columns), sums to 1, (C, C).
    """

    rows: NDArray[np.intp]
    suggested: NDArray[np.intp]
    thresholds: NDArray[np.float64]
    joint: NDArray[np.float64]

    @property
    def noise_rate(self) -> float:
        """Estimated share of wrong labels, what of the joint is off its diagonal."""
        return float(1.0 - np.trace(self.joint))


def label_errors(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> LabelErrors:
    """Return likely label errors with the estimated joint of given labels and true classes.

    t_j = mean of p_j over the items labelled j. An item counts as truly j where p_j ≥ t_j, the most
    probable such j where there are several. C[i, j] counts the items labelled i and counted to j;
    its rows are scaled to the number of items labelled i, and all of it to sum 1: the joint Q.
    The likely errors are, for each i ≠ j, the n · Q[i, j] items labelled i with the largest
    p_j − p_i, as far as that is above 0 (pruning by noise rate).

    Args:
        probabilities: Out-of-fold class probabilities, shape (N, C), N ≥ 1: each item's from a
            model that did not see its label. A model that did has learnt the errors.
        labels: The given class indices, shape (N,).

    Raises:
        ShapeError: The shapes do not fit together, or a label is not a class.

    Reference:
        Northcutt, Jiang & Chuang, Confident Learning, JAIR 70 (2021), eq. 1-3 and section 3.2.
    """
    check_probabilities(probabilities, labels, where="label_errors")
    wide = probabilities.astype(np.float64)
    n, n_classes = wide.shape
    given = np.eye(n_classes)[labels]
    counts = given.sum(axis=0)
    thresholds = np.full(n_classes, np.nan)
    has_items = counts > 0
    thresholds[has_items] = (given * wide).sum(axis=0)[has_items] / counts[has_items]
    # No item labelled j, no threshold: no item can be counted to it. Rounding of the mean must not
    # put equal probabilities below it.
    is_confident = has_items & (wide >= np.nan_to_num(thresholds) - 1e-12)
    suggested = np.where(is_confident, wide, -1.0).argmax(axis=1)
    is_counted = is_confident.any(axis=1)
    joint = np.zeros((n_classes, n_classes))
    np.add.at(joint, (labels[is_counted], suggested[is_counted]), 1.0)
    # A class none of whose items is confident keeps its labels.
    is_empty = joint.sum(axis=1) == 0
    joint[is_empty, is_empty] = 1.0
    joint *= (counts / joint.sum(axis=1))[:, None] / n
    rows, classes = _pruned(wide, labels, joint)
    return LabelErrors(rows, classes, thresholds, joint)


def _pruned(
    probabilities: NDArray[np.float64], labels: NDArray[np.integer], joint: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows that the joint says to prune and their classes, largest margin first."""
    n, n_classes = probabilities.shape
    margins = probabilities - probabilities[np.arange(n), labels][:, None]
    chosen = np.zeros((n, n_classes), dtype=bool)
    for given, truth in zip(*np.nonzero(joint), strict=True):
        if given != truth:
            rows = np.flatnonzero(labels == given)
            most = int(np.rint(n * joint[given, truth]))
            chosen[rows[np.argsort(-margins[rows, truth], kind="stable")[:most]], truth] = True
    kept = np.where(chosen & (margins > 0), margins, -np.inf)
    best = kept.argmax(axis=1)
    order = np.argsort(-kept.max(axis=1), kind="stable")
    order = order[np.isfinite(kept.max(axis=1)[order])]
    return order, best[order]
