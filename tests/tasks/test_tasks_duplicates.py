from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from regraft.tasks import looks as sieve
from regraft.tasks.duplicates import clusters, normalised_text
from regraft.tasks.looks import Look, look_at, near_pairs
from regraft.tasks.registration import agreement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def looks(images: Sequence[Image.Image]) -> list[Look]:
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
    "cropped by 2 %": lambda image: image.crop((0, 1, image.width - 2, image.height - 1)),
    "cropped, halved and saved": lambda image: as_jpeg(
        image.crop((2, 0, image.width, image.height - 2)).resize((47, 47))
    ),
    "stretched": lambda image: image.resize((2 * image.width, image.height)),
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
    assert not any(look.is_telling for look in looks([*walls, *digits]))
    assert clusters(["a", "b"], looks(digits)).tolist() == [0, 1]


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
        for _ in range(600)
    ]
    assert set(clusters([str(i) for i in range(600)], looks(burst)).tolist()) == {0}


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_items_of_one_key_share_the_first_of_them(keys: list[int]) -> None:
    names = [str(key) for key in keys]
    assert clusters(names, None).tolist() == [names.index(name) for name in names]


def family(photo_of: Callable[..., Image.Image]) -> list[Look]:
    """Return 18 photos, and of every third a copy cropped by 1 to 4 %."""
    photos = [photo_of(seed, side=100) for seed in range(18)]
    copies = [one.crop((0, 0, 99 - i % 4, 100)) for i, one in enumerate(photos[::3])]
    return looks([*photos, *copies])


def pairs_of(images: Sequence[Look]) -> set[tuple[int, int]]:
    return {tuple(sorted(pair)) for some in near_pairs(images) for pair in some.tolist()}


def test_the_sieve_loses_no_pair_that_brute_force_finds(
    photo_of: Callable[..., Image.Image],
) -> None:
    images = family(photo_of)
    one, two = np.triu_indices(len(images), 1)
    pictures = np.stack([look.thumbnail for look in images]).astype(np.float32)
    alike = agreement(pictures[one], pictures[two]) >= 0.98
    expected = set(zip(one[alike].tolist(), two[alike].tolist(), strict=True))
    assert pairs_of(images) == expected == {(3 * i, 18 + i) for i in range(6)}


@pytest.mark.parametrize("seed", range(3))
def test_near_pairs_do_not_depend_on_the_order(
    photo_of: Callable[..., Image.Image], seed: int
) -> None:
    images = family(photo_of)
    order = np.random.default_rng(seed).permutation(len(images))
    moved = pairs_of([images[i] for i in order])
    assert {tuple(sorted((order[i], order[j]))) for i, j in moved} == pairs_of(images)


@pytest.mark.parametrize("dense", [0.0, 1.0])
def test_both_ways_of_sieving_give_the_same_pairs(
    photo_of: Callable[..., Image.Image], monkeypatch: pytest.MonkeyPatch, dense: float
) -> None:
    expected = pairs_of(family(photo_of))
    monkeypatch.setattr(sieve, "_DENSE", dense)
    monkeypatch.setattr(sieve, "_ROWS", 7)
    monkeypatch.setattr(sieve, "_COLUMNS", 11)
    assert pairs_of(family(photo_of)) == expected


def test_at_most_8_pairs_an_image_are_registered(photo_of: Callable[..., Image.Image]) -> None:
    burst = looks([photo_of(1)]) * 100
    pairs = np.concatenate(list(near_pairs(burst)))
    assert np.bincount(pairs[:, 0]).max() == 8
    assert set(clusters([str(i) for i in range(100)], burst).tolist()) == {0}


@pytest.mark.parametrize(("shift", "stretch"), [(0.0, 0.0), (2.5, 0.0), (-1.5, 0.04)])
def test_registration_undoes_shift_and_stretch(
    photo_of: Callable[..., Image.Image], shift: float, stretch: float
) -> None:
    whole = photo_of(5, side=96).convert("L")
    part = whole.resize((64, 64), Image.Resampling.BICUBIC, box=(16, 16, 80, 80))
    side = 64 * (1 - stretch)
    box = (16 + shift, 16, 16 + shift + side, 16 + side)
    other = whole.resize((64, 64), Image.Resampling.BICUBIC, box=box)
    one, two = (np.asarray(image, np.float32)[None] for image in (part, other))
    assert agreement(one, two)[0] > 0.995
    assert agreement(one, 40.0 + 0.5 * two)[0] > 0.995
    assert agreement(one, 255.0 - two)[0] < 0.5


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
        ("do n't , ever .", "Don't, ever.", True),
        ("a well-known film", "a wellknown film", True),
        ("costs 1.5", "costs 15", False),
        ("won 3-0", "won 30", False),
    ],
)
def test_texts_are_the_same_but_for_case_punctuation_and_spacing(
    one: str, other: str, same: bool
) -> None:
    assert (normalised_text(one) == normalised_text(other)) is same
