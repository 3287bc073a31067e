"""What the classifier of the source says of the target's items."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
)

from regraft.backbones.loading import load_backbone
from regraft.errors import BackboneError
from regraft.features.store import Cache
from regraft.search.bench import Bench
from regraft.tasks.items import items_from
from small_backbones import (
    PLAIN,
    WORDS,
    bert_config,
    save_plain,
    save_tokenizer,
    save_vision,
    vision_config,
)

if TYPE_CHECKING:
    from pathlib import Path

N, CLASSES = 21, 5
WITH_HEAD = PLAIN.replace(
    "    def forward(self, images):",
    "    def source_head(self, maps):\n        return {gives}\n\n    def forward(self, images):",
)


def texts() -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 12))) for _ in range(N)]


def images() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (N, 20, 24, 3), dtype=np.uint8))


def save_classifier(folder: Path, kind: str) -> str:
    """Save a whole classifier of random weights, as its trainer leaves it."""
    torch.manual_seed(0)
    if kind == "text":
        config = bert_config()
        config.num_labels = CLASSES
        AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
        save_tokenizer(folder)
    else:
        save_vision(folder, kind)  # its processor
        config = vision_config(kind)
        config.num_labels = CLASSES
        AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    return str(folder)


def bench(reference: str, raw: list, kind: str, home: Path) -> Bench:
    return Bench(items_from(raw, kind), load_backbone(reference), Cache(home))


@pytest.mark.parametrize("kind", ["text", "vit", "resnet"])
def test_a_saved_classifier_says_what_it_says_by_itself(kind: str, tmp_path: Path) -> None:
    reference = save_classifier(tmp_path / kind, kind)
    is_text = kind == "text"
    raw = texts() if is_text else images()
    one = bench(reference, raw, "text" if is_text else "image", tmp_path / "cache")
    auto = AutoModelForSequenceClassification if is_text else AutoModelForImageClassification
    model = auto.from_pretrained(reference).eval()
    prepare = one.backbone.preprocess
    with torch.no_grad():
        known = [
            model(**prepare.collate(prepare.prepare([item]))).logits.softmax(dim=1)[0]
            for item in raw
        ]
    assert one.source is not None
    assert one.source.shape == (N, CLASSES)
    np.testing.assert_allclose(one.source, torch.stack(known).numpy(), atol=1e-5)


def test_what_was_said_is_kept(tmp_path: Path) -> None:
    reference = save_classifier(tmp_path / "vit", "vit")
    first = bench(reference, images(), "image", tmp_path / "cache").source
    kept = sorted((tmp_path / "cache").rglob("*"))
    again = bench(reference, images(), "image", tmp_path / "cache").source
    assert sorted((tmp_path / "cache").rglob("*")) == kept
    np.testing.assert_array_equal(first, again)


def test_an_encoder_and_a_regressor_bring_no_head(tmp_path: Path) -> None:
    assert load_backbone(str(save_vision(tmp_path / "encoder", "vit"))).source_head is None
    assert load_backbone(save_plain(tmp_path / "plain")).source_head is None
    assert load_backbone("zoo:glyphs").source_head is None
    reference = save_classifier(tmp_path / "rates", "text")
    settings = json.loads((tmp_path / "rates" / "config.json").read_text(encoding="utf-8"))
    settings |= {"problem_type": "regression"}
    (tmp_path / "rates" / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert load_backbone(reference).source_head is None
    assert bench("zoo:glyphs", images(), "image", tmp_path / "cache").source is None


def without(folder: Path, prefix: str, *, times: float = 0.0) -> None:
    """Take tensors out of a saved model, or multiply them."""
    state = {
        name: tensor * times if name.startswith(prefix) else tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
        if times or not name.startswith(prefix)
    }
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_classifier_saved_without_its_weights_is_no_source_head(tmp_path: Path) -> None:
    reference = save_classifier(tmp_path / "vit", "vit")
    without(tmp_path / "vit", "classifier")
    one = bench(reference, images(), "image", tmp_path / "cache")
    assert one.features.shape == (N, 16)
    assert one.source is None
    assert "without the classifier's weights" in " ".join(one.backbone.notes)


def test_a_classifier_that_lacks_a_part_is_refused_when_asked(tmp_path: Path) -> None:
    reference = save_classifier(tmp_path / "vit", "vit")
    without(tmp_path / "vit", "classifier.bias")
    one = bench(reference, images(), "image", tmp_path / "cache")
    with pytest.raises(BackboneError, match=r"vit: its classifier cannot be read: classifier\."):
        _ = one.source


def test_classifiers_on_one_encoder_do_not_share_what_they_said(tmp_path: Path) -> None:
    for name, times in (("plain", 1.0), ("sharp", 50.0)):
        save_classifier(tmp_path / name, "vit")
        without(tmp_path / name, "classifier", times=times)
    plain, sharp = (
        bench(str(tmp_path / name), images(), "image", tmp_path / "cache").source
        for name in ("plain", "sharp")
    )
    assert plain is not None
    assert sharp is not None
    assert sharp.max(axis=1).mean() > plain.max(axis=1).mean() + 0.05


def write_plain(folder: Path, gives: str) -> str:
    reference = save_plain(folder)
    (folder / "net.py").write_text(WITH_HEAD.replace("{gives}", gives), encoding="utf-8")
    return reference


def test_a_module_of_ones_own_declares_its_head(tmp_path: Path) -> None:
    one = bench(
        write_plain(tmp_path / "own", "maps.mean((2, 3))"), images(), "image", tmp_path / "cache"
    )
    assert one.source is not None
    known = torch.tensor(one.features).softmax(dim=1).numpy()
    np.testing.assert_allclose(one.source, known, atol=1e-6)


@pytest.mark.parametrize("gives", ["maps", "maps.mean()", "'logits'"])
def test_a_head_that_gives_no_logits_is_refused(gives: str, tmp_path: Path) -> None:
    one = bench(write_plain(tmp_path / "own", gives), images(), "image", tmp_path / "cache")
    with pytest.raises(BackboneError, match=r"Let it return logits \(items, classes\)"):
        _ = one.source


def test_copies_that_train_have_no_source_head(tmp_path: Path) -> None:
    backbone = load_backbone(write_plain(tmp_path / "own", "maps.mean((2, 3))"))
    assert backbone.source_head is not None
    assert backbone.copy().source_head is None
    assert backbone.randomised(0).source_head is None
