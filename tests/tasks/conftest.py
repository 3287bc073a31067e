from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class WritePhotos(Protocol):
    def __call__(self, counts: Mapping[str, int], *, side: int = 12) -> Path: ...


def photo(seed: int, *, side: int = 64) -> Image.Image:
    """Return smooth coloured noise: no two seeds look alike, and JPEG hardly changes it."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def write_photos(tmp_path: Path) -> WritePhotos:
    """Write so many different photos into each folder named, below `data`."""

    def write(counts: Mapping[str, int], *, side: int = 12) -> Path:
        seed = 0
        for name, count in counts.items():
            folder = tmp_path / "data" / name
            folder.mkdir(parents=True)
            for number in range(count):
                photo(seed, side=side).save(folder / f"{number}.png")
                seed += 1
        return tmp_path / "data"

    return write


@pytest.fixture
def photo_of() -> Callable[..., Image.Image]:
    """Return the maker of photos itself."""
    return photo


@pytest.fixture
def hollow_png() -> Callable[[int], bytes]:
    """Return the maker of PNGs that promise so many pixels a side and hold none."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    def make(side: int) -> bytes:
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        return (
            b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        )

    return make
