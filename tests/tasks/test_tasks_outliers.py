"""Corrupted items and made outliers: the same for everybody, whichever others are there."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from regraft.errors import DataError
from regraft.tasks.corruptions.items import (
    LARGEST_SIDE,
    corrupted,
    corruptions_of,
    plain_inputs,
)
from regraft.tasks.corruptions.texts import corrupt_text
from regraft.tasks.items import Items, items_from
from regraft.tasks.labelled import MOST_ITEMS, some_labelled
from regraft.tasks.outliers import built_in, made_outliers

RANDOM = np.random.default_rng(0)
IMAGES = [RANDOM.integers(0, 256, (12, 10, 3), dtype=np.uint8) for _ in range(5)]
TEXTS = ["the first of five texts", "a second one", "three", "", "and the last of them all"]
SOUNDS = [RANDOM.normal(size=200).astype(np.float32) for _ in range(5)]
KINDS = {"image": IMAGES, "text": TEXTS, "array": SOUNDS}
RATE = 8000


def plain(kind: str) -> Items:
    return plain_inputs(items_from(KINDS[kind], kind))


def alike(first: object, second: object) -> bool:
    return bool(np.array_equal(np.asarray(first), np.asarray(second)))


def test_arrays_are_corrupted_only_where_they_are_sounds() -> None:
    assert len(corruptions_of("image")) == 15
    assert len(corruptions_of("text")) == 4
    assert corruptions_of("array") == ()
    assert corruptions_of("array", sample_rate=RATE) == ("noise", "gain", "reverb", "clipping")


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_is_corrupted_alike_whichever_others_are_there(kind: str) -> None:
    items = plain(kind)
    for name in corruptions_of(kind, sample_rate=RATE):
        whole = corrupted(items, name, severity=3, seed=7, sample_rate=RATE)
        part = corrupted(items.subset([4, 1]), name, severity=3, seed=7, sample_rate=RATE)
        assert alike(part.inputs[0], whole.inputs[4])
        assert alike(part.inputs[1], whole.inputs[1])
        assert part.digests == (whole.digests[4], whole.digests[1])
        assert len({*whole.digests, *items.digests}) == 10


def test_items_differ_in_their_noise_and_seeds_change_it() -> None:
    grey = [np.full((16, 16, 3), 128, np.uint8)] * 2
    items = plain_inputs(items_from(grey, "image"))
    first = corrupted(items, "gaussian_noise", severity=2, seed=0)
    other = corrupted(items, "gaussian_noise", severity=2, seed=1)
    assert not alike(first.inputs[0], first.inputs[1])
    assert not alike(first.inputs[0], other.inputs[0])


def test_a_text_is_corrupted_as_its_function_does_it() -> None:
    found = corrupted(plain("text"), "truncation", severity=3, seed=0)
    assert found.inputs == [corrupt_text(one, "truncation", severity=3, seed=0) for one in TEXTS]


@pytest.mark.parametrize(
    ("shape", "becomes"),
    [((12, 10), (12, 10)), ((4, 6), (8, 12)), ((448, 896), (LARGEST_SIDE, 2 * LARGEST_SIDE))],
)
def test_images_are_brought_to_a_size_that_can_be_corrupted(
    shape: tuple[int, int], becomes: tuple[int, int]
) -> None:
    items = plain_inputs(items_from([np.full((*shape, 3), 77, np.uint8)], "image"))
    assert items.inputs[0].shape == (*becomes, 3)
    assert np.all(items.inputs[0] == 77)


@pytest.mark.parametrize("kind", KINDS)
def test_outliers_are_as_many_as_the_items_and_repeat(kind: str) -> None:
    for name in built_in(kind):
        first, again = (made_outliers(plain(kind), name, seed=3) for _ in range(2))
        assert len(first) == len(KINDS[kind])
        assert all(alike(a, b) for a, b in zip(first.inputs, again.inputs, strict=True))
        assert first.digests == again.digests
        assert not set(first.digests) & set(plain(kind).digests)
        assert np.all(first.labels == -1)


def test_shuffled_patches_keep_the_pixels_and_shuffled_letters_the_letters() -> None:
    for image, mixed in zip(
        IMAGES, made_outliers(plain("image"), "shuffled patches", seed=0).inputs, strict=True
    ):
        whole = image[:12, :8]  # what does not fill four patches by side is left out
        assert mixed.shape == whole.shape
        assert not alike(mixed, whole)
        assert Counter(map(bytes, mixed.reshape(-1, 3))) == Counter(
            map(bytes, whole.reshape(-1, 3))
        )
    for text, mixed in zip(
        TEXTS, made_outliers(plain("text"), "shuffled letters", seed=0).inputs, strict=True
    ):
        assert Counter(mixed) == Counter(text)
    words = {word for text in TEXTS for word in text.split()}
    salad = made_outliers(plain("text"), "word salad", seed=0).inputs
    assert {word for text in salad for word in text.split()} <= words


def test_labelled_items_of_the_source_are_drawn_by_class() -> None:
    items = some_labelled("zoo:digits", kind="image", seed=0, allow_bad=False)
    counts = np.bincount(items.labels)
    assert abs(len(items) - MOST_ITEMS) < 10
    assert counts.max() - counts.min() < 10
    again = some_labelled("zoo:digits", kind="image", seed=0, allow_bad=False)
    assert items.ids == again.ids


def test_a_source_of_another_kind_is_refused() -> None:
    with pytest.raises(DataError, match="zoo:digits: it holds images, texts are needed"):
        some_labelled("zoo:digits", kind="text", seed=0, allow_bad=False)
