"""What stored entries may take on the disk, and which of them go when they take more."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST_BYTES = 20 << 30
_SHARE_OF_DISK = 0.2


def files_in(root: Path, pattern: str) -> list[tuple[int, int, Path]]:
    """Return when each file was opened last (ns), its bytes, its path; one may go meanwhile."""
    found = []
    for path in root.glob(pattern):
        with suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_atime_ns, status.st_size, path))
    return found


def share_of_disk(root: Path) -> int:
    """Return the bytes that the entries of a folder may take where nobody says it.

    A fifth of what is free on its disk, 20 GiB at most; what they take counts as free. The folder
    need not be there yet.
    """
    there = next(one for one in (root, *root.absolute().parents) if one.exists())
    taken = sum(size for _, size, _ in files_in(root, "*.arrays"))
    return min(_MOST_BYTES, int(_SHARE_OF_DISK * (shutil.disk_usage(there).free + taken)))


def make_room(root: Path, *, most_bytes: int, keep: Path) -> None:
    """Delete the entries that were opened longest ago until all fit, but never `keep`."""
    entries = sorted(files_in(root, "*.arrays"))
    total = sum(size for _, size, _ in entries)
    for _, size, path in entries:
        if total <= most_bytes:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            total -= size
