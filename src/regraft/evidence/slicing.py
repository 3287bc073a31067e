"""Slices of items that a person can look at: clusters of features, and what is read off an input.

No slice is made from what the classifier got wrong, so that every one may be tested on the same
items, corrected over all of them.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.best import shown_text, thumbnail
from regraft.measure.slices import CLUSTERS, cluster_slices, metadata_slices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.tasks.items import Items

_ITEMS_OF_A_CLUSTER = 20
_QUARTERS = (0.25, 0.5, 0.75)
_MOST_DECODED = 5000
_FEWEST_TEXTS = 3
_NAMED_WORDS, _NAMED_CLASSES = 4, 2
_LEAST_SHARE = 0.1
_SMALL_SHARE = 0.5
_WORD = re.compile(r"[^\W\d_]{3,}")

Mask = np.ndarray[Any, Any]


def candidate_slices(items: Items, features: np.ndarray[Any, Any] | None) -> dict[str, Mask]:
    """Return the slices to test: name → the items in it, shape (n,).

    Clusters of the pretrained backbone's features, at most 8 and of 20 items on average or more;
    the values of columns that results are reported by; groups, where the items have some; quarters
    of the length of texts, of the brightness and the area of images. Images are looked at where
    there are at most 5,000.

    Args:
        items: The items, labels unused.
        features: Their features, shape (n, width), or None.
    """
    found: dict[str, Mask] = {}
    n_clusters = min(CLUSTERS, len(items) // _ITEMS_OF_A_CLUSTER)
    if features is not None and n_clusters > 1:
        found |= cluster_slices(features, n_clusters=n_clusters)
    return found | metadata_slices(columns_of(items))


def columns_of(items: Items) -> dict[str, Sequence[object]]:
    """Return what is known of each item beside its label, in few values, by column."""
    columns: dict[str, Sequence[object]] = {
        name: [str(one) for one in values] for name, values in items.subgroups.items()
    }
    if items.groups is not None:
        columns["group"] = [str(one) for one in items.groups]
    if items.kind == "text":
        columns["words"] = quarters([len(str(items.read(i)).split()) for i in range(len(items))])
    if items.kind == "image" and len(items) <= _MOST_DECODED:
        seen = [_looked_at(np.asarray(items.read(i))) for i in range(len(items))]
        columns["brightness"] = quarters([one[0] for one in seen])
        columns["pixels"] = quarters([one[1] for one in seen])
    return columns


def quarters(values: Sequence[float]) -> list[str]:
    """Return for each value the quarter of all values it lies in, as ``low to high``.

    Equal values share a quarter: fewer than four are left where many are equal.

    Example:
        >>> quarters([1, 2, 3, 4])
        ['1 to 1', '2 to 2', '3 to 3', '4 to 4']
    """
    known = np.asarray(values, np.float64)
    if not len(known):
        return []
    place = np.searchsorted(np.quantile(known, _QUARTERS), known, side="left")
    ends = {q: (known[place == q].min(), known[place == q].max()) for q in np.unique(place)}
    return [f"{ends[q][0]:,.0f} to {ends[q][1]:,.0f}" for q in place]


def class_mix(labels: np.ndarray[Any, Any], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the classes of some items with their shares, the most frequent first."""
    counts = np.bincount(labels, minlength=len(classes))
    order = np.argsort(-counts, kind="stable")
    return [
        {"label": classes[i], "n": int(counts[i]), "share": float(counts[i] / len(labels))}
        for i in order
        if counts[i]
    ]


def telling_words(texts: Sequence[str], inside: Mask) -> list[str]:
    """Return words that are more frequent in some texts than in the others.

    By the log-odds of a text's holding the word, half a text added to each count, weighed by the
    root of the texts inside that hold it; a word must be in three of them.

    Args:
        texts: All texts.
        inside: Which of them are meant, shape (n,).
    """
    counts = {True: Counter[str](), False: Counter[str]()}
    for text, is_inside in zip(texts, inside, strict=True):
        counts[bool(is_inside)].update(set(_WORD.findall(text.lower())))
    n_inside, n_outside = int(inside.sum()), int((~inside).sum())

    def weight(word: str) -> float:
        k, m = counts[True][word] + 0.5, counts[False][word] + 0.5
        odds = np.log(k / (n_inside + 1 - k)) - np.log(m / (n_outside + 1 - m))
        return float(odds * np.sqrt(k))

    known = [word for word, n in counts[True].items() if n >= _FEWEST_TEXTS and weight(word) > 0]
    return sorted(known, key=lambda word: (-weight(word), word))[:_NAMED_WORDS]


def nearest_rows(features: np.ndarray[Any, Any] | None, inside: Mask, most: int) -> list[int]:
    """Return the rows inside that lie nearest to their mean; the first where nothing is known."""
    rows = np.flatnonzero(inside)
    if features is None:
        return [int(row) for row in rows[:most]]
    some = features[rows].astype(np.float64)
    distances = ((some - some.mean(axis=0)) ** 2).sum(axis=1)
    return [int(row) for row in rows[np.argsort(distances, kind="stable")][:most]]


def shown_item(items: Items, row: int) -> dict[str, Any]:
    """Return an item as the report shows it: where it comes from, its text or its image."""
    return {"item": items.ids[row], "text": shown_text(items, row), "image": thumbnail(items, row)}


def slice_title(name: str, mix: Sequence[Mapping[str, Any]], words: Sequence[str]) -> str:
    """Return a name that says what is in a slice: its words, else its most frequent classes.

    Example:
        >>> slice_title("cluster 2", [{"label": "ant", "share": 0.9}], [])
        'cluster 2: ant (90 %)'
    """
    if not name.startswith("cluster"):
        return name
    parts = [f"“{word}”" for word in words]
    shown = [one for one in mix[:_NAMED_CLASSES] if one["share"] >= _LEAST_SHARE] or mix[:1]
    classes = [f"{one['label']} ({100 * one['share']:.0f} %)" for one in shown]
    rest = 1 - sum(one["share"] for one in shown)
    more = len(mix) - len(shown)
    if rest > _SMALL_SHARE and more > 1:
        classes.append(f"{more} other classes")
    return (
        f"{name}: {', '.join(parts)}; {', '.join(classes)}"
        if parts
        else (f"{name}: {', '.join(classes)}")
    )


def _looked_at(image: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return the mean brightness in 0 … 255 and the number of pixels."""
    return float(image.mean()), float(image.shape[0] * image.shape[1])
