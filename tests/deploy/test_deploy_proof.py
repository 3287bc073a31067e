"""A graft is proved by a fresh process, which must predict just what its run predicted."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import torch

from made_grafts import digits, encoder, made, sealed_items
from regraft.deploy.keeping import keep_graft
from regraft.deploy.proof import FreshProcess, prove
from regraft.errors import GraftError
from regraft.ledger.grafts import Graft, read_graft, write_graft
from small_backbones import save_plain

if TYPE_CHECKING:
    from regraft.tasks.items import Items


def labelled(items: Items) -> Items:
    return replace(items, labels=np.arange(len(items), dtype=np.int64) % 2)


def test_a_kept_graft_is_proved(tmp_path: Path) -> None:
    graft, _ = made("lora", digits(), "zoo:glyphs")
    items = labelled(sealed_items(digits()))
    folder = tmp_path / "grafts" / "digits"
    with FreshProcess("zoo:glyphs") as fresh:
        backbone = encoder("zoo:glyphs")
        proof = keep_graft(folder, graft, backbone, items, metric="accuracy", fresh=fresh)
    assert proof["items"] == len(items)
    assert 0.0 <= proof["largest_difference"] <= 1e-6
    assert read_graft(folder).classes == graft.classes


def proof_of(
    folder: Path, items: Items, logits: np.ndarray[Any, Any], backbone: str = "zoo:glyphs"
) -> Any:
    with FreshProcess(backbone) as fresh:
        return prove(fresh, folder, items, logits, metric="accuracy")


def with_other_head(graft: Graft, add: float) -> Graft:
    state = dict(graft.state)
    name = next(one for one in state if one.startswith(("head.", "predictor.")))
    state[name] = torch.as_tensor(state[name]) + add
    return replace(graft, state=state)


@pytest.mark.parametrize(
    ("add", "message"),
    [(1e-3, r"logits differ by [\d.e-]+, accuracy"), (float("nan"), r"logits differ by nan")],
)
def test_a_head_that_is_another_is_found(add: float, message: str, tmp_path: Path) -> None:
    graft, logits = made("probe", digits(), "zoo:glyphs")
    folder = write_graft(tmp_path / "graft", with_other_head(graft, add))
    with pytest.raises(GraftError, match=message) as caught:
        proof_of(folder, labelled(sealed_items(digits())), logits)
    assert str(folder) in str(caught.value)


def test_a_file_that_was_tampered_with_is_named_in_one_sentence(tmp_path: Path) -> None:
    graft, logits = made("probe", digits(), "zoo:glyphs")
    folder = write_graft(tmp_path / "graft", graft)
    head = folder / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-1] + b"#")
    with pytest.raises(GraftError, match=r"head\.safetensors: it was changed or damaged") as caught:
        proof_of(folder, labelled(sealed_items(digits())), logits)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_python_beside_the_user_is_not_what_the_proof_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('the wrong torch')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    reference = save_plain(tmp_path / "plain")
    graft, logits = made("majority", digits(), reference)
    folder = write_graft(tmp_path / "graft", graft)
    items = labelled(sealed_items(digits()))
    proof = proof_of(folder, items, logits, backbone=reference)
    assert proof.largest_difference <= 1e-6


def test_a_process_that_is_not_asked_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    here = psutil.Process()
    with FreshProcess("zoo:glyphs"):
        assert list(tmp_path.iterdir())
        assert any("regraft.deploy.proof" in one.cmdline() for one in here.children())
    assert list(tmp_path.iterdir()) == []
    assert not any("regraft.deploy.proof" in one.cmdline() for one in here.children())


def test_a_process_whose_starter_is_gone_ends() -> None:
    command = [sys.executable, "-m", "regraft.deploy.proof", "zoo:glyphs"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


def test_a_backbone_that_a_fresh_process_cannot_load_is_told_in_its_words(tmp_path: Path) -> None:
    graft, logits = made("majority", digits(), "zoo:glyphs")
    folder = write_graft(tmp_path / "graft", graft)
    items = labelled(sealed_items(digits()))
    with pytest.raises(GraftError, match=r"could not predict with it \(.*BackboneError: .*nowhere"):
        proof_of(folder, items, logits, backbone=str(tmp_path / "nowhere"))
