"""The example of a module of one's own: SqueezeNet in a file, with random and with real weights."""

from __future__ import annotations

import os
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from regraft.backbones.loading import load_backbone
from regraft.config.study import read_study

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "squeezenet.py"
DATA = Path(os.environ.get("REGRAFT_DATA", ROOT.parent / "shared" / "data"))
WEIGHTS = DATA / "squeezenet1_0_imagenet" / "squeezenet1_0.safetensors"
CLASSIFIER_PARAMETERS = 512 * 1000 + 1000


def make() -> Any:
    torch.manual_seed(0)
    return run_path(str(EXAMPLE))["squeezenet1_0"]()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    weights = tmp_path_factory.mktemp("squeezenet") / "weights.safetensors"
    save_file(make().state_dict(), weights)
    return f"python:{EXAMPLE}:squeezenet1_0@{weights}"


def test_it_has_as_many_parameters_as_the_network_of_the_paper() -> None:
    module = make()
    assert sum(p.numel() for p in module.parameters()) == 1_248_424
    assert sum(p.numel() for p in module.classifier.parameters()) == CLASSIFIER_PARAMETERS


def test_it_loads_as_a_backbone_that_is_cut_exactly(reference: str) -> None:
    backbone = load_backbone(reference)
    assert (backbone.width, backbone.n_blocks, backbone.can_cut) == (512, 10, True)
    photos = [np.random.default_rng(0).integers(0, 256, (300, 280, 3), dtype=np.uint8)] * 2
    batch = backbone.preprocess.collate(backbone.preprocess.prepare(photos))
    with torch.no_grad():
        whole = backbone.features(batch)
        for depth in (0, 4, 9):
            hidden = backbone.hidden(batch, depth=depth)
            parts = backbone.features_from(hidden, batch, depth=depth)
            assert torch.equal(parts, whole)


def test_the_example_study_is_read() -> None:
    spec = read_study(ROOT / "examples" / "study.yaml")
    assert spec.backbones[0].startswith(f"python:{ROOT}/examples/squeezenet.py:squeezenet1_0@")


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="the real weights are not on this machine")
def test_the_real_weights_fit_it_strictly() -> None:
    module = make()
    module.load_state_dict(load_file(WEIGHTS), strict=True)
    backbone = load_backbone(f"python:{EXAMPLE}:squeezenet1_0@{WEIGHTS}")
    assert backbone.width == 512
