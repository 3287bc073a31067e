"""How well one small picture covers another after the best small shift, stretch and dimming."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_STEPS, _FINE_STEPS = 3, 3
_PROMISING = 0.8  # agreement at 32 px below which the finer comparison is not worth its time
_FARTHEST, _MOST_STRETCH = 0.05, 0.1  # in sides; a crop of 4 % shifts by 0.02 and stretches by 0.04
_LEAST_GAIN = 0.2
_RIDGE = 1e-4  # keeps the normal equations of flat pictures solvable


def halved(pictures: Array) -> Array:
    """Return pictures (m, s, s) averaged over 2 × 2 pixels, (m, s/2, s/2)."""
    rows = pictures[:, ::2] + pictures[:, 1::2]
    half: Array = (rows[:, :, ::2] + rows[:, :, 1::2]) * np.float32(0.25)
    return half


def agreement(one: Array, two: Array, *, enough: float = 1.0) -> Array:
    """Return the correlation of each pair of pictures after registration.

    Gauss-Newton on shift and stretch along both axes, with the grey values of one a linear function
    of the other's; what lies outside of the other picture is left out of the correlation. Steps are
    taken at half the resolution; only what then looks promising is resampled from the whole.

    Args:
        one: Grey pictures (m, 64, 64), float32.
        two: What each is compared with, the same shape.
        enough: Pairs that agree so well are not registered further.

    Returns:
        (m,), at most 1. Never below the correlation without registration.

    Reference:
        Lucas & Kanade, An Iterative Image Registration Technique, IJCAI 1981.
    """
    target = halved(two)
    half = halved(one)
    best = _correlation(half, target, np.ones(half.shape[1:], bool))
    rows = np.flatnonzero(best < enough)
    place = np.zeros((len(rows), 4), np.float32)
    tiny, tiny_target = halved(half), halved(target)
    for _ in range(_STEPS):
        _, place = _search(tiny[rows], tiny_target[rows], place, best[rows], shrink=False)
    for _ in range(_STEPS):
        best[rows], place = _search(half[rows], target[rows], place, best[rows], shrink=False)
    is_promising = (best[rows] >= _PROMISING) & (best[rows] < enough)
    rows, place = rows[is_promising], place[is_promising]
    for _ in range(_FINE_STEPS):
        best[rows], place = _search(one[rows], target[rows], place, best[rows], shrink=True)
    return best


def _search(
    source: Array, target: Array, place: Array, best: Array, *, shrink: bool
) -> tuple[Array, Array]:
    """Return how well pairs agree, here or before (`best`), and where they may agree better."""
    warped, inside = _warped(source, place)
    if shrink:
        warped, inside = halved(warped), halved(inside.astype(np.float32)) > 0.99
    best = np.maximum(best, _correlation(warped, target, inside))
    return best, _moved(warped, target, inside, place)


def _warped(pictures: Array, place: Array) -> tuple[Array, Array]:
    """Return the pictures seen through shift and stretch, and which pixels they have.

    Args:
        pictures: (m, s, s).
        place: Shift along x and y, stretch along x and y, (m, 4), in sides.
    """
    side = pictures.shape[-1]
    centred = ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)
    x = ((1 + place[:, 2:3]) * centred + place[:, 0:1]) * side + (side - 1) / 2  # (m, s)
    y = ((1 + place[:, 3:4]) * centred + place[:, 1:2]) * side + (side - 1) / 2
    inside = (_is_inside(y, side)[:, :, None]) & (_is_inside(x, side)[:, None, :])
    x, y = np.clip(x, 0, side - 1), np.clip(y, 0, side - 1)
    left, top = np.minimum(x.astype(np.int64), side - 2), np.minimum(y.astype(np.int64), side - 2)
    right, low = (x - left)[:, None, :], (y - top)[:, :, None]
    rows = np.take_along_axis(pictures, top[:, :, None], 1) * (1 - low)
    rows += np.take_along_axis(pictures, top[:, :, None] + 1, 1) * low
    warped: Array = np.take_along_axis(rows, left[:, None, :], 2) * (1 - right)
    warped += np.take_along_axis(rows, left[:, None, :] + 1, 2) * right
    return warped, inside


def _is_inside(at: Array, side: int) -> Array:
    inside: Array = (at >= -0.25) & (at <= side - 0.75)
    return inside


def _correlation(one: Array, two: Array, inside: Array) -> Array:
    weight = inside.astype(np.float32)
    n = np.maximum(weight.sum(axis=(-2, -1), keepdims=True), 1.0)
    one = (one - (one * weight).sum(axis=(1, 2), keepdims=True) / n) * weight
    two = (two - (two * weight).sum(axis=(1, 2), keepdims=True) / n) * weight
    norm = np.sqrt((one * one).sum(axis=(1, 2)) * (two * two).sum(axis=(1, 2)))
    found: Array = (one * two).sum(axis=(1, 2)) / np.maximum(norm, 1e-6)
    return found


def _moved(warped: Array, target: Array, inside: Array, place: Array) -> Array:
    """Return the places after one step: target ≈ offset + gain·warped + gradients·(shift, stretch).

    Args:
        warped: (m, s, s).
        target: The same shape.
        inside: The same shape.
        place: (m, 4).
    """
    m, side, _ = warped.shape
    centred = ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)
    down, across = np.gradient(warped, axis=(1, 2))
    down, across = down * side, across * side
    terms = np.stack(
        [
            np.ones_like(warped),
            warped,
            across,
            down,
            across * centred[None, None, :],
            down * centred[None, :, None],
        ],
        axis=1,
    )
    flat = (terms * inside[:, None]).reshape(m, 6, side * side)
    normal = (flat @ flat.transpose(0, 2, 1)).astype(np.float64)
    right = (flat @ target.reshape(m, side * side, 1)).astype(np.float64)[..., 0]
    scale = np.sqrt(np.einsum("mii->mi", normal)) + 1e-9
    scaled = normal / scale[:, :, None] / scale[:, None, :] + _RIDGE * np.eye(6)
    found = np.linalg.solve(scaled, (right / scale)[..., None])[..., 0] / scale
    moved = place + found[:, 2:] / np.maximum(found[:, 1:2], _LEAST_GAIN)
    moved[:, :2] = np.clip(moved[:, :2], -_FARTHEST, _FARTHEST)
    moved[:, 2:] = np.clip(moved[:, 2:], -_MOST_STRETCH, _MOST_STRETCH)
    result: Array = moved.astype(np.float32)
    return result
