"""Files that are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_file(path: Path, data: bytes) -> None:
    """Write a file and bring its bytes to the disk; a name does not hide a half-written file.

    Raises:
        OSError: The disk is full or the folder cannot be written; what was written is removed.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def sync_file(path: Path) -> None:
    """Bring the bytes of a file that is closed to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: a rename alone does not survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def complaint(error: OSError) -> str:
    """Return what keeps a file from being written, and what to do."""
    return (
        f"cannot be written ({error.strerror or error}). Free space there (regraft clean), make it "
        "writable, or move the ledger with --home."
    )
