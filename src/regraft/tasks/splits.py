"""Splits: stratified, grouped, by time; hold-out and cross-validation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.seeds import numpy_generator

FEW_LABELS = 10
"""Up to so many labels per class on average, cross-validation takes the place of a hold-out.

A hold-out of 20 % would have two items a class, on which no two protocols can be told apart.
"""

MOST_FOLDS = 5
_LEAST_VALIDATION = 2

Rows = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Rows that train and rows that validate, both sorted."""

    train: Rows
    validation: Rows


def hold_out(labels: Rows, units: Rows, *, share: float, least: int, seed: int, name: str) -> Rows:
    """Return the sorted rows of a stratified part that splits no unit.

    Units are taken in random order; one joins while it fills more of what its classes still lack
    than it overshoots, and while it leaves an item of each of its classes. Classes that got
    nothing then get the unit that overshoots least. With one item a unit, classes give their quota.

    Args:
        labels: Class of each item, shape (n,).
        units: What must stay together: group or cluster of duplicates, shape (n,).
        share: Share of each class to take.
        least: Least items of each class to take, as long as one remains.
        seed: Seed; `name` tells apart several parts.
        name: What the part is for.

    Returns:
        Rows. A class of which all items are in one unit is not among them.
    """
    counts = np.bincount(labels)
    quota = np.maximum(np.round(counts * share), np.minimum(least, counts - 1))
    lacking = np.clip(quota, 0, np.maximum(counts - 1, 0)).astype(int).tolist()
    left = counts.tolist()
    names, unit_of = np.unique(units, return_inverse=True)
    held = [Counter[int]() for _ in names]
    for unit, label in zip(unit_of.tolist(), labels.tolist(), strict=True):
        held[unit][label] += 1
    order = numpy_generator(seed, "hold-out", name).permutation(len(names)).tolist()
    chosen = []

    def overshoots(unit: int) -> int:
        return sum(max(n - lacking[label], 0) for label, n in held[unit].items())

    def take(unit: int) -> None:
        chosen.append(unit)
        for label, n in held[unit].items():
            left[label] -= n
            lacking[label] = max(lacking[label] - n, 0)

    for unit in order:
        if 2 * overshoots(unit) < held[unit].total() and _leaves_some(left, held[unit]):
            take(unit)
    for label, n in enumerate(counts.tolist()):
        fitting = (
            [u for u in order if held[u][label]] if lacking[label] and left[label] == n else []
        )
        fitting = [unit for unit in fitting if _leaves_some(left, held[unit])]
        if fitting:
            take(min(fitting, key=overshoots))
    rows: Rows = np.flatnonzero(np.isin(unit_of, chosen))
    return rows


def latest(times: Rows, *, share: float) -> Rows:
    """Return the sorted rows of the newest share of the items; equal times stay on one side.

    At least one item; all of them where all have the same time.
    """
    order = np.argsort(times, kind="stable")
    cut = times[order[min(round(len(times) * (1 - share)), len(times) - 1)]]
    rows: Rows = np.flatnonzero(times >= cut)
    return rows


def development_folds(
    labels: Rows, units: Rows, *, n_classes: int, share: float, seed: int, times: Rows | None
) -> tuple[Fold, ...]:
    """Return one fold (a hold-out), several where labels are few, or none where they are too few.

    By time where times are given; else stratified, at least two items a class; at ten labels
    per class or fewer on average, cross-validation with as many folds as the class with the fewest
    units has, five at most.
    """
    everything = np.arange(len(labels))
    if times is not None:
        validation = latest(times, share=share)
        return (Fold(np.setdiff1d(everything, validation), validation),)
    if len(labels) <= FEW_LABELS * n_classes:
        n_folds = min(MOST_FOLDS, _fewest_units(labels, units))
        if n_folds < 2:
            return ()
        assigned = _fold_of(labels, units, n_folds, seed)
        return tuple(
            Fold(np.flatnonzero(assigned != fold), np.flatnonzero(assigned == fold))
            for fold in range(n_folds)
        )
    validation = hold_out(
        labels, units, share=share, least=_LEAST_VALIDATION, seed=seed, name="validation"
    )
    return (Fold(np.setdiff1d(everything, validation), validation),)


def without_repeats(folds: tuple[Fold, ...], clusters: Rows) -> tuple[Fold, ...]:
    """Return the folds with what repeats an item that validates taken out of what trains."""
    return tuple(
        Fold(fold.train[~np.isin(clusters[fold.train], clusters[fold.validation])], fold.validation)
        for fold in folds
    )


def nested_subset(labels: Rows, per_class: int, *, seed: int) -> Rows:
    """Return sorted rows of `per_class` items a class; a class with fewer gives all of them.

    With the same seed, a smaller number gives a subset of what a larger one gives.
    """
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        order = numpy_generator(seed, "label-budget", int(label)).permutation(len(rows))
        chosen.append(rows[order[:per_class]])
    return np.sort(np.concatenate(chosen))


def _fold_of(labels: Rows, units: Rows, n_folds: int, seed: int) -> Rows:
    """Return the fold of each item: units go, large ones first, where their classes are fewest."""
    members = _members(units)
    held = np.zeros((n_folds, int(labels.max()) + 1), np.int64)
    assigned = np.empty(len(labels), np.int64)
    order = numpy_generator(seed, "folds").permutation(len(members))
    for unit in sorted(order.tolist(), key=lambda one: -len(members[one])):
        rows = members[unit]
        classes = np.bincount(labels[rows], minlength=held.shape[1])
        load = held @ classes * len(labels) + held.sum(axis=1)
        fold = int(np.argmin(load))
        held[fold] += classes
        assigned[rows] = fold
    return assigned


def _members(units: Rows) -> list[Rows]:
    """Return the rows of each unit."""
    _, unit_of = np.unique(units, return_inverse=True)
    order = np.argsort(unit_of, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(unit_of[order])) + 1)


def _fewest_units(labels: Rows, units: Rows) -> int:
    """Return in how many units the class lies that lies in the fewest."""
    return min(len(np.unique(units[labels == label])) for label in np.unique(labels))


def _leaves_some(left: list[int], taken: Counter[int]) -> bool:
    """Whether of each class that is taken from at least one item is left."""
    return all(left[label] > n for label, n in taken.items())
