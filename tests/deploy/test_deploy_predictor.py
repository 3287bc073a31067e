"""A graft on its backbone predicts what its run predicted, and nothing else is attached to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from made_grafts import PROTOCOLS, digits, encoder, films, made, sealed_items
from regraft.deploy.predictor import GraftPredictor
from regraft.errors import BackboneError, GraftError
from regraft.ledger.grafts import write_graft
from regraft.measure.metrics import softmax
from small_backbones import bert_config, save_plain, save_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from regraft.ledger.grafts import Graft

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_text(tmp_path_factory.mktemp("backbones") / "bert", bert_config()))


def agree(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> None:
    np.testing.assert_allclose(first, second, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_graft_of_images_predicts_what_its_run_predicted(name: str, tmp_path: Path) -> None:
    graft, logits = made(name, digits(), "zoo:glyphs")
    loaded = GraftPredictor.load(write_graft(tmp_path / "graft", graft))
    agree(loaded.logits(sealed_items(digits())), logits)
    assert loaded.classes == tuple("0123456789")


@pytest.mark.parametrize("name", ["lora", "full", "raw-logistic", "knn"])
def test_a_graft_of_texts_predicts_what_its_run_predicted(
    name: str, bert: str, tmp_path: Path
) -> None:
    graft, logits = made(name, films(), bert)
    loaded = GraftPredictor.load(write_graft(tmp_path / "graft", graft))
    items = sealed_items(films())
    found = loaded.logits(list(items.inputs))
    np.testing.assert_allclose(found, logits, atol=TOLERANCE * abs(logits).max(), rtol=0)
    labels = [("neg", "pos")[i] for i in logits.argmax(axis=1)]
    assert loaded.predict(list(items.inputs)) == labels


def test_one_item_gets_what_it_gets_among_others(tmp_path: Path) -> None:
    graft, logits = made("lora", digits(), "zoo:glyphs")
    loaded = GraftPredictor.load(write_graft(tmp_path / "graft", graft))
    items = sealed_items(digits())
    alone = np.concatenate([loaded.logits([one]) for one in items.inputs])
    np.testing.assert_allclose(alone, logits, atol=1e-5)


def test_files_and_pixels_of_an_image_give_the_same(tmp_path: Path) -> None:
    graft, _ = made("probe", digits(), "zoo:glyphs")
    loaded = GraftPredictor(graft, encoder("zoo:glyphs"))
    pixels = list(sealed_items(digits()).inputs)
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(tmp_path / f"{number}.png")
    paths = [str(tmp_path / f"{number}.png") for number in range(len(pixels))]
    assert np.array_equal(loaded.logits(paths), loaded.logits(pixels))


def test_the_temperature_divides_the_logits() -> None:
    graft, logits = made("probe", digits(), "zoo:glyphs", temperature=2.5)
    loaded = GraftPredictor(graft, encoder("zoo:glyphs"))
    items = sealed_items(digits())
    np.testing.assert_allclose(loaded.predict_proba(items), softmax(logits / 2.5), atol=1e-6)
    assert loaded.predict(items) == [graft.classes[i] for i in logits.argmax(axis=1)]


def test_a_plain_peft_folder_is_refused_before_any_backbone_is_looked_for(tmp_path: Path) -> None:
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["a"]}
    config["base_model_name_or_path"] = "nobody/no-such-model"
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    factors = {f"base_model.model.a.lora_{one}.weight": torch.zeros(2, 2) for one in "AB"}
    save_file(factors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(GraftError, match=r"no head and no classes \(a plain peft folder\)"):
        GraftPredictor.load(tmp_path)


def other_weights(graft: Graft) -> Graft:
    return replace(graft, backbone_digest="0" * 64)


def other_preprocessing(graft: Graft) -> Graft:
    return replace(graft, preprocess={**graft.preprocess, "invert": True})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_weights, r"made on zoo:glyphs \(digest 000000000000…\), this is zoo:glyphs"),
        (other_preprocessing, r"another preprocessing \(invert\) than zoo:glyphs has"),
    ],
)
def test_another_backbone_is_refused(
    change: Callable[[Graft], Graft], message: str, tmp_path: Path
) -> None:
    graft, _ = made("majority", digits(), "zoo:glyphs")
    folder = write_graft(tmp_path / "graft", change(graft))
    with pytest.raises(GraftError, match=message):
        GraftPredictor.load(folder)


def test_a_setting_that_a_later_release_added_is_no_other_preprocessing() -> None:
    graft, _ = made("majority", digits(), "zoo:glyphs")
    older = {key: value for key, value in graft.preprocess.items() if key != "resample"}
    GraftPredictor(replace(graft, preprocess={**older, "gone": 1}), encoder("zoo:glyphs"))


def test_python_is_run_only_where_the_user_names_it(tmp_path: Path) -> None:
    reference = save_plain(tmp_path / "plain")
    graft, logits = made("upper", digits(), reference)
    folder = write_graft(tmp_path / "graft", graft)
    with pytest.raises(GraftError, match=r"its backbone is Python code .* give it with --backbone"):
        GraftPredictor.load(folder)
    loaded = GraftPredictor.load(folder, backbone=reference)
    agree(loaded.logits(sealed_items(digits())), logits)
    code = tmp_path / "plain" / "net.py"
    code.write_text("raise SystemExit('it ran')", encoding="utf-8")
    with pytest.raises(GraftError, match="is run only when you name it"):
        GraftPredictor.load(folder)


def test_a_backbone_that_is_gone_is_named(tmp_path: Path) -> None:
    graft, _ = made("majority", digits(), "zoo:glyphs", backbone=str(tmp_path / "gone"))
    folder = write_graft(tmp_path / "graft", graft)
    with pytest.raises(BackboneError, match=r"gone: there is no such folder"):
        GraftPredictor.load(folder)
    assert GraftPredictor.load(folder, backbone="zoo:glyphs").classes == tuple("0123456789")


def test_predicting_leaves_the_backbone_as_it_was(tmp_path: Path) -> None:
    graft, _ = made("full", digits(), "zoo:glyphs")
    backbone = encoder("zoo:glyphs")
    before = {name: tensor.clone() for name, tensor in backbone.module.state_dict().items()}
    GraftPredictor(graft, backbone).predict(sealed_items(digits()))
    after: dict[str, Any] = backbone.module.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
