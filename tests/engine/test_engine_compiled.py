"""A compiled training pass comes to the numbers of a plain one, and is taken where it pays."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from torch import nn

from regraft.events import Done
from regraft.search import compiling
from regraft.search.compiling import compare
from regraft.search.drive import as_recorded
from small_jobs import done, events_of, job, net_backbone, resolved, rows_task

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.engine.job import Job

pytestmark = pytest.mark.filterwarnings(
    "ignore"  # torch warns of itself while it compiles
)

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None,
    reason="torch compiles for the CPU with a C++ compiler",
)


def a_job(folder: Path, **what: Any) -> Job:
    """Return a job on rows of numbers, without dropout, whose masks compiled code draws anew."""
    backbone = net_backbone()
    for part in backbone.module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    protocol = resolved(
        "small",
        train={"from_depth": 1},
        rate={"kind": "cosine", "peak": 1e-2},
        head={"kind": "linear", "start": "random"},
        **what,
    )
    return job(folder, rows_task(), backbone, protocol)


def logits(one: Done) -> Any:
    return one.arrays["logits"]


@needs_compiler
def test_a_compiled_run_ends_as_a_plain_one_and_is_on_record(tmp_path: Path) -> None:
    one = a_job(tmp_path)
    plain, fast = (done(events_of(replace(one, compiled=value))) for value in (False, True))
    assert logits(fast) == pytest.approx(logits(plain), abs=1e-4)
    assert "compiled" not in plain.summary
    assert fast.summary["compiled"] is True
    assert as_recorded(one, fast.summary).compiled
    assert not as_recorded(one, plain.summary).compiled


@needs_compiler
def test_what_is_decided_is_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = a_job(tmp_path)
    for worth, wins in ((0.0, True), (math.inf, False)):
        monkeypatch.setitem(compiling._WORTH, "cpu", worth)
        value = compare(one, 1e9)
        gain = value["seconds_plain"] / value["seconds_compiled"]
        assert value["compiled"] == (wins and gain > 1)
        assert f"{gain:.2f} times as fast" in value["reason"]
    assert not compare(one, value["seconds_compiling"] / 2)["compiled"]
