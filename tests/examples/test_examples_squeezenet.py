"""The example of a module of one's own: SqueezeNet in a file, with random and with real weights."""

from __future__ import annotations

import io
import os
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from regraft.backbones.loading import load_backbone
from regraft.config.study import read_study
from regraft.features.logistic import fit_probe

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "squeezenet.py"
DATA = Path(os.environ.get("REGRAFT_DATA") or ROOT.parent / "shared" / "data")
PHOTOS = DATA / "hymenoptera" / "images.npz"
WEIGHTS = DATA / "squeezenet1_0_imagenet" / "squeezenet1_0.safetensors"
CLASSIFIER_PARAMETERS = 512 * 1000 + 1000

ELSEWHERE = "; REGRAFT_DATA names another folder"
needs_weights = pytest.mark.skipif(
    not WEIGHTS.is_file(), reason=f"no weights in {WEIGHTS}{ELSEWHERE}"
)


def make() -> Any:
    torch.manual_seed(0)
    return run_path(str(EXAMPLE))["squeezenet1_0"]()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    weights = tmp_path_factory.mktemp("squeezenet") / "weights.safetensors"
    save_file(make().state_dict(), weights)
    return f"python:{EXAMPLE}:squeezenet1_0@{weights}"


def assert_cut_is_exact(backbone: Any) -> None:
    photos = [np.random.default_rng(0).integers(0, 256, (300, 280, 3), dtype=np.uint8)] * 2
    batch = backbone.preprocess.collate(backbone.preprocess.prepare(photos))
    with torch.no_grad():
        whole = backbone.features(batch)
        for depth in range(backbone.n_blocks):
            hidden = backbone.hidden(batch, depth=depth)
            assert torch.equal(backbone.features_from(hidden, batch, depth=depth), whole)


def test_it_has_as_many_parameters_as_the_network_of_the_paper() -> None:
    module = make()
    assert sum(p.numel() for p in module.parameters()) == 1_248_424
    assert sum(p.numel() for p in module.classifier.parameters()) == CLASSIFIER_PARAMETERS


def test_it_loads_as_a_backbone_that_is_cut_exactly(reference: str) -> None:
    backbone = load_backbone(reference)
    assert (backbone.width, backbone.n_blocks, backbone.can_cut) == (512, 10, True)
    assert_cut_is_exact(backbone)


def test_the_example_study_is_read() -> None:
    spec = read_study(ROOT / "examples" / "study.yaml")
    assert spec.backbones[0].startswith(f"python:{ROOT}/examples/squeezenet.py:squeezenet1_0@")


@needs_weights
def test_the_real_weights_fit_it_strictly_and_are_cut_exactly() -> None:
    make().load_state_dict(load_file(WEIGHTS), strict=True)
    backbone = load_backbone(f"python:{EXAMPLE}:squeezenet1_0@{WEIGHTS}")
    assert (backbone.width, backbone.n_blocks, backbone.can_cut) == (512, 10, True)
    assert not backbone.notes
    assert_cut_is_exact(backbone)


@needs_weights
@pytest.mark.skipif(not PHOTOS.is_file(), reason=f"no photos in {PHOTOS}{ELSEWHERE}")
def test_a_probe_on_its_frozen_features_tells_ants_from_bees() -> None:
    backbone = load_backbone(f"python:{EXAMPLE}:squeezenet1_0@{WEIGHTS}")
    train, labels = features_of(backbone, "train", per_class=24)
    test, truth = features_of(backbone, "val", per_class=24)
    none = np.empty((0, backbone.width), np.float32), np.empty(0, np.int64)
    probe = fit_probe(train, labels, 2, *none)
    # 39 of 48 would be right by chance once in 100,000 times.
    assert (probe.logits(test).argmax(axis=1) == truth).sum() >= 39


def features_of(backbone: Any, split: str, *, per_class: int) -> tuple[Any, Any]:
    """Return the pooled features of the first photos of each class, and their labels."""
    pack = dict(np.load(PHOTOS, allow_pickle=False))
    labels, cuts = pack["label"].astype(np.int64), pack["offsets"]
    inside = pack["split"] == split
    classes = np.unique(labels)
    rows = np.concatenate([np.flatnonzero(inside & (labels == c))[:per_class] for c in classes])
    files = [io.BytesIO(pack["data"][cuts[i] : cuts[i + 1]].tobytes()) for i in rows]
    photos = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    with torch.no_grad():
        batch = backbone.preprocess.collate(backbone.preprocess.prepare(photos))
        return backbone.features(batch).numpy(), labels[rows]
