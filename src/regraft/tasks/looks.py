"""What is kept of an image to find its near duplicates, and the search for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from regraft.tasks.registration import agreement, halved

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Array = np.ndarray[Any, Any]

SIDE = 64
_SMALLEST_SIDE = 30  # below, one digit or letter differs from the next as a crop does
_FLAT = 6.0  # grey levels: walls, skies, blank pages look alike without being the same picture
_ALIKE = 0.98  # of real pairs: other takes of one scene reach 0.975, crops of 2 % begin at 0.985

# The sieve: coarse correlation, then one linear step of registration at 16 px. On real photographs
# 1 pair in 5,000 passes both, and of copies cropped by 2 % all do.
_COARSE_SIDE, _COARSE = 8, 0.85
_MIDDLE_SIDE, _MIDDLE = 16, 0.78
_MOST_PARTNERS = 8
_ROWS, _COLUMNS = 256, 4096
_CHUNK = 256
_DENSE = 0.03  # share of pairs above which all are tried in one product, which is faster


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """An image at a glance.

    Attributes:
        thumbnail: Grey values, uint8 (64, 64); sides are stretched to a square.
        is_large: Whether both sides have 30 pixels.
    """

    thumbnail: Array
    is_large: bool

    @property
    def is_telling(self) -> bool:
        """Whether it is large and varied enough to be told from others by its thumbnail."""
        return self.is_large and float(self.thumbnail.std()) >= _FLAT


def look_at(image: Array) -> Look:
    """Return the glance at an image, uint8 (H, W, 3)."""
    grey = Image.fromarray(image).convert("L")
    thumbnail = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.uint8)
    return Look(thumbnail, min(image.shape[:2]) >= _SMALLEST_SIDE)


def near_pairs(looks: Sequence[Look]) -> Iterator[Array]:
    """Yield arrays (m, 2) of pairs of near duplicates: saved again, rescaled, cropped by a little.

    Every two images are compared coarsely; what passes is registered (`agreement`). Of the later
    images that one looks like, the 8 most alike are tried, so that the work after the sieve grows
    with n; a burst of alike frames is still joined, each frame with one after it.

    Args:
        looks: All of them telling.
    """
    if len(looks) < 2:
        return
    thumbnails = np.stack([look.thumbnail for look in looks])
    middle = _shrunk(thumbnails, _MIDDLE_SIDE)
    sieve = _Sieve(_unit(_shrunk(thumbnails, _COARSE_SIDE)), _unit(middle), middle)
    for start in range(0, len(looks), _ROWS):
        pairs = _best(*sieve.passing(start, min(start + _ROWS, len(looks))))
        for first in range(0, len(pairs), _CHUNK):
            some = pairs[first : first + _CHUNK]
            sides = (thumbnails[some[:, side]].astype(np.float32) for side in (0, 1))
            yield some[agreement(*sides, enough=_ALIKE) >= _ALIKE]


@dataclass(frozen=True, slots=True, eq=False)
class _Sieve:
    """Thumbnails of n images at 8 and 16 px, centred to unit length, (n, 64) and (n, 256)."""

    coarse: Array
    middle: Array
    pictures: Array  # at 16 px as they are, (n, 16, 16)

    def passing(self, start: int, end: int) -> tuple[Array, Array]:
        """Return the pairs (m, 2) of rows start to end with later rows that pass, and how well."""
        basis = _tangents(self.pictures[start:end])
        found, scores = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
        for first in range(start, len(self.coarse), _COLUMNS):
            last = min(first + _COLUMNS, len(self.coarse))
            near = self.coarse[start:end] @ self.coarse[first:last].T >= _COARSE
            near &= np.arange(first, last)[None, :] > np.arange(start, end)[:, None]
            one, two = np.nonzero(near)
            score = self._scores(basis, one, two + first, near.mean() > _DENSE, (first, last))
            kept = score >= _MIDDLE
            found.append(np.stack([one[kept] + start, two[kept] + first], axis=1))
            scores.append(score[kept])
        return np.concatenate(found), np.concatenate(scores)

    def _scores(
        self, basis: Array, one: Array, two: Array, is_dense: np.bool, columns: tuple[int, int]
    ) -> Array:
        """Return the share of the variance of image `two` that the basis of `one` explains."""
        if is_dense:
            whole = self.middle[slice(*columns)].T
            total = sum(np.square(basis[:, k] @ whole) for k in range(basis.shape[1]))
            every: Array = np.asarray(total)[one, two - columns[0]]
            return every
        parts = [np.empty(0, np.float32)]
        for place in range(0, len(one), _COLUMNS):
            rows = slice(place, place + _COLUMNS)
            along = np.einsum("mkd,md->mk", basis[one[rows]], self.middle[two[rows]])
            parts.append(np.square(along).sum(axis=1))
        return np.concatenate(parts)


def _best(pairs: Array, scores: Array) -> Array:
    """Return the 8 best pairs of each first image, sorted."""
    order = np.lexsort((-scores, pairs[:, 0]))
    pairs = pairs[order]
    begins = np.searchsorted(pairs[:, 0], pairs[:, 0])
    return pairs[np.arange(len(pairs)) - begins < _MOST_PARTNERS]


def _shrunk(thumbnails: Array, side: int) -> Array:
    """Return (n, 64, 64) averaged to (n, side, side), float32, a part of the images at a time."""
    parts = []
    for start in range(0, len(thumbnails), _COLUMNS):
        some = thumbnails[start : start + _COLUMNS].astype(np.float32)
        while some.shape[-1] > side:
            some = halved(some)
        parts.append(some)
    return np.concatenate(parts)


def _unit(pictures: Array) -> Array:
    flat = pictures.reshape(len(pictures), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    unit: Array = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return unit


def _tangents(pictures: Array) -> Array:
    """Return an orthonormal basis (m, 5, s²) of a picture and its small shifts and stretches."""
    m, side, _ = pictures.shape
    centred = ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)
    down, across = np.gradient(pictures, axis=(1, 2))
    terms = [np.ones_like(pictures), pictures, across, down]
    terms += [across * centred[None, None, :], down * centred[None, :, None]]
    flat = np.stack(terms, axis=-1).reshape(m, -1, 6)
    basis: Array = np.linalg.qr(flat)[0].transpose(0, 2, 1)[:, 1:].astype(np.float32)
    return basis
