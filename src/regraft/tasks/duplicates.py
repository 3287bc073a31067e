"""Exact and near duplicates among items."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HASH_SIDE = 16
_BANDS = 16
_MOST_BITS = 15  # with 16 bands, any pair that differs in at most 15 bits shares a band
_BLOCK = 1024
_MOST_PAIRS = 1 << 20
_THUMB_SIDE = 32
_SMALLEST_SIDE = 32  # below, a perceptual hash is mostly chance
_FLAT = 6.0  # grey levels: walls, skies, blank pages look alike without being the same picture
_ALIKE = 0.985

Pairs = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What of an image is kept to find its near duplicates.

    Attributes:
        bits: Perceptual hash, uint8 (32,).
        thumbnail: Grey values, uint8 (1024,).
    """

    bits: np.ndarray[Any, Any]
    thumbnail: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Hashes:
    """Hashes of n images, as ±1 (n, 256) and as 16-bit numbers (n, 16); thumbnails (n, 1024)."""

    signs: np.ndarray[Any, Any]
    bands: np.ndarray[Any, Any]
    thumbnails: np.ndarray[Any, Any]


def look_at(image: np.ndarray[Any, Any]) -> Look | None:
    """Return the perceptual hash of an image; None where it is too small or too flat to tell.

    The hash is the sign of horizontal differences of a 17 × 16 grey thumbnail (256 bits).
    """
    if min(image.shape[:2]) < _SMALLEST_SIDE:
        return None
    grey = Image.fromarray(image).convert("L")
    small = grey.resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX)
    steps = np.asarray(small, np.int16)
    thumbnail = np.asarray(grey.resize((_THUMB_SIDE, _THUMB_SIDE), Image.Resampling.BOX), np.uint8)
    if float(thumbnail.std()) < _FLAT:
        return None
    return Look(np.packbits(steps[:, 1:] > steps[:, :-1]), thumbnail.ravel())


def normalised_text(text: str) -> str:
    """Return a text without case, punctuation and spacing; letters of any script and signs stay."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.translate(_SEPARATORS).split())


def clusters(keys: Sequence[str], looks: Sequence[Look | None] | None) -> np.ndarray[Any, Any]:
    """Return for each item the first item of its cluster of duplicates (itself where it has none).

    Args:
        keys: Items with the same key are duplicates.
        looks: Perceptual hashes of images, or None for other kinds.
    """
    first: dict[str, int] = {}
    of_key = np.array([first.setdefault(key, i) for i, key in enumerate(keys)], np.int64)
    found = of_key
    if looks is not None:
        rows = np.array([i for i in first.values() if looks[i] is not None], np.int64)
        chosen = [look for i in rows if (look := looks[i]) is not None]
        for pairs in _gathered(_near_pairs(chosen)):
            found = _joined(found, rows[pairs])
    return found


def _joined(found: np.ndarray[Any, Any], pairs: Pairs) -> np.ndarray[Any, Any]:
    """Return the first item of each cluster after joining the clusters of some pairs (m, 2)."""
    n = len(found)
    one = np.concatenate([np.arange(n), pairs[:, 0]])
    two = np.concatenate([found, pairs[:, 1]])
    graph = coo_array((np.ones(len(one), np.int8), (one, two)), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    first = np.full(n, n, np.int64)
    np.minimum.at(first, component, np.arange(n))
    least: np.ndarray[Any, Any] = first[component]
    return least


def _gathered(pairs: Iterator[Pairs]) -> Iterator[Pairs]:
    """Yield the same pairs in arrays of about a million, so that memory stays bounded."""
    held: list[Pairs] = []
    n = 0
    for some in pairs:
        held.append(some)
        n += len(some)
        if n >= _MOST_PAIRS:
            yield np.concatenate(held)
            held, n = [], 0
    if n:
        yield np.concatenate(held)


def _near_pairs(looks: Sequence[Look]) -> Iterator[Pairs]:
    """Yield arrays (m, 2) of pairs whose hashes differ in at most 15 bits and that look alike.

    Only items that agree in one of sixteen bands of the hash are compared, which by the pigeonhole
    principle misses no such pair.
    """
    if len(looks) < 2:
        return
    bits = np.stack([look.bits for look in looks])
    hashes = _Hashes(
        signs=np.unpackbits(bits, axis=1).astype(np.float32) * 2.0 - 1.0,
        bands=bits[:, ::2].astype(np.int32) * 256 + bits[:, 1::2],
        thumbnails=np.stack([look.thumbnail for look in looks]),
    )
    for band in range(_BANDS):
        value = hashes.bands[:, band]
        order = np.argsort(value, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(value[order])) + 1):
            if len(members) > 1:
                yield from _alike(hashes, members, band)


def _alike(hashes: _Hashes, members: np.ndarray[Any, Any], band: int) -> Iterator[Pairs]:
    """Yield the pairs among some items that pass both tests, compared block by block."""
    signs, bands = hashes.signs, hashes.bands
    least = float(signs.shape[1] - 2 * _MOST_BITS)  # of the inner product of ±1 hashes
    for start in range(0, len(members), _BLOCK):
        block = members[start : start + _BLOCK]
        for other in range(start, len(members), _BLOCK):
            against = members[other : other + _BLOCK]
            near = np.argwhere(signs[block] @ signs[against].T >= least)
            one, two = block[near[:, 0]], against[near[:, 1]]
            is_new = (one < two) & (bands[one, :band] != bands[two, :band]).all(axis=1)
            one, two = one[is_new], two[is_new]
            is_alike = _agreement(hashes.thumbnails, one, two) >= _ALIKE
            yield np.stack([one[is_alike], two[is_alike]], axis=1)


def _agreement(
    thumbnails: np.ndarray[Any, Any], one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return the correlation of the two thumbnails of each pair, shape (m,)."""
    sides, places = [], []
    for rows in (one, two):
        members, place = np.unique(rows, return_inverse=True)
        values = thumbnails[members].astype(np.float32)
        values -= values.mean(axis=1, keepdims=True)
        sides.append(values / np.linalg.norm(values, axis=1, keepdims=True))
        places.append(place)
    # All pairs of the members, not those asked for alone: bursts of frames ask for nearly all.
    agreement: np.ndarray[Any, Any] = (sides[0] @ sides[1].T)[places[0], places[1]]
    return agreement


class _Separators(dict[int, str | int]):
    """Maps punctuation, spaces and control characters to a space, everything else to itself."""

    def __missing__(self, code: int) -> str | int:
        # Not a regular expression of \W: that takes vowel signs of Indic scripts for punctuation.
        value: str | int = " " if unicodedata.category(chr(code))[0] in "PZC" else code
        self[code] = value
        return value


_SEPARATORS = _Separators()
