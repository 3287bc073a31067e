"""A folder per class, or parts with a folder per class in each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from regraft.errors import DataError
from regraft.tasks.images import SUFFIXES
from regraft.tasks.intake.rows import PART_NAMES, Part, Rows

_NAMED = 3


def class_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder that hold an image at any depth, sorted."""
    return [place for place in _folders(folder) if any(_images(place))]


def read_image_folder(folder: Path) -> Rows:
    """Read a folder of images, a folder per class, perhaps train/val/test on top.

    Raises:
        DataError: There are no images, or they do not lie in class folders.
    """
    places = _folders(folder)
    # A class may be called train: a part is what holds folders of images in its turn.
    parts = [p for p in places if p.name.lower() in PART_NAMES and class_folders(p)]
    if not parts:
        return _classes(folder, folder, "")
    if not any(PART_NAMES[place.name.lower()] == "train" for place in parts):
        raise DataError(
            f"it has {', '.join(p.name for p in parts)} but no train folder. Add one, or put the "
            "class folders on top.",
            where=str(folder),
        )
    rows = Rows("image")
    for place in parts:
        rows.extend(_classes(folder, place, PART_NAMES[place.name.lower()]))
    if strays := [place.name for place in places if place not in parts]:
        rows.notes.append(f"folders left out, being no parts: {_some(strays)}")
    return rows


def list_images(place: Path) -> list[Path]:
    """Return the image files below a folder, sorted by path; hidden ones are left out."""
    return sorted(_images(place))


def _images(place: Path) -> list[Path]:
    found = (p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES)
    return [p for p in found if not _is_hidden(p.relative_to(place)) and p.is_file()]


def _classes(root: Path, place: Path, part: Part) -> Rows:
    rows = Rows("image")
    others: Counter[str] = Counter()
    for folder in _folders(place):
        files = list_images(folder)
        if not files:
            rows.notes.append(f"{folder.relative_to(root).as_posix()} holds no images")
        rows.inputs += files
        rows.labels += [folder.name] * len(files)
        rows.ids += [file.relative_to(root).as_posix() for file in files]
        rows.parts += [part] * len(files)
        others.update(_other_suffixes(folder))
    loose = [p.name for p in place.iterdir() if p.suffix.lower() in SUFFIXES]
    if not rows.inputs:
        raise DataError(
            "its images do not lie in a folder per class. Move each class's images into a folder "
            "named after it."
            if loose
            else "no images in it. Give a folder with a folder of images per class, or a table.",
            where=str(place),
        )
    if loose:
        rows.notes.append(f"images in no class folder, left out: {_some(sorted(loose))}")
    if others:
        kinds = ", ".join(f"{n} {suffix}" for suffix, n in others.most_common(_NAMED))
        rows.notes.append(f"files that are no images, left out: {kinds}")
    return rows


def _other_suffixes(folder: Path) -> list[str]:
    files = (p for p in folder.rglob("*") if p.suffix.lower() not in SUFFIXES)
    return [
        p.suffix.lower() or "without suffix"
        for p in files
        if not _is_hidden(p.relative_to(folder)) and p.is_file()
    ]


def _folders(place: Path) -> list[Path]:
    return sorted(p for p in place.iterdir() if p.is_dir() and not _is_hidden(Path(p.name)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
