from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from regraft.tasks.task import Task

DATA = Path(
    os.environ.get("REGRAFT_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data"
)

needs_data = pytest.mark.skipif(
    not (DATA / "load.py").is_file(), reason=f"no real data in {DATA}; REGRAFT_DATA names another"
)


def unpack(name: str, place: Path) -> Path:
    command = [sys.executable, str(DATA / "load.py"), "unpack", name, str(place / name)]
    subprocess.run(command, check=True, capture_output=True)
    return place / name


@needs_data
def test_a_folder_of_real_photos_is_read(tmp_path: Path) -> None:
    task = Task.read(unpack("hymenoptera", tmp_path))
    assert task.classes == ("ants", "bees")
    assert (len(task.development), len(task.sealed)) == (243, 153)
    assert (task.intake.n_skipped, task.intake.duplicates_removed) == (0, 0)
    assert len(task.folds[0].validation) == 48


@needs_data
def test_files_of_real_sentences_are_read(tmp_path: Path) -> None:
    task = Task.read(unpack("sst2", tmp_path))
    (fold,) = task.folds
    assert task.classes == ("0", "1")
    assert (len(fold.train), len(fold.validation), len(task.sealed)) == (6916, 872, 1821)
    assert task.intake.duplicates_removed == 4
