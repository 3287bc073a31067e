"""Columns that by themselves tell the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binom

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Array = np.ndarray[Any, Any]

N_FOLDS = 5
_BINS = 32
_LEAST_ROWS = 20
_LEVEL = 0.01
_MOST_DISTINCT = 0.5  # of the rows; above, values are names, texts or numbers of rows


@dataclass(frozen=True, slots=True)
class Telling:
    """How far a column alone tells the class.

    Attributes:
        name: The column.
        label: The class that it tells from the others, or None where it tells all of them.
        strength: Goodman and Kruskal's λ out of fold: the share of the errors of always guessing
            the commonest that knowing the value avoids.
        accuracy: Share of right guesses; `commonest` without the column.
    """

    name: str
    label: int | None
    strength: float
    accuracy: float
    commonest: float


def telling_columns(
    columns: Iterable[tuple[str, Sequence[object]]],
    labels: Array,
    folds: Array,
    *,
    least: float,
) -> list[Telling]:
    """Return the columns that tell the class, or one class from the others, out of fold.

    A value stands for the commonest class of the rows of other folds that have it, a value unseen
    there for the commonest class of all. Numbers with many values are put into 32 quantiles. A
    column counts where λ reaches `least` and that many fewer errors are no chance: one-sided
    binomial test at 0.01, Bonferroni over columns and classes.

    Args:
        columns: Names and values, of n rows. Names of rows, which hardly repeat, are passed over.
        labels: Class of each row, (n,). None but of items that train and validate.
        folds: Fold of each row, (n,), 0 … 4; copies of a row belong in one fold.
        least: Least λ to name.

    Reference:
        Goodman & Kruskal, Measures of Association for Cross Classifications, JASA 49 (1954).
    """
    if len(labels) < _LEAST_ROWS:
        return []
    _, classes = np.unique(labels, return_inverse=True)
    coded = [
        (name, codes) for name, values in columns if (codes := coded_values(values)) is not None
    ]
    level = _LEVEL / max(1, len(coded) * (int(classes.max()) + 1))
    found = []
    for name, codes in coded:
        one = _strongest(name, codes, classes, folds, level)
        if one is not None and one.strength >= least:
            label = None if one.label is None else int(np.unique(labels)[one.label])
            found.append(Telling(name, label, one.strength, one.accuracy, one.commonest))
    return found


def coded_values(values: Sequence[object]) -> Array | None:
    """Return a whole number for each value (n,), or None where values hardly repeat."""
    texts = ["" if _is_missing(value) else str(value).strip() for value in values]
    # of objects: an array of texts pads every one to the longest
    distinct, codes = np.unique(np.array(texts, dtype=object), return_inverse=True)
    if len(distinct) > _BINS:
        numbers = _numbers(distinct.tolist())
        is_name = len(distinct) > _MOST_DISTINCT * len(texts)
        if numbers is not None and not (is_name and (numbers % 1 == 0).all()):
            return _in_quantiles(numbers, codes)
    if len(distinct) > _MOST_DISTINCT * len(texts):
        return None
    return codes


def out_of_fold_guesses(codes: Array, classes: Array, folds: Array) -> tuple[Array, Array]:
    """Return counts of classes among the rows of other folds: of the same value, and of all rows.

    Args:
        codes: Value of each row, (n,).
        classes: Class of each row, (n,), 0 … C − 1.
        folds: Fold of each row, (n,).

    Returns:
        Two arrays (n, C).
    """
    n_codes, n_classes = int(codes.max()) + 1, int(classes.max()) + 1
    same = np.empty((len(codes), n_classes), np.int64)
    every = np.empty_like(same)
    for fold in np.unique(folds):
        inside = folds == fold
        place = codes[~inside] * n_classes + classes[~inside]
        table = np.bincount(place, minlength=n_codes * n_classes).reshape(n_codes, n_classes)
        same[inside] = table[codes[inside]]
        every[inside] = table.sum(axis=0)
    return same, every


def _strongest(
    name: str, codes: Array, classes: Array, folds: Array, level: float
) -> Telling | None:
    """Return what the column tells best that is no chance: all classes, or one of several."""
    same, every = out_of_fold_guesses(codes, classes, folds)
    is_seen = same.sum(axis=1) > 0
    guess = np.where(is_seen, same.argmax(axis=1), every.argmax(axis=1))
    candidates: list[tuple[int | None, Array, Array]]
    candidates = [(None, guess != classes, every.argmax(axis=1) != classes)]
    if same.shape[1] > 2:
        for label in range(same.shape[1]):
            alone = np.where(
                is_seen,
                2 * same[:, label] > same.sum(axis=1),
                2 * every[:, label] > every.sum(axis=1),
            )
            plain = 2 * every[:, label] > every.sum(axis=1)
            is_it = classes == label
            candidates.append((label, alone != is_it, plain != is_it))
    n = len(classes)
    best = None
    for told, wrong, wrong_without in candidates:
        errors, without = int(wrong.sum()), int(wrong_without.sum())
        if not without or binom.cdf(errors, n, without / n) > level:
            continue
        strength = 1 - errors / without
        if best is None or strength > best.strength:
            best = Telling(name, told, strength, 1 - errors / n, 1 - without / n)
    return best


def _in_quantiles(numbers: Array, codes: Array) -> Array:
    """Return the quantile of each row's number, the missing ones in one of their own."""
    rows = numbers[codes]
    cuts = np.quantile(rows[np.isfinite(rows)], np.linspace(0, 1, _BINS + 1)[1:-1])
    binned: Array = np.where(np.isfinite(rows), np.searchsorted(cuts, rows, side="right") + 1, 0)
    return binned


def _numbers(texts: list[str]) -> Array | None:
    """Return texts as numbers, NaN where empty; None where one is no number."""
    try:
        numbers = np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return None
    return None if np.isinf(numbers).any() or np.isnan(numbers).sum() > texts.count("") else numbers


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value)) or str(value) == "<NA>"
