"""What a cache may take on the disk where nobody says it, and how that falls with the disk."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from regraft.features.budget import share_of_disk
from regraft.features.store import Cache

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30


class Disk:
    """A disk as `shutil.disk_usage` tells of it, with so much free as the test says."""

    def __init__(self, free: int) -> None:
        self.total, self.used, self.free = 1000 * GIB, 0, free

    def __call__(self, path: Path) -> Disk:
        assert path.exists()
        return self


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk(50 * GIB)
    monkeypatch.setattr(shutil, "disk_usage", found)
    return found


def add(cache: Cache, name: str) -> None:
    """Add an entry of some 4 kB."""
    cache.array_store({"name": name}, 1, lambda: [[np.zeros(1000, np.int32)]])


@pytest.mark.parametrize(
    ("free", "budget"), [(50 * GIB, 10 * GIB), (99 * GIB, int(19.8 * GIB)), (200 * GIB, 20 * GIB)]
)
def test_a_fifth_of_what_is_free_and_20_gib_at_most(
    disk: Disk, tmp_path: Path, free: int, budget: int
) -> None:
    disk.free = free
    assert share_of_disk(tmp_path) == budget
    assert share_of_disk(tmp_path / "not" / "there") == budget
    assert Cache(tmp_path).most_bytes == budget


def test_what_the_entries_take_counts_as_free(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "one.arrays").write_bytes(bytes(500))
    (tmp_path / "half-written.part").write_bytes(bytes(300))
    disk.free = 1000
    assert share_of_disk(tmp_path) == 300


def test_a_budget_that_is_given_is_the_budget(disk: Disk, tmp_path: Path) -> None:
    disk.free = 0
    assert Cache(tmp_path, most_bytes=7).most_bytes == 7


def test_what_is_chosen_by_the_budget_stays_and_what_goes_follows_the_disk(
    disk: Disk, tmp_path: Path
) -> None:
    cache = Cache(tmp_path)
    for name in ("a", "b"):
        add(cache, name)
    assert cache.most_bytes == 10 * GIB + cache.size_bytes() // 5
    before, disk.free = cache.most_bytes, 0
    assert cache.most_bytes == before
    assert Cache(tmp_path).most_bytes == cache.size_bytes() // 5
    add(cache, "c")
    assert [cache.holds({"name": name}, 1) for name in "abc"] == [False, False, True]
