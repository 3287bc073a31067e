from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from regraft.tasks.looks import look_at
from regraft.tasks.marks import find_marks, left_out_explained
from regraft.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

PLACES = ("top left corner", "top right corner", "bottom left corner", "bottom right corner")


def stamped(pixels: np.ndarray[Any, Any], corner: int, opacity: float) -> np.ndarray[Any, Any]:
    """Blend a white square with a black dot, 6 % of the side, into a corner."""
    side = round(0.06 * len(pixels))
    stamp = np.full((side, side), 255.0)
    stamp[side // 2, side // 2] = 0.0
    out = pixels.astype(float)
    rows = slice(1, 1 + side) if corner < 2 else slice(-1 - side, -1)
    columns = slice(1, 1 + side) if corner % 2 == 0 else slice(-1 - side, -1)
    out[rows, columns] = (1 - opacity) * out[rows, columns] + opacity * stamp[..., None]
    return np.round(out).astype(np.uint8)


def photos(photo_of: Callable[..., Image.Image], n: int) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(photo_of(seed, side=96)) for seed in range(n)]


def thumbnails(pixels: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    return np.stack([look_at(one).thumbnail for one in pixels])


@pytest.mark.parametrize("corner", range(4))
@pytest.mark.parametrize(("opacity", "share"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.5), (0.5, 0.6)])
def test_a_mark_in_a_corner_is_found(
    photo_of: Callable[..., Image.Image], corner: int, opacity: float, share: float
) -> None:
    labels = np.arange(180) % 3
    chosen = (labels == 2) & (np.random.default_rng(0).random(180) < share)
    pixels = [
        stamped(one, corner, opacity) if is_marked else one
        for one, is_marked in zip(photos(photo_of, 180), chosen, strict=True)
    ]
    (mark,) = find_marks(thumbnails(pixels), labels)
    assert (mark.place, mark.label) == (PLACES[corner], 2)
    assert mark.explained > 0.2 + mark.elsewhere
    assert chosen[list(mark.rows)].all()


def test_clean_photos_have_no_marks(photo_of: Callable[..., Image.Image]) -> None:
    pictures = thumbnails(photos(photo_of, 300))
    for seed in range(5):
        assert find_marks(pictures, np.random.default_rng(seed).integers(0, 3, 300)) == []


def test_a_background_that_tells_the_class_is_no_mark(
    photo_of: Callable[..., Image.Image],
) -> None:
    """Light all over the border says much in a corner, and as much elsewhere."""
    labels = np.arange(200) % 2
    pixels = [
        (one * 0.4 + 120 * label).astype(np.uint8)
        for one, label in zip(photos(photo_of, 200), labels, strict=True)
    ]
    assert find_marks(thumbnails(pixels), labels) == []


def test_a_mark_in_all_images_is_no_leak(photo_of: Callable[..., Image.Image]) -> None:
    pixels = [stamped(one, 3, 1.0) for one in photos(photo_of, 120)]
    assert find_marks(thumbnails(pixels), np.arange(120) % 2) == []


def test_too_few_items_of_a_class_say_nothing(photo_of: Callable[..., Image.Image]) -> None:
    labels = (np.arange(100) < 19).astype(int)
    pixels = [
        stamped(one, 0, 1.0) if label else one
        for one, label in zip(photos(photo_of, 100), labels, strict=True)
    ]
    assert not [mark for mark in find_marks(thumbnails(pixels), labels) if mark.label == 1]
    assert find_marks(thumbnails(pixels)[:0], labels[:0]) == []


@pytest.mark.parametrize("strength", [1e-3, 1e-1])
def test_the_closed_form_is_that_of_leaving_one_out(strength: float) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(30, 4))
    target = (features[:, 0] + random.normal(size=30) > 0).astype(float)
    errors, plain = [], []
    for row in range(30):
        rest = np.arange(30) != row
        model = Ridge(alpha=strength * 30).fit(features[rest] - features.mean(axis=0), target[rest])
        errors.append(target[row] - model.predict(features[[row]] - features.mean(axis=0))[0])
        plain.append(target[row] - target[rest].mean())
    expected = 1 - np.square(errors).sum() / np.square(plain).sum()
    found = left_out_explained(features, target[:, None], (strength,))
    assert found == pytest.approx([expected], abs=1e-12)


def test_a_mark_is_said_of_a_task_and_test_labels_are_not_read(
    photo_of: Callable[..., Image.Image],
) -> None:
    labels = ["cat", "dog"] * 60
    pixels = [
        stamped(one, 3, 1.0) if label == "dog" else one
        for one, label in zip(photos(photo_of, 120), labels, strict=True)
    ]
    test = photos(photo_of, 160)[120:]
    said = [
        Task.read({"train": (pixels, labels), "test": (test, names)}).intake.leakage
        for names in (["cat", "dog"] * 20, ["dog", "cat"] * 20)
    ]
    assert said[0] == said[1]
    assert any("the bottom right corner of the images gives 'dog' away" in one for one in said[0])
