"""What leaks or contradicts itself, in sentences, without reading test labels."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.tasks.marks import find_marks
from regraft.tasks.telling import N_FOLDS, Telling, telling_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from regraft.tasks.intake.inspection import Inspection
    from regraft.tasks.intake.rows import Rows
    from regraft.tasks.items import Items

_NAMED = 3
_MOST_ROWS = 20_000
_MOST_FEATURE_ROWS = 5_000

# A column beside the input has no business telling the class; an input feature has, and only one
# that nearly replaces the label is worth a word.
_MOST_OF_ROWS = 0.2
_COLUMN, _FEATURE = 0.5, 0.95

_GROUP_WORDS = frozenset(
    {"patient", "subject", "speaker", "author", "user", "person", "customer", "participant"}
    | {"reviewer", "group", "animal", "session", "scene", "video", "family", "donor", "writer"}
    | {"client", "student", "respondent", "household", "device", "plate", "slide", "site"}
)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

Indices = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Divided:
    """Items and how they were divided.

    Attributes:
        items: All of them; labels of the test part are not looked at.
        repeats: The first item of each one's cluster of duplicates.
        parts: ``train``, ``validation`` or ``test``.
        removed: Items that repeat one of a later part.
        classes: Names of the classes.
    """

    items: Items
    repeats: Indices
    parts: Indices
    removed: Indices
    classes: tuple[str, ...]

    @property
    def labelled(self) -> Indices:
        """One item of each cluster of duplicates whose label may be looked at, by digest."""
        rows = np.setdiff1d(np.flatnonzero(self.parts != "test"), self.removed)
        rows = rows[np.unique(self.repeats[rows], return_index=True)[1]]
        # By digest, so that neither the order of a file nor its sorting by class matters.
        return rows[np.argsort(np.array([self.items.digests[i] for i in rows]), kind="stable")]


def find_leakage(divided: Divided, rows: Rows, inspection: Inspection) -> tuple[str, ...]:
    """Return a sentence for each leak: what leaks, where, and what to do."""
    return (
        *_repeats(divided),
        *_groups(divided),
        *_unnamed_groups(divided, rows),
        *_contradictions(divided),
        *_columns(divided, rows),
        *_marks(divided, inspection),
    )


def _repeats(divided: Divided) -> Iterator[str]:
    removed, ids, n = divided.removed, divided.items.ids, len(divided.removed)
    names = []
    for row in removed[:_NAMED]:
        members = np.flatnonzero(divided.repeats == divided.repeats[row])
        is_test = divided.parts[members] == "test"
        kept = members[is_test] if is_test.any() else np.setdiff1d(members, removed)
        names.append(f"{ids[row]} (as {ids[kept[0]]})")
    if n:
        yield (
            f"{_count(n, 'item')} {_agree(n, 'repeats', 'repeat')} an item of a later part and "
            f"{_agree(n, 'was', 'were')} taken out: {_some(names, n)}"
        )


def _groups(divided: Divided) -> Iterator[str]:
    groups = divided.items.groups
    if groups is None:
        return
    homes = Counter(group for group, _ in set(zip(groups, divided.parts, strict=True)))
    shared = sorted(str(group) for group, n in homes.items() if n > 1)
    if shared:
        later = np.isin(groups.astype(str), shared) & (divided.parts == "test")
        yield (
            f"{_count(len(shared), 'group')} {_agree(len(shared), 'is', 'are')} in several parts: "
            f"{_some(shared[:_NAMED], len(shared))}; {int(later.sum())} of "
            f"{int((divided.parts == 'test').sum())} test items are of such groups. Divide anew "
            "(splits: grouped, in a study file), or mend the parts"
        )


def _unnamed_groups(divided: Divided, rows: Rows) -> Iterator[str]:
    """Yield columns that by name and values are groups, and share values between the parts."""
    is_test = divided.parts == "test"
    for name, values in rows.metadata.items():
        if not _GROUP_WORDS & {word.lower() for word in _WORDS.findall(name)}:
            continue
        texts = np.array(["" if value is None else str(value).strip() for value in values], object)
        known = texts != ""
        shared = np.intersect1d(texts[known & ~is_test], texts[known & is_test])
        touched = int(np.isin(texts[is_test], shared).sum())
        if len(shared) and _is_fine(texts[known]):
            yield (
                f"column {name!r} looks like a group: {_count(len(shared), 'value')} "
                f"({_some(shared[:_NAMED].tolist(), len(shared))}) in training and in test, on "
                f"{touched} of {int(is_test.sum())} test items. Name it with --group to keep its "
                "values together"
            )


def _is_fine(texts: np.ndarray[Any, Any]) -> bool:
    """Whether no value is so common that keeping it together would spoil every split."""
    _, counts = np.unique(texts, return_counts=True)
    return bool(counts.max() <= _MOST_OF_ROWS * len(texts))


def _contradictions(divided: Divided) -> Iterator[str]:
    items, repeats = divided.items, divided.repeats
    trained = np.flatnonzero(divided.parts != "test")
    pairs = np.unique(np.stack([repeats[trained], items.labels[trained]], axis=1), axis=0)
    contradicting = [first for first, n in Counter(pairs[:, 0].tolist()).items() if n > 1]
    if not contradicting:
        return
    names = []
    for first in contradicting[:_NAMED]:
        members = trained[repeats[trained] == first]
        of_class = {int(items.labels[i]): i for i in members[::-1]}
        told = (f"{items.ids[i]} is {divided.classes[label]}" for label, i in of_class.items())
        names.append(", ".join(sorted(told)))
    n = len(contradicting)
    yield (
        f"{_count(n, 'duplicated item')} {_agree(n, 'has', 'have')} different labels: "
        f"{_some(names, n, ' / ')}. Correct or remove {_agree(n, 'it', 'them')}"
    )


def _columns(divided: Divided, rows: Rows) -> Iterator[str]:
    chosen = divided.labelled[:_MOST_ROWS]
    columns = ((name, [values[i] for i in chosen]) for name, values in rows.metadata.items())
    for one in _telling(divided, columns, chosen, _COLUMN):
        yield (
            f"column {one.name!r} alone {_tells(one, divided.classes)}. No model reads it: make "
            "sure that the inputs do not hold what it says, and if its values are patients, "
            "authors or places, name it with --group"
        )
    if rows.kind != "array" or np.ndim(rows.inputs[0]) != 1:
        return
    chosen = chosen[:_MOST_FEATURE_ROWS]
    matrix = np.stack([rows.inputs[i] for i in chosen])
    features = ((f"feature {k}", matrix[:, k].tolist()) for k in range(matrix.shape[1]))
    for one in _telling(divided, features, chosen, _FEATURE):
        yield (
            f"{one.name} alone {_tells(one, divided.classes)}. Leave it out unless it is known "
            "when a class has to be predicted"
        )


def _telling(divided: Divided, columns: Any, chosen: Indices, least: float) -> list[Telling]:
    digests = [divided.items.digests[i] for i in chosen]
    folds = np.array([int(digest[:8], 16) % N_FOLDS for digest in digests], np.int64)
    return telling_columns(columns, divided.items.labels[chosen], folds, least=least)


def _tells(one: Telling, classes: tuple[str, ...]) -> str:
    what = "the class" if one.label is None else f"{classes[one.label]!r} from the rest"
    return (
        f"tells {what}: right on {one.accuracy:.1%} of held-out items, where the commonest answer "
        f"is on {one.commonest:.1%}"
    )


def _marks(divided: Divided, inspection: Inspection) -> Iterator[str]:
    rows = divided.labelled
    # Glyphs of a few pixels fill their corners: there the corner is the thing itself.
    looks = [(i, look) for i in rows if (look := inspection.seen[i].look) and look.is_large]
    if not looks:
        return
    chosen = np.array([i for i, _ in looks])
    thumbnails = np.stack([look.thumbnail for _, look in looks])
    for mark in find_marks(thumbnails, divided.items.labels[chosen]):
        names = [divided.items.ids[chosen[row]] for row in mark.rows]
        yield (
            f"the {mark.place} of the images gives {divided.classes[mark.label]!r} away: it "
            f"explains {mark.explained:.0%} of the class, other places along the border "
            f"{mark.elsewhere:.0%}, as by a stamp, date or logo; see {', '.join(names)}. Crop or "
            "paint over it in all images"
        )


def _some(names: Sequence[str], n: int, between: str = ", ") -> str:
    return between.join(names[:_NAMED]) + (f" and {n - _NAMED} more" if n > _NAMED else "")


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _agree(n: int, one: str, several: str) -> str:
    return one if n == 1 else several
