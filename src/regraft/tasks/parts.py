"""Dividing items into development and a sealed test part, without duplicates across."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.errors import DataError
from regraft.tasks.classes import missing_in_test
from regraft.tasks.duplicates import clusters
from regraft.tasks.items import Items
from regraft.tasks.leakage import Divided, find_leakage
from regraft.tasks.splits import Fold, development_folds, hold_out, latest, without_repeats

if TYPE_CHECKING:
    from regraft.tasks.intake.inspection import Inspection
    from regraft.tasks.intake.rows import Rows

_NAMED = 3
_LEAST_TO_SPLIT = 3
_LEAST_TO_CARVE = 2

Indices = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """How the user wants the data divided: `validation` is a share of what is not tested."""

    splits: str
    validation: float
    test: float
    seed: int
    where: str


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The divided items, and what is to be said of the division.

    Attributes:
        development: Items that train and validate.
        units: What of them must stay together (group, or cluster of duplicates).
        repeats: Their clusters of duplicates.
        folds: See `Task`.
        test: The test items, in the order of their digests.
        split: How the parts were made.
        within: Development items that repeat another one; `removed` ones repeated a later part.
        leakage: What leaks or contradicts itself, in sentences.
        notes: What else is worth saying.
    """

    development: Items
    units: Indices
    repeats: Indices
    folds: tuple[Fold, ...]
    test: Items
    split: str
    within: int
    removed: int
    leakage: tuple[str, ...]
    notes: tuple[str, ...]


def divide(rows: Rows, inspection: Inspection, classes: tuple[str, ...], wish: Wish) -> Parts:
    """Divide the items as the data says, or by time, groups or stratification.

    Raises:
        DataError: A class has too few items, or the split asked for is not possible.
    """
    items = _items(rows, inspection, classes)
    looks = [one.look for one in inspection.seen] if rows.kind == "image" else None
    repeats = clusters([one.key for one in inspection.seen], looks)
    units = repeats if items.groups is None else np.unique(items.groups, return_inverse=True)[1]
    parts, how = _parts(rows, items, units, wish)
    removed = _straddlers(repeats, parts)
    kept = np.setdiff1d(np.flatnonzero(parts != "test"), removed)
    test = np.flatnonzero(parts == "test")
    # The order in which users store test items often is that of their labels; the digests' is not.
    test = test[np.argsort(np.array([items.digests[i] for i in test]), kind="stable")]
    development = items.subset(kept)
    _check_trainable(development, classes, len(removed), wish)
    folds, carved = _folds(development, parts[kept], units[kept], classes, wish)
    folds = without_repeats(folds, repeats[kept])
    _check_folds(folds, development.labels, wish)
    return Parts(
        development=development,
        units=units[kept],
        repeats=repeats[kept],
        folds=folds,
        test=items.subset(test),
        split=f"{how}; {carved}",
        within=sum(count - 1 for count in Counter(repeats[kept].tolist()).values()),
        removed=len(removed),
        leakage=find_leakage(Divided(items, repeats, parts, removed, classes), rows, inspection),
        notes=_notes(rows, classes),
    )


def _items(rows: Rows, inspection: Inspection, classes: tuple[str, ...]) -> Items:
    index = {name: i for i, name in enumerate(classes)}
    return Items(
        rows.kind,
        rows.inputs,
        np.array([index[name] for name in rows.labels], np.int64),
        tuple(rows.ids),
        tuple(one.digest for one in inspection.seen),
        np.array(rows.groups) if rows.groups else None,
        np.array(rows.times, np.float64) if rows.times else None,
        {column: np.array(values) for column, values in rows.subgroups.items()},
    )


def _parts(rows: Rows, items: Items, units: Indices, wish: Wish) -> tuple[Indices, str]:
    """Return the part of each item (``train``, ``validation``, ``test``) and how it was decided."""
    given = np.array(rows.parts, dtype="<U10")
    names = set(rows.parts)
    is_given = "train" in names and not names.isdisjoint({"validation", "test"})
    if wish.splits == "given" and not is_given:
        raise DataError("it has no train and test parts. Use --splits auto.", where=wish.where)
    if is_given and wish.splits in ("auto", "given"):
        if "test" in names:
            return given, "parts as given"
        how = "train and validation given: the latter is the sealed test"
        return np.where(given == "validation", "test", given), how
    if wish.splits == "time" or (wish.splits == "auto" and items.times is not None):
        test, how = _newest(items, wish), f"the newest {wish.test:.0%} are tested"
    else:
        test, how = _drawn(rows, items, units, wish)
    parts = np.full(len(items), "train", dtype="<U10")
    parts[test] = "test"
    return parts, how


def _newest(items: Items, wish: Wish) -> Indices:
    if items.times is None:
        raise DataError("--splits time needs a column; name it with --time.", where=wish.where)
    test = latest(items.times, share=wish.test)
    if len(test) == len(items):
        raise DataError(
            "nearly all items have the same time, so the newest cannot be set apart. Name another "
            "column with --time, or use --splits stratified.",
            where=wish.where,
        )
    return test


def _drawn(rows: Rows, items: Items, units: Indices, wish: Wish) -> tuple[Indices, str]:
    if wish.splits == "grouped" and items.groups is None:
        raise DataError("--splits grouped needs a column; name it with --group.", where=wish.where)
    counts = Counter(rows.labels)
    lonely = min(counts, key=lambda name: (counts[name], name))
    if counts[lonely] < _LEAST_TO_SPLIT:
        raise DataError(
            f"class {lonely!r} has {_number(counts[lonely])}; to train, validate and test, each "
            f"class needs {_LEAST_TO_SPLIT} at least. Add items, remove the class, or give a test "
            "part.",
            where=wish.where,
        )
    test = hold_out(items.labels, units, share=wish.test, least=1, seed=wish.seed, name="test")
    if len(np.unique(items.labels[test])) < 2:
        what = "duplicates of each other" if items.groups is None else "in too few groups"
        raise DataError(
            f"the items are {what} ({len(np.unique(units))} distinct), so no test part with two "
            "classes can be set apart. Give a test part, or more varied data.",
            where=wish.where,
        )
    kind = "stratified by class" if items.groups is None else "by group"
    return test, f"{wish.test:.0%} are tested, {kind}"


def _straddlers(repeats: Indices, parts: Indices) -> Indices:
    """Return the items that repeat one of a later part: train, then validation, then test."""
    rank = np.select([parts == "train", parts == "validation"], [0, 1], 2)
    highest = np.zeros(len(repeats), np.int64)
    np.maximum.at(highest, repeats, rank)
    return np.flatnonzero(rank < highest[repeats])


def _check_trainable(
    development: Items, classes: tuple[str, ...], n_removed: int, wish: Wish
) -> None:
    counts = np.bincount(development.labels, minlength=len(classes))
    if not counts.all():
        why = f", after {n_removed} that repeat test items were taken out" if n_removed else ""
        raise DataError(
            f"class {classes[int(counts.argmin())]!r} has no item left to train on{why}. Add "
            "items, or give other parts.",
            where=wish.where,
        )


def _folds(
    development: Items, parts: Indices, units: Indices, classes: tuple[str, ...], wish: Wish
) -> tuple[tuple[Fold, ...], str]:
    given = parts == "validation"
    if given.any():
        fold = Fold(np.flatnonzero(~given), np.flatnonzero(given))
        return (fold,), "validation as given"
    counts = np.bincount(development.labels, minlength=len(classes))
    if counts.min() < _LEAST_TO_CARVE:
        raise DataError(
            f"class {classes[int(counts.argmin())]!r} has {_number(int(counts.min()))} to train "
            f"on; to train and validate, each class needs {_LEAST_TO_CARVE} at least. Add items, "
            "remove the class, or give a validation part.",
            where=wish.where,
        )
    times = development.times if wish.splits in ("auto", "given", "time") else None
    folds = development_folds(
        development.labels,
        units,
        n_classes=len(classes),
        share=wish.validation,
        seed=wish.seed,
        times=times,
    )
    if len(folds) > 1:
        return folds, f"labels are few: {len(folds)}-fold cross-validation"
    how = "the newest" if times is not None else "by group"
    how = how if times is not None or development.groups is not None else "stratified"
    return folds, f"{wish.validation:.0%} of the rest validate, {how}"


def _check_folds(folds: tuple[Fold, ...], labels: Indices, wish: Wish) -> None:
    if not folds or any(
        not len(fold.validation) or len(np.unique(labels[fold.train])) < 2 for fold in folds
    ):
        raise DataError(
            "what trains and what validates cannot be kept apart: the items of a class are all "
            "duplicates of each other, in one group, or of one time. Give a validation part, or "
            "more varied data.",
            where=wish.where,
        )


def _notes(rows: Rows, classes: tuple[str, ...]) -> tuple[str, ...]:
    absent = missing_in_test(rows, classes)
    if not absent:
        return ()
    more = ", …" * (len(absent) > _NAMED)
    return (f"the test part has no item of {', '.join(absent[:_NAMED])}{more}",)


def _number(count: int) -> str:
    return f"{count} item{'s' * (count != 1)}"
