"""Dividing items into development and a sealed test part, without duplicates across."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.errors import DataError
from regraft.tasks.duplicates import clusters
from regraft.tasks.intake.record import Intake
from regraft.tasks.items import Items
from regraft.tasks.splits import Fold, development_folds, hold_out, latest

if TYPE_CHECKING:
    from regraft.tasks.intake.inspection import Inspection
    from regraft.tasks.intake.rows import Rows

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of validation (of what is not tested) and of test."""

    validation: float
    test: float


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The divided items, and what is to be said of the division."""

    development: Items
    units: np.ndarray[Any, Any]
    folds: tuple[Fold, ...]
    test: Items
    split: str
    within: int
    across: int
    removed: int
    leakage: tuple[str, ...]


def class_names(rows: Rows, where: str) -> tuple[str, ...]:
    """Return the sorted names of the classes, of given train and test parts alike.

    Raises:
        DataError: There is one class only, or a part has a class that training does not.
    """
    names = sorted(set(rows.labels))
    if len(names) < 2:
        raise DataError(
            f"only one class ({names[0]!r}), so there is nothing to tell apart. Add items of "
            "another class, or name the right column with --label.",
            where=where,
        )
    training = {n for n, p in zip(rows.labels, rows.parts, strict=True) if p in ("", "train")}
    for part in ("validation", "test"):
        other = {n for n, p in zip(rows.labels, rows.parts, strict=True) if p == part}
        if strange := sorted(other - training):
            raise DataError(
                f"the {part} part has classes that training does not: "
                f"{', '.join(strange[:_NAMED])}. Training has {', '.join(sorted(training)[:_NAMED])}"
                f"{', …' if len(training) > _NAMED else ''}. Make the names agree.",
                where=where,
            )
    return tuple(names)


def divide(
    rows: Rows,
    inspection: Inspection,
    classes: tuple[str, ...],
    *,
    splits: str,
    shares: Shares,
    seed: int,
    where: str,
) -> Parts:
    """Divide the items as the data says, or by time, groups or stratification.

    Raises:
        DataError: A class has too few items, or the split asked for is not possible.
    """
    items, cluster, units = _items(rows, inspection, classes)
    parts, how = _parts(rows, items, units, splits=splits, shares=shares, seed=seed, where=where)
    across, removed = _straddlers(cluster, parts)
    keep = np.setdiff1d(np.arange(len(items)), removed)
    development = keep[parts[keep] != "test"]
    test = np.flatnonzero(parts == "test")
    if not len(development) or len(np.unique(items.labels[development])) < 2:
        raise DataError(
            "after removing duplicates of test items, fewer than two classes are left to train on. "
            "Check that the test part is not a copy of the training part.",
            where=where,
        )
    folds, carved = _folds(items, parts, development, units, classes, shares=shares, seed=seed)
    developed = cluster[development]
    return Parts(
        development=items.subset(development),
        units=units[development],
        folds=folds,
        test=items.subset(test),
        split=f"{how}; {carved}",
        within=int(sum(count - 1 for count in Counter(developed.tolist()).values())),
        across=across,
        removed=len(removed),
        leakage=_leakage(rows, items, cluster, parts, removed),
    )


def summarise(rows: Rows, inspection: Inspection, parts: Parts, source: str) -> Intake:
    """Return the plain record of intake."""
    widths = [one.size[0] for one in inspection.seen if one.size]
    heights = [one.size[1] for one in inspection.seen if one.size]
    words = [one.words for one in inspection.seen if one.words is not None]
    return Intake(
        source=source,
        n_development=len(parts.development),
        n_test=len(parts.test),
        skipped=inspection.skipped,
        n_skipped=inspection.n_skipped,
        converted=inspection.converted,
        duplicates_within=parts.within,
        duplicates_across=parts.across,
        duplicates_removed=parts.removed,
        leakage=parts.leakage,
        split=parts.split,
        width=_spread(widths),
        height=_spread(heights),
        words=_spread(words),
        notes=tuple(rows.notes),
    )


def _items(
    rows: Rows, inspection: Inspection, classes: tuple[str, ...]
) -> tuple[Items, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the items, their clusters of duplicates, and what must stay together."""
    index = {name: i for i, name in enumerate(classes)}
    looks = [one.look for one in inspection.seen] if rows.kind == "image" else None
    cluster = clusters([one.key for one in inspection.seen], looks)
    groups = np.array(rows.groups) if rows.groups else None
    items = Items(
        rows.kind,
        rows.inputs,
        np.array([index[name] for name in rows.labels], np.int64),
        tuple(rows.ids),
        tuple(one.digest for one in inspection.seen),
        groups,
        np.array(rows.times, np.float64) if rows.times else None,
    )
    units = cluster if groups is None else np.unique(groups, return_inverse=True)[1]
    return items, cluster, units


def _parts(  # one question, and what it takes to answer it
    rows: Rows,
    items: Items,
    units: np.ndarray[Any, Any],
    *,
    splits: str,
    shares: Shares,
    seed: int,
    where: str,
) -> tuple[np.ndarray[Any, Any], str]:
    """Return the part of each item (``train``, ``validation``, ``test``) and how it was decided."""
    parts = np.array(rows.parts, dtype="<U10")
    is_given = bool((parts == "train").any())
    if splits == "given" and not is_given:
        raise DataError("it has no train and test parts. Use --splits auto.", where=where)
    if is_given and splits in ("auto", "given"):
        if (parts == "test").any():
            return parts, "parts as given"
        if (parts == "validation").any():
            return np.where(parts == "validation", "test", parts), (
                "train and validation given: the latter is the sealed test"
            )
    if items.times is not None and splits in ("auto", "time"):
        test = latest(items.times, share=shares.test)
        how = f"the newest {shares.test:.0%} are tested"
    else:
        if splits == "time" or (splits == "grouped" and items.groups is None):
            what = "time" if splits == "time" else "group"
            raise DataError(f"--splits {splits} needs a column; name it with --{what}.", where=where)
        _enough_for_split(items, rows, where)
        test = hold_out(
            items.labels, units, share=shares.test, least=1, seed=seed, name="test"
        )
        kind = "stratified by class" if items.groups is None else "by group"
        how = f"{shares.test:.0%} are tested, {kind}"
    parts = np.full(len(items), "train", dtype="<U10")
    parts[test] = "test"
    return parts, how


def _enough_for_split(items: Items, rows: Rows, where: str) -> None:
    counts = Counter(rows.labels)
    lonely = sorted(name for name, count in counts.items() if count < 3)
    if lonely:
        raise DataError(
            f"class {lonely[0]!r} has {counts[lonely[0]]} item{'s' * (counts[lonely[0]] > 1)}; to "
            "train, validate and test, each class needs 3 at least. Add items, remove the class, or "
            "give a test part.",
            where=where,
        )
    del items


def _straddlers(
    cluster: np.ndarray[Any, Any], parts: np.ndarray[Any, Any]
) -> tuple[int, np.ndarray[Any, Any]]:
    """Return how many items repeat one of another part, and which of them must go.

    Training goes before validation, and both before test.
    """
    rank = np.select([parts == "train", parts == "validation"], [0, 1], 2)
    highest = np.zeros(len(cluster), np.int64)
    np.maximum.at(highest, cluster, rank)
    removed = np.flatnonzero(rank < highest[cluster])
    return len(removed), removed


def _folds(
    items: Items,
    parts: np.ndarray[Any, Any],
    development: np.ndarray[Any, Any],
    units: np.ndarray[Any, Any],
    classes: tuple[str, ...],
    *,
    shares: Shares,
    seed: int,
) -> tuple[tuple[Fold, ...], str]:
    given = parts[development] == "validation"
    if given.any():
        fold = Fold(np.flatnonzero(~given), np.flatnonzero(given))
        return (fold,), "validation as given"
    folds = development_folds(
        items.labels[development],
        units[development],
        n_classes=len(classes),
        share=shares.validation,
        seed=seed,
        times=None if items.times is None else items.times[development],
    )
    if len(folds) > 1:
        return folds, f"labels are few: {len(folds)}-fold cross-validation"
    how = "the newest" if items.times is not None else "stratified"
    return folds, f"{shares.validation:.0%} of the rest validate, {how}"


def _leakage(
    rows: Rows,
    items: Items,
    cluster: np.ndarray[Any, Any],
    parts: np.ndarray[Any, Any],
    removed: np.ndarray[Any, Any],
) -> tuple[str, ...]:
    """Return what leaks across parts or contradicts itself, in sentences. Test labels are not read."""
    found = []
    if len(removed):
        names = ", ".join(rows.ids[i] for i in removed[:_NAMED])
        more = f" and {len(removed) - _NAMED} more" if len(removed) > _NAMED else ""
        found.append(
            f"{len(removed)} items repeat an item of a later part and were taken out: {names}{more}"
        )
    if items.groups is not None:
        shared = set(items.groups[parts == "train"]) & set(items.groups[parts == "test"])
        if shared:
            found.append(
                f"{len(shared)} groups are in training and in test: {', '.join(sorted(shared)[:_NAMED])}"
            )
    trained = np.flatnonzero(parts != "test")
    labels_of: dict[int, set[int]] = {}
    for i in trained:
        labels_of.setdefault(int(cluster[i]), set()).add(int(items.labels[i]))
    contradicting = sum(len(labels) > 1 for labels in labels_of.values())
    if contradicting:
        found.append(f"{contradicting} duplicated items have different labels")
    return tuple(found)


def _spread(values: list[int]) -> tuple[int, int, int] | None:
    if not values:
        return None
    return min(values), int(np.median(values)), max(values)
