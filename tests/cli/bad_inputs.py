"""What people give by mistake: each function writes it into a folder and returns the command."""

from __future__ import annotations

import json
import struct
import zlib
from shutil import copytree
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

GLYPHS = ("--backbone", "zoo:glyphs")

Arguments = list[object]


def photos(folder: Path, counts: Mapping[str, int]) -> Path:
    """Write so many small images, no two alike, into each folder named."""
    draws = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = draws.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def spoilt_photos(folder: Path, spoil: Callable[[bytes], bytes], *, n_bad: int = 20) -> Path:
    """Write 20 images, and spoil so many of them."""
    photos(folder, {"ants": 10, "bees": 10})
    for path in sorted(folder.rglob("*.png"))[:n_bad]:
        path.write_bytes(spoil(path.read_bytes()))
    return folder


def poster(folder: Path) -> Path:
    """Write images of which one promises 30,000 by 30,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    photos(folder, {"ants": 5, "bees": 5})
    size = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b""))
    file = b"\x89PNG\r\n\x1a\n" + size + pixels + chunk(b"IEND", b"")
    (folder / "ants" / "poster.png").write_bytes(file)
    return folder


def table(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    """Write lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def texts(path: Path, label: Callable[[int], object], n: int = 40) -> Path:
    """Write a table of texts with labels."""
    return table(path, "text,label", *(f"one two three {i},{label(i)}" for i in range(n)))


def sound_texts(path: Path) -> Path:
    """Write a table with nothing wrong."""
    return texts(path, lambda i: "ab"[i % 2])


def parts(folder: Path, test_label: str) -> Path:
    """Write a folder of train and test tables."""
    texts(folder / "train.csv", lambda i: ["cat", "dog"][i % 2])
    table(folder / "test.csv", "text,label", "a new one,cat", f"another one,{test_label}")
    return folder


def protocol(path: Path, text: str) -> Path:
    """Write a protocol file."""
    return table(path, "name: mine", text)


def study(path: Path, *lines: str) -> Path:
    """Write a study file on embedded data; `lines` are added."""
    return table(path, "task: {data: zoo:digits}", "backbones: [zoo:glyphs]", *lines)


def spoilt_backbone(folder: Path, sound: str, spoil: Callable[[Path], object]) -> Arguments:
    """Copy a backbone and spoil it; return a command that uses it."""
    copy = copytree(sound, folder / "backbone")
    spoil(copy)
    return ["run", photos(folder / "data", {"a": 9, "b": 9}), "--backbone", copy]


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def misfit(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 40}))


class RunsCode:
    """What, unpickled, would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self.path).touch, (self.path,))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": RunsCode(folder / "ran")}, folder / "pytorch_model.bin")


def python_backbone(folder: Path) -> str:
    """Write a module that leaves a file when it is imported; return its reference."""
    code = f"from pathlib import Path\nPath({str(folder / 'ran')!r}).touch()\n"
    (folder / "theirs.py").write_text(code, encoding="utf-8")
    save_file({"weight": torch.zeros(1)}, folder / "w.safetensors")
    return f"python:{folder}/theirs.py:net@{folder}/w.safetensors"
