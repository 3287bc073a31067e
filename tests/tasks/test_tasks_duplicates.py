from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from regraft.tasks.duplicates import Look, clusters, look_at, normalised_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def looks(images: Sequence[Image.Image]) -> list[Look | None]:
    return [look_at(np.asarray(image)) for image in images]


def as_jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved again as a JPEG": as_jpeg,
    "half as large": lambda image: image.resize((image.width // 2, image.height // 2)),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_changed_copy_is_found_among_many(
    photo_of: Callable[..., Image.Image], change: str
) -> None:
    images = [photo_of(seed, side=96) for seed in range(60)]
    images.append(CHANGES[change](images[7]))
    found = clusters([str(i) for i in range(61)], looks(images))
    assert found.tolist() == [*range(60), 7]


def test_different_photos_are_no_duplicates(photo_of: Callable[..., Image.Image]) -> None:
    images = [photo_of(seed) for seed in range(400)]
    found = clusters([str(i) for i in range(400)], looks(images))
    assert found.tolist() == list(range(400))


def test_flat_and_tiny_images_are_never_near_duplicates() -> None:
    walls = [Image.new("RGB", (64, 64), (200, 200, tone)) for tone in range(100, 120)]
    digits = [Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8))] * 2
    assert looks(walls) == [None] * 20
    assert looks(digits) == [None] * 2


def test_white_pages_with_different_small_drawings_are_no_duplicates() -> None:
    pages = []
    for row in range(6):
        page = np.full((96, 96, 3), 255, np.uint8)
        page[10 + 12 * row : 22 + 12 * row, 20:80] = 0
        pages.append(Image.fromarray(page))
    assert clusters([str(i) for i in range(6)], looks(pages)).tolist() == list(range(6))


def test_a_burst_of_many_alike_frames_is_one_cluster(photo_of: Callable[..., Image.Image]) -> None:
    frame = np.asarray(photo_of(1)).astype(np.int16)
    noise = np.random.default_rng(0)
    burst = [
        Image.fromarray(
            np.clip(frame + noise.integers(-3, 4, frame.shape), 0, 255).astype(np.uint8)
        )
        for _ in range(1500)
    ]
    assert set(clusters([str(i) for i in range(1500)], looks(burst)).tolist()) == {0}


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_items_of_one_key_share_the_first_of_them(keys: list[int]) -> None:
    names = [str(key) for key in keys]
    assert clusters(names, None).tolist() == [names.index(name) for name in names]


@given(
    st.lists(st.tuples(st.integers(0, 1), st.sets(st.integers(0, 255), max_size=12)), max_size=40)
)
def test_near_pairs_are_those_of_brute_force(drawn: list[tuple[int, set[int]]]) -> None:
    """The bands must miss no pair: compare with all pairs, joined by a plain search."""
    base = np.random.default_rng(3).integers(0, 2, (2, 256), dtype=np.uint8)
    bits = []
    for which, flips in drawn:
        row = base[which].copy()
        row[list(flips)] ^= 1
        bits.append(row)
    thumbnail = np.arange(1024).astype(np.uint8)
    found = clusters(
        [str(i) for i in range(len(bits))], [Look(np.packbits(row), thumbnail) for row in bits]
    )
    expected = list(range(len(bits)))
    for _ in bits:
        for i, one in enumerate(bits):
            for j, other in enumerate(bits):
                if (one != other).sum() <= 15:
                    expected[i] = expected[j] = min(expected[i], expected[j])
    assert found.tolist() == expected


def test_images_alike_by_hash_alone_are_no_duplicates() -> None:
    bits = np.zeros(32, np.uint8)
    up, down = np.arange(1024).astype(np.uint8), np.arange(1024)[::-1].astype(np.uint8)
    assert clusters(["a", "b"], [Look(bits, up), Look(bits, down)]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("A good film!", "a  good film", True),
        ("café", "cafe\u0301", True),
        ("Straße", "STRASSE", True),
        ("ＡＢＣ", "abc", True),
        ("good", "bad", False),
        ("कि", "का", False),
        ("great 😀", "great 😡", False),
    ],
)
def test_texts_are_the_same_but_for_case_punctuation_and_spacing(
    one: str, other: str, same: bool
) -> None:
    assert (normalised_text(one) == normalised_text(other)) is same
