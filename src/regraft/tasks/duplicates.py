"""Exact and near duplicates among items."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HASH_SIDE = 16
_BANDS = 16
_MOST_BITS = 15  # with 16 bands, any pair that differs in at most 15 bits shares a band
_LARGEST_BUCKET = 64
_THUMB_SIDE = 32
_SMALLEST_SIDE = 32  # below, a perceptual hash is mostly chance
_FLAT = 6.0
_ALIKE = 0.985
_PUNCTUATION = re.compile(r"[\W_]+", re.UNICODE)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What of an image is kept to find its near duplicates: hash bits (32 bytes) and a thumbnail."""

    bits: np.ndarray[Any, Any]
    thumbnail: np.ndarray[Any, Any]


def look_at(image: np.ndarray[Any, Any]) -> Look | None:
    """Return the perceptual hash of an image; None where it is too small or too flat to tell.

    The hash is the sign of horizontal differences of a 17 × 16 grey thumbnail (256 bits).
    """
    if min(image.shape[:2]) < _SMALLEST_SIDE:
        return None
    grey = Image.fromarray(image).convert("L")
    small = np.asarray(
        grey.resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX), np.int16
    )
    thumbnail = np.asarray(grey.resize((_THUMB_SIDE, _THUMB_SIDE), Image.Resampling.BOX), np.float32)
    if float(thumbnail.std()) < _FLAT:
        return None
    return Look(np.packbits(small[:, 1:] > small[:, :-1]), thumbnail)


def normalised_text(text: str) -> str:
    """Return a text without case, punctuation, accents' composition and spacing."""
    return _PUNCTUATION.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def clusters(keys: Sequence[str], looks: Sequence[Look | None] | None) -> np.ndarray[Any, Any]:
    """Return for each item the first item of its cluster of duplicates (itself where it has none).

    Args:
        keys: Items with the same key are duplicates.
        looks: Perceptual hashes of images, or None for other kinds.
    """
    parent = list(range(len(keys)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(i: int, j: int) -> None:
        a, b = root(i), root(j)
        parent[max(a, b)] = min(a, b)

    first: dict[str, int] = {}
    for i, key in enumerate(keys):
        join(first.setdefault(key, i), i)
    for i, j in _near_pairs(looks or ()):
        join(i, j)
    return np.array([root(i) for i in range(len(keys))], np.int64)


def _near_pairs(looks: Sequence[Look | None]) -> Iterable[tuple[int, int]]:
    """Yield the pairs whose hashes differ in at most 15 of 256 bits and whose thumbnails agree."""
    seen: set[tuple[int, int]] = set()
    for band in range(_BANDS):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for i, look in enumerate(looks):
            if look is not None:
                buckets[look.bits[2 * band : 2 * band + 2].tobytes()].append(i)
        for members in buckets.values():
            if 1 < len(members) <= _LARGEST_BUCKET:
                yield from _alike(looks, members, seen)


def _alike(
    looks: Sequence[Look | None], members: list[int], seen: set[tuple[int, int]]
) -> Iterable[tuple[int, int]]:
    bits = np.stack([look.bits for i in members if (look := looks[i]) is not None])
    differing = np.bitwise_count(bits[:, None] ^ bits[None]).sum(axis=2, dtype=np.int32)
    for a, b in np.argwhere(np.triu(differing <= _MOST_BITS, 1)):
        pair = members[a], members[b]
        if pair in seen:
            continue
        seen.add(pair)
        one, other = looks[pair[0]], looks[pair[1]]
        if one is not None and other is not None:
            agreement = np.corrcoef(one.thumbnail.ravel(), other.thumbnail.ravel())[0, 1]
            if agreement >= _ALIKE:
                yield pair
