from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from regraft.errors import ConfigError, ShapeError
from regraft.tasks.corruptions.blur import convolved, disc, line
from regraft.tasks.corruptions.digital import averaged
from regraft.tasks.corruptions.images import IMAGE_CORRUPTIONS, corrupt_image
from regraft.tasks.corruptions.severity import SEVERITIES
from regraft.tasks.corruptions.sounds import SOUND_CORRUPTIONS, corrupt_sound
from regraft.tasks.corruptions.texts import TEXT_CORRUPTIONS, corrupt_text

SHAPES = [(8, 8, 1), (8, 8, 3), (32, 24, 3), (64, 64, 3)]
SENTENCE = "The old Apple tree by the Gate was grafted in spring, and it bears two kinds of fruit. "
LETTERS = st.text(st.characters(categories=("L", "Nd", "Zs", "Po")), max_size=40)


def scene(seed: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return an image of soft colours, fine texture and boxes with sharp edges."""
    random = np.random.default_rng(seed)
    height, width, _ = shape
    soft = gaussian_filter(random.normal(size=shape), (height / 8, width / 8, 0))
    fine = gaussian_filter(random.normal(size=shape), (1, 1, 0))
    image = soft / soft.std() + 0.5 * fine / fine.std()
    image = (image - image.min()) / np.ptp(image)
    for _ in range(3):
        top, left = random.integers(0, height - 3), random.integers(0, width - 3)
        down, right = random.integers(2, height // 2 + 1), random.integers(2, width // 2 + 1)
        image[top : top + down, left : left + right] = random.random(shape[2])
    return np.rint(255 * image).astype(np.uint8)


def sound(seed: int = 0, n: int = 4000) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    time = np.arange(n) / 16_000
    tones = sum(random.random() * np.sin(2 * np.pi * f * time) for f in (220, 440, 1000))
    return (np.exp(-8 * time) * tones).astype(np.float32)


def test_the_fifteen_kinds_are_those_of_the_benchmark() -> None:
    assert len(IMAGE_CORRUPTIONS) == 15
    assert len(TEXT_CORRUPTIONS) == len(SOUND_CORRUPTIONS) == 4


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", IMAGE_CORRUPTIONS)
def test_the_mean_change_of_images_grows_with_severity(
    name: str, shape: tuple[int, int, int]
) -> None:
    images = [scene(seed, shape) for seed in range(max(4, 96 // shape[0]))]
    changes = [
        np.mean(
            [
                np.abs(corrupt_image(image, name, severity=severity, seed=i).astype(int) - image)
                for i, image in enumerate(images)
            ]
        )
        for severity in SEVERITIES
    ]
    assert changes[0] > 1.0
    assert all(low < high for low, high in pairwise(changes)), changes


@settings(max_examples=60)
@given(
    st.sampled_from(IMAGE_CORRUPTIONS),
    st.sampled_from(SEVERITIES),
    st.tuples(st.integers(8, 40), st.integers(8, 40), st.sampled_from([1, 3])),
    st.integers(0, 5),
)
def test_shape_and_dtype_stay_and_the_seed_decides(
    name: str, severity: int, shape: tuple[int, int, int], seed: int
) -> None:
    image = scene(seed, shape)
    before = image.copy()
    once = corrupt_image(image, name, severity=severity, seed=seed)
    assert (once.shape, once.dtype) == (shape, np.uint8)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(once, corrupt_image(image, name, severity=severity, seed=seed))


@pytest.mark.parametrize("name", IMAGE_CORRUPTIONS)
def test_another_seed_gives_another_image_where_anything_is_random(name: str) -> None:
    image = scene(1, (24, 24, 3))
    first, *others = (corrupt_image(image, name, severity=3, seed=seed) for seed in (0, 1, 2))
    differs = [bool((other != first).any()) for other in others]
    fixed = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg"}
    assert differs == [name not in fixed] * 2


@pytest.mark.parametrize("name", IMAGE_CORRUPTIONS)
@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_images_are_no_trap(name: str, level: int) -> None:
    image = np.full((9, 12, 3), level, np.uint8)
    with np.errstate(all="raise"):
        corrupted = corrupt_image(image, name, severity=5, seed=0)
    if name.endswith("blur") or name in {"contrast", "elastic", "pixelate"}:
        np.testing.assert_array_equal(corrupted, image)


def test_blur_kernels_are_means() -> None:
    """A kernel that sums to 1 leaves a plane as it is and spreads a point over itself."""
    for kernel in (disc(0.6), disc(3.2), line(1.0, 0.3), line(9.0, 1.0)):
        assert kernel.sum() == pytest.approx(1.0)
        assert kernel.min() >= 0
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
        point = np.zeros((41, 41, 1))
        point[20, 20] = 1.0
        at = slice(20 - kernel.shape[0] // 2, 21 + kernel.shape[0] // 2)
        np.testing.assert_allclose(convolved(point, kernel)[at, at, 0], kernel, atol=1e-12)
    assert (disc(3.2) > 0).sum() == pytest.approx(np.pi * 3.7**2, rel=0.15)
    assert disc(0.4).shape == (1, 1)


def test_noise_has_the_spread_that_was_asked() -> None:
    grey = np.full((200, 200, 1), 128, np.uint8)
    noisy = corrupt_image(grey, "gaussian_noise", severity=1, seed=0) / 255
    assert noisy.std() == pytest.approx(0.08, abs=0.002)
    counted = corrupt_image(grey, "shot_noise", severity=1, seed=0) / 255
    assert counted.std() == pytest.approx(np.sqrt(128 / 255 / 60), abs=0.002)
    struck = corrupt_image(grey, "impulse_noise", severity=5, seed=0)
    assert (struck == 0).mean() == pytest.approx(0.135, abs=0.01)
    assert (struck == 255).mean() == pytest.approx(0.135, abs=0.01)


def test_contrast_and_brightness_have_their_closed_forms() -> None:
    image = scene(2, (16, 16, 3))
    mean = image.mean(axis=(0, 1))
    flat = corrupt_image(image, "contrast", severity=2, seed=0)
    np.testing.assert_allclose(flat, mean + 0.3 * (image - mean), atol=0.51)
    raised = corrupt_image(image, "brightness", severity=1, seed=0)
    value = np.minimum(255, image.max(axis=2) + 25.5)
    np.testing.assert_allclose(raised.max(axis=2), value, atol=0.51)


def test_pixels_become_the_means_of_their_cells() -> None:
    image = scene(3, (8, 8, 1)).astype(float)
    cells = averaged(averaged(image, 4, axis=0), 4, axis=1)
    slow = image.reshape(4, 2, 4, 2, 1).mean(axis=(1, 3)).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_allclose(cells, slow)
    uneven = averaged(image[:, :1], 3, axis=0)
    assert len(np.unique(uneven)) == 3
    assert uneven.mean() == pytest.approx(image[:, :1].mean())


def text_change(name: str, severity: int) -> float:
    """Return the share of characters changed or lost over some seeds."""
    text = SENTENCE * 4
    lost = [corrupt_text(text, name, severity=severity, seed=seed) for seed in range(6)]
    if name in {"typos", "case"}:
        return float(
            np.mean([np.mean([a != b for a, b in zip(text, t, strict=True)]) for t in lost])
        )
    return float(np.mean([1 - len(t) / len(text) for t in lost]))


@pytest.mark.parametrize("name", TEXT_CORRUPTIONS)
def test_the_change_of_texts_grows_with_severity(name: str) -> None:
    changes = [text_change(name, severity) for severity in SEVERITIES]
    assert changes[0] > 0
    assert all(low < high for low, high in pairwise(changes)), changes


@given(LETTERS, st.sampled_from(TEXT_CORRUPTIONS), st.sampled_from(SEVERITIES), st.integers(0, 99))
def test_texts_keep_what_they_must(text: str, name: str, severity: int, seed: int) -> None:
    found = corrupt_text(text, name, severity=severity, seed=seed)
    assert found == corrupt_text(text, name, severity=severity, seed=seed)
    assert bool(found.strip()) or not text.strip() or name == "truncation"
    if name in {"typos", "case"}:
        assert len(found) == len(text)
        assert [one.isspace() for one in found] == [one.isspace() for one in text]
    else:
        assert len(found) <= len(text)
        assert bool(found) == bool(text)
    if name == "case":
        assert all(new in (old, old.swapcase()) for new, old in zip(found, text, strict=True))
    if name == "truncation":
        assert text.startswith(found)
    if name == "word_drop":
        words = iter(text.split(" "))
        assert all(word in words for word in found.split(" "))


def test_typing_errors_are_neighbours_on_the_keyboard_or_exchanged() -> None:
    found = corrupt_text("a" * 200, "typos", severity=5, seed=0)
    assert set(found) == {"a", "s"}
    assert corrupt_text("12 34!", "typos", severity=5, seed=0) == "12 34!"
    struck = corrupt_text("ABC DEF " * 20, "typos", severity=5, seed=1)
    assert struck.isupper()
    assert sorted(corrupt_text("ЖЩ" * 50, "typos", severity=5, seed=0)) == sorted("ЖЩ" * 50)


@pytest.mark.parametrize("name", SOUND_CORRUPTIONS)
def test_the_change_of_sounds_grows_with_severity(name: str) -> None:
    clean = sound()
    changes = [
        float(np.abs(corrupt_sound(clean, name, severity=s, seed=0) - clean).mean())
        for s in SEVERITIES
    ]
    assert changes[0] > 0
    assert all(low < high for low, high in pairwise(changes)), changes


@pytest.mark.parametrize("name", SOUND_CORRUPTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(400,), (2, 400), (2,)])
def test_sounds_keep_shape_and_dtype_and_the_seed_decides(
    name: str, dtype: type[np.floating], shape: tuple[int, ...]
) -> None:
    clean = np.random.default_rng(0).normal(size=shape).astype(dtype)
    once = corrupt_sound(clean, name, severity=4, seed=3)
    assert (once.shape, once.dtype) == (shape, dtype)
    assert np.isfinite(once).all()
    np.testing.assert_array_equal(once, corrupt_sound(clean, name, severity=4, seed=3))
    if name in {"noise", "reverb"}:
        assert (once != corrupt_sound(clean, name, severity=4, seed=4)).any()


@pytest.mark.parametrize("name", SOUND_CORRUPTIONS)
def test_louder_sounds_are_corrupted_alike_and_silence_stays(name: str) -> None:
    clean = sound().astype(np.float64)
    loud = corrupt_sound(8 * clean, name, severity=3, seed=0)
    np.testing.assert_allclose(loud, 8 * corrupt_sound(clean, name, severity=3, seed=0), atol=1e-9)
    silence = corrupt_sound(np.zeros(50), name, severity=3, seed=0)
    np.testing.assert_array_equal(silence, np.zeros(50))


def test_sounds_lose_what_was_asked() -> None:
    clean = sound(n=16_000).astype(np.float64)
    quieter = corrupt_sound(clean, "gain", severity=2, seed=0)
    assert 20 * np.log10(clean.std() / quieter.std()) == pytest.approx(12.0)
    noise = corrupt_sound(clean, "noise", severity=3, seed=0) - clean
    ratio = (clean**2).mean() / (noise**2).mean()
    assert 10 * np.log10(ratio) == pytest.approx(12.0, abs=0.2)
    clipped = corrupt_sound(clean, "clipping", severity=3, seed=0)
    assert np.abs(clipped).max() == pytest.approx(0.25 * np.abs(clean).max())
    click = np.zeros(16_000)
    click[0] = 1.0
    echoes = corrupt_sound(click, "reverb", severity=3, seed=0)
    assert echoes[0] == pytest.approx(1.0)
    assert (echoes[1:] ** 2).sum() == pytest.approx(0.7**2, rel=1e-6)
    early, late = (echoes[1:] ** 2)[:1120].sum(), (echoes[1:] ** 2)[1120:2240].sum()
    assert 10 * np.log10(early / late) == pytest.approx(6.0, abs=1.0)  # 60 dB in 0.7 s


@pytest.mark.parametrize("severity", [0, 6, -1])
def test_what_is_no_severity_is_refused(severity: int) -> None:
    with pytest.raises(ConfigError, match=f"severity {severity} of 'fog' is none of 1, 2, 3, 4, 5"):
        corrupt_image(scene(0, (8, 8, 3)), "fog", severity=severity, seed=0)
    with pytest.raises(ConfigError, match="of 'case' is none"):
        corrupt_text("x", "case", severity=severity, seed=0)
    with pytest.raises(ConfigError, match="of 'gain' is none"):
        corrupt_sound(sound(), "gain", severity=severity, seed=0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown corruption 'frogs'\. Did you mean 'frost'"):
        corrupt_image(scene(0, (8, 8, 3)), "frogs", severity=1, seed=0)
    with pytest.raises(ShapeError, match=r"float64 \(8, 8, 3\) is no image"):
        corrupt_image(np.zeros((8, 8, 3)), "fog", severity=1, seed=0)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"uint8 \(8, 8\) is no image"):
        corrupt_image(np.zeros((8, 8), np.uint8), "fog", severity=1, seed=0)
    with pytest.raises(ShapeError, match="8 × 7 pixels are too few"):
        corrupt_image(np.zeros((8, 7, 3), np.uint8), "fog", severity=1, seed=0)
    with pytest.raises(ShapeError, match=r"int64 \(9,\) is no sound"):
        corrupt_sound(np.arange(9), "gain", severity=1, seed=0)  # type: ignore[type-var]
    with pytest.raises(ShapeError, match="1 samples at 16000"):
        corrupt_sound(np.zeros(1), "gain", severity=1, seed=0)
