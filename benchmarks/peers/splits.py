"""The parts of a task, as files that both sides read: train, validation, sealed test."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

SENTENCES = 1000
VALIDATION = 0.2


def split(task: str, data: Path, folder: Path, *, seed: int, few: int | None = None) -> Path:
    """Write a task's parts below `folder`, unless they are there; return where.

    Args:
        task: ``sst2`` or ``flowers5``.
        data: Folder of the data sets.
        folder: Of what is written.
        seed: Of which items train and validate; the test part is the same for all seeds.
        few: Items that train; a third of it in each other part. None takes all of them (of sst2
            1,000 sentences train).
    """
    place = folder / (f"parts-{seed}" if few is None else f"parts-{seed}-few{few}")
    if not place.exists():
        part = place.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        if task == "sst2":
            _sentences(data / task, part, seed, few)
        else:
            _images(_unpacked(task, data, folder), part, seed, few)
        part.rename(place)
    return place


def _sentences(source: Path, place: Path, seed: int, few: int | None) -> None:
    generator = np.random.default_rng(seed)
    held = None if few is None else few // 3
    for part, most in (("train", few or SENTENCES), ("dev", held), ("test", held)):
        lines = (source / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
        if part == "train":
            lines = [lines[i] for i in generator.permutation(len(lines))]
        rows = [json.loads(line) for line in lines[:most]]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (place / f"{part}.jsonl").write_text(text, encoding="utf-8")


def _unpacked(task: str, data: Path, folder: Path) -> Path:
    """Return the folder of all images, train and val, a folder per class."""
    place = folder / "images"
    if not place.exists():
        part = place.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        command = [sys.executable, str(data / "load.py"), "unpack", task, str(part)]
        subprocess.run(command, check=True)
        part.rename(place)
    return place


def _images(source: Path, place: Path, seed: int, few: int | None) -> None:
    """Link the images: of each class 80 % of `train` train, 20 % validate; `val` is the test."""
    generator = np.random.default_rng(seed)
    for folder in sorted((source / "train").iterdir()):
        files = sorted(folder.iterdir())
        files = [files[i] for i in generator.permutation(len(files))]
        n = round(VALIDATION * len(files))
        parts = {"val": files[:n], "train": files[n:]}
        parts["test"] = sorted((source / "val" / folder.name).iterdir())
        for part, chosen in parts.items():
            most = None if few is None else max(2, few // (5 if part == "train" else 15))
            below = place / part / folder.name
            below.mkdir(parents=True)
            for file in chosen[:most]:
                (below / file.name).symlink_to(file.resolve())
