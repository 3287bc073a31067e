from __future__ import annotations

import io
import random
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regraft.errors import DataError
from regraft.tasks.images import MAX_PIXELS, REDUCED, decode, quiet_pillow, size_of
from regraft.tasks.items import items_from

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GREY = np.full((4, 6), 128, np.uint8)
RED = np.zeros((4, 6, 3), np.uint8) + np.array([255, 0, 0], np.uint8)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_rgb_comes_back_as_it_is() -> None:
    pixels, notes = decode(encoded(Image.fromarray(RED)))
    assert np.array_equal(pixels, RED)
    assert notes == ()


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "HSV"])
def test_other_modes_become_rgb_and_are_noted(mode: str) -> None:
    pixels, notes = decode(Image.fromarray(RED).convert(mode))
    assert pixels.shape == (4, 6, 3)
    assert notes == (f"{mode} to RGB",)


def test_a_cmyk_jpeg_keeps_its_colour() -> None:
    pixels, notes = decode(encoded(Image.fromarray(RED).convert("CMYK"), "JPEG"))
    assert np.abs(pixels.astype(int) - RED).max() <= 8
    assert notes == ("CMYK to RGB",)


@pytest.mark.parametrize(
    ("value", "expected"), [(65535, 255), (32896, 128), (4095, 255), (200, 200)]
)
def test_sixteen_bits_are_scaled_by_what_they_hold(value: int, expected: int) -> None:
    pixels, notes = decode(encoded(Image.fromarray(np.full((3, 3), value, np.uint16))))
    assert np.unique(pixels).tolist() == [expected]
    assert notes == ("16 or 32 bits scaled to 8",)


def test_transparency_lies_over_white() -> None:
    half = np.dstack([RED, np.full((4, 6), 0, np.uint8)])
    pixels, notes = decode(encoded(Image.fromarray(half)))
    assert np.unique(pixels).tolist() == [255]
    assert notes == ("transparent: over white",)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    pixels, notes = decode(data)
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert "several frames: the first" in notes


def test_an_image_is_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels, notes = decode(encoded(Image.fromarray(RED), "JPEG", exif=exif))
    assert pixels.shape == (6, 4, 3)
    assert notes == ("turned by its EXIF orientation",)


def test_a_large_jpeg_is_read_at_reduced_size(tmp_path: Path) -> None:
    file = tmp_path / "large.jpg"
    Image.new("RGB", (4200, 2100), "red").save(file)
    pixels, notes = decode(file)
    assert pixels.shape == (1050, 2100, 3)
    assert notes == (REDUCED,)
    assert size_of(file) == (4200, 2100)


@pytest.mark.parametrize("side", [10_000, 30_000])
def test_an_image_of_too_many_pixels_is_refused_from_its_header(
    hollow_png: Callable[[int], bytes], side: int
) -> None:
    data = hollow_png(side)
    tracemalloc.start()
    with quiet_pillow(), pytest.raises(DataError, match=r"pixels are too many; at most 80 megapix"):
        decode(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert MAX_PIXELS == 80_000_000
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an image"),
        (b"hello", "not an image"),
        (encoded(Image.fromarray(RED).resize((90, 90)), "JPEG")[:400], "the image is damaged"),
    ],
)
def test_what_cannot_be_decoded_is_said(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode(data)


def test_a_file_without_its_pixels_is_damaged(hollow_png: Callable[[int], bytes]) -> None:
    with pytest.raises(DataError, match="the image is damaged"):
        decode(hollow_png(50))


@given(seed=st.integers(0, 2**32))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "PPM"])
def test_damaged_files_end_in_a_data_error_or_in_pixels(form: str, seed: int) -> None:
    draw = random.Random(seed)
    data = bytearray(encoded(Image.fromarray(RED).resize((40, 30)), form))
    for _ in range(draw.choice([1, 4, 12])):
        data[draw.randrange(len(data))] = draw.randrange(256)
    with quiet_pillow():
        try:
            pixels, _ = decode(bytes(data[: draw.randrange(1, 2 * len(data))]))
        except DataError:
            return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3


@pytest.mark.parametrize(
    "array",
    [GREY, GREY[..., None], RED, np.dstack([RED, GREY]), GREY / 255.0, GREY.astype(np.int64)],
    ids=["grey", "one channel", "colour", "four channels", "shares", "integers"],
)
def test_arrays_of_any_form_become_rgb(array: np.ndarray[Any, Any]) -> None:
    pixels, _ = decode(array)
    assert pixels.shape == (4, 6, 3)
    assert pixels.dtype == np.uint8


def test_shares_and_integers_give_the_same_pixels() -> None:
    assert np.array_equal(decode(GREY)[0], decode(GREY / 255.0)[0])


def test_channels_first_is_refused() -> None:
    with pytest.raises(DataError, match=r"not \(3, 4, 6\). Put the channels last"):
        decode(np.moveaxis(RED, -1, 0))


def test_nan_in_an_image_is_refused() -> None:
    with pytest.raises(DataError, match="NaN or infinity"):
        decode(np.full((3, 3), np.nan))


def test_items_read_paths_pixels_and_encoded_files_alike(tmp_path: Path) -> None:
    Image.fromarray(RED).save(tmp_path / "red.png")
    file = np.frombuffer(encoded(Image.fromarray(RED)), np.uint8)
    items = items_from([str(tmp_path / "red.png"), RED, file], "image")
    assert all(np.array_equal(items.read(i), RED) for i in range(3))


def test_an_item_that_went_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: cannot be read \(No such file"):
        items_from([tmp_path / "gone.png"], "image")
