"""Compiling is decided once per arm, where it could repay itself, and written down."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from regraft.search import compiling
from regraft.search.compiling import arm_compiles
from regraft.search.ladder import Ladder
from regraft.seeds import derive
from small_backbones import save_plain
from small_search import around, small_study

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings(
    "ignore"  # torch warns of itself while it compiles
)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with a C++ compiler")
def test_what_could_repay_itself_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = tmp_path / "top.yaml"  # one block of few layers: a compiler takes long over more
    protocol.write_text("name: top\ntrain: {from_depth: 3}\nfit: {epochs: 2}\n", encoding="utf-8")
    backbone = save_plain(tmp_path / "plain")
    study = small_study(tmp_path / "home", [str(protocol)], backbones=[backbone])
    study.register()
    here = around(study)
    ladder = Ladder(here, study.task)
    (arm,) = (one for one in study.arms if one.key == "top")
    seed = derive(0, "run", 0)
    job = ladder.job("run", arm.candidates[0], place=0, seed=seed)

    def decided() -> list[str]:
        found = [one.key for one in study.ledger.decisions.all(study.id)]
        return [key for key in found if key.startswith("compile/")]

    assert not arm_compiles(here, arm.key, job, seconds=1.0)
    assert decided() == []
    monkeypatch.setitem(compiling._COMPILING_SECONDS, "cpu", 0.0)
    first = arm_compiles(here, arm.key, job, seconds=1.0)
    assert not first  # a second of training does not repay a compiler
    assert decided() == ["compile/top"]
    monkeypatch.setitem(compiling._WORTH, "cpu", 0.0)
    assert arm_compiles(here, arm.key, job, seconds=1e9) == first
