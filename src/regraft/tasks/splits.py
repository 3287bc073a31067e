"""Splits: stratified, grouped, by time; hold-out and cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.seeds import numpy_generator

FEW_LABELS = 10
"""Below so many labels per class on average, cross-validation takes the place of a hold-out."""

MOST_FOLDS = 5
_LEAST_VALIDATION = 2

Rows = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Rows that train and rows that validate, both sorted."""

    train: Rows
    validation: Rows


def hold_out(
    labels: Rows, units: Rows, *, share: float, least: int, seed: int, name: str
) -> Rows:
    """Return the sorted rows of a stratified part that splits no unit.

    Units are taken in random order; one joins while it fills more of what its classes still lack than
    it overshoots. With one item a unit this takes exactly the quota of every class.

    Args:
        labels: Class of each item, shape (n,).
        units: What must stay together: group or cluster of duplicates, shape (n,).
        share: Share of each class to take.
        least: Least items of each class to take, as long as one remains.
        seed: Seed; `name` tells apart several parts.
        name: What the part is for.
    """
    counts = np.bincount(labels)
    lacking = np.maximum(np.round(counts * share).astype(int), np.minimum(least, counts - 1))
    lacking = np.maximum(lacking, 0)
    _, unit_of = np.unique(units, return_inverse=True)
    members = _members(unit_of)
    taken: list[Rows] = []
    for unit in numpy_generator(seed, "hold-out", name).permutation(len(members)):
        rows = members[unit]
        classes = np.bincount(labels[rows], minlength=len(counts))
        fills = int(np.minimum(classes, lacking).sum())
        if 2 * fills > int(classes.sum()):
            taken.append(rows)
            lacking = np.maximum(lacking - classes, 0)
    return np.sort(np.concatenate(taken)) if taken else np.empty(0, np.int64)


def latest(times: Rows, *, share: float) -> Rows:
    """Return the sorted rows of the newest share of the items; equal times stay on one side."""
    order = np.argsort(times, kind="stable")
    cut = times[order[int(round(len(times) * (1 - share)))]]
    rows: Rows = np.flatnonzero(times >= cut)
    return rows


def development_folds(
    labels: Rows, units: Rows, *, n_classes: int, share: float, seed: int, times: Rows | None
) -> tuple[Fold, ...]:
    """Return one fold (a hold-out), or several where labels are few.

    By time where times are given; else stratified, at least two items a class; below ten labels per class
    on average, cross-validation with as many folds as the smallest class has items, five at most.
    """
    everything = np.arange(len(labels))
    if times is not None:
        validation = latest(times, share=share)
        return (Fold(np.setdiff1d(everything, validation), validation),)
    counts = np.bincount(labels, minlength=n_classes)
    if len(labels) < FEW_LABELS * n_classes:
        n_folds = min(MOST_FOLDS, int(counts[counts > 0].min()), len(np.unique(units)))
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


def nested_subset(labels: Rows, per_class: int, *, seed: int) -> Rows:
    """Return sorted rows of `per_class` items a class; a smaller number gives a subset of a larger one.

    A class with fewer items gives all of them.
    """
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        order = numpy_generator(seed, "label-budget", int(label)).permutation(len(rows))
        chosen.append(rows[order[:per_class]])
    return np.sort(np.concatenate(chosen))


def _fold_of(labels: Rows, units: Rows, n_folds: int, seed: int) -> Rows:
    """Return the fold of each item: units go, in random order, where their classes are fewest."""
    _, unit_of = np.unique(units, return_inverse=True)
    members = _members(unit_of)
    held = np.zeros((n_folds, int(labels.max()) + 1), np.int64)
    assigned = np.empty(len(labels), np.int64)
    order = numpy_generator(seed, "folds").permutation(len(members))
    for unit in sorted(order, key=lambda one: -len(members[one])):
        rows = members[unit]
        classes = np.bincount(labels[rows], minlength=held.shape[1])
        load = held @ classes * len(labels) + held.sum(axis=1)
        fold = int(np.argmin(load))
        held[fold] += classes
        assigned[rows] = fold
    return assigned


def _members(unit_of: Rows) -> list[Rows]:
    order = np.argsort(unit_of, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(unit_of[order])) + 1)
