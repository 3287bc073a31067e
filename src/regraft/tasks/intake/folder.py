"""A folder per class, or parts with a folder per class in each."""

from __future__ import annotations

from pathlib import Path

from regraft.errors import DataError
from regraft.tasks.images import SUFFIXES
from regraft.tasks.intake.rows import PART_NAMES, Part, Rows


def has_images(folder: Path) -> bool:
    """Whether there is an image anywhere below a folder."""
    return any(p.suffix.lower() in SUFFIXES for p in folder.rglob("*"))


def read_image_folder(folder: Path) -> Rows:
    """Read a folder of images, a folder per class, perhaps train/val/test on top.

    Raises:
        DataError: There are no images, or they do not lie in class folders.
    """
    parts = {p.name.lower(): p for p in _folders(folder) if p.name.lower() in PART_NAMES}
    if not parts:
        return _classes(folder, folder, "")
    if "train" not in parts and "training" not in parts:
        raise DataError(
            f"it has {', '.join(sorted(parts))} but no train folder. Add one, or put the class "
            "folders on top.",
            where=str(folder),
        )
    strays = [p.name for p in _folders(folder) if p.name.lower() not in PART_NAMES]
    rows = Rows("image")
    for name, place in sorted(parts.items()):
        rows.extend(_classes(folder, place, PART_NAMES[name]))
    if strays:
        rows.notes.append(f"folders beside the parts were left out: {', '.join(strays[:3])}")
    return rows


def list_images(place: Path) -> list[Path]:
    """Return the image files below a folder, sorted by path."""
    return sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def _classes(root: Path, place: Path, part: Part) -> Rows:
    rows = Rows("image")
    for folder in _folders(place):
        for file in list_images(folder):
            rows.inputs.append(file)
            rows.labels.append(folder.name)
            rows.ids.append(file.relative_to(root).as_posix())
            rows.parts.append(part)
    if not rows.inputs:
        loose = any(p.suffix.lower() in SUFFIXES for p in place.iterdir())
        raise DataError(
            "its images do not lie in a folder per class. Move each class's images into a folder "
            "named after it."
            if loose
            else "no images in it. Give a folder with a folder of images per class, or a table.",
            where=str(place),
        )
    return rows


def _folders(place: Path) -> list[Path]:
    return sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))
