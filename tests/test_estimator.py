"""The scikit-learn estimator, and the small doors beside it."""

from __future__ import annotations

import copy
import os
import pickle
import re
import tempfile
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

import regraft as rg
from regraft.errors import BackboneError, ConfigError, DataError
from regraft.estimator import InputError
from regraft.ledger.ledger import Ledger
from small_backbones import WORDS, bert_config, save_text

PROBE = {"backbone": "zoo:glyphs", "protocol": "linear-probe", "metric": "accuracy"}

VECTORS = """
import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    blocks = ["first", "second"]
    preprocess = {"kind": "array"}

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(16, 32)
        self.second = nn.Linear(32, 32)

    def forward(self, values):
        padded = functional.pad(values, (0, max(0, 16 - values.shape[1])))[:, :16]
        return torch.relu(self.second(torch.relu(self.first(padded))))


def net():
    return Net()
"""

EXPECTED_FAILURES = {
    "check_methods_subset_invariance": "fp32 in batches of other sizes differs by up to 1e-5",
}

SHORT_LORA = {"name": "short", "modules": [{"kind": "lora", "rank": 2}], "fit": {"least_steps": 1}}


@pytest.fixture(scope="module")
def digits() -> tuple[list[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    found = load_digits()
    return list((found.images * 15.9).astype(np.uint8)[:400]), found.target[:400]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str], list[str]]:
    """Return a small random BERT, texts that one word tells apart, and their labels."""
    folder = save_text(tmp_path_factory.mktemp("bert"), bert_config(2))
    rng = np.random.default_rng(0)
    labels = [("good", "bad")[i % 2] for i in range(60)]
    found = [f"{' '.join(rng.choice(WORDS[:12], 3))} was {label}" for label in labels]
    return str(folder), found, labels


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> rg.Backbone:
    """Return a small random backbone that takes rows of numbers, however many there are in one."""
    folder = tmp_path_factory.mktemp("vectors")
    (folder / "net.py").write_text(VECTORS, encoding="utf-8")
    torch.manual_seed(0)
    state = run_path(str(folder / "net.py"))["net"]().state_dict()
    save_file(state, folder / "net.safetensors")
    return rg.Backbone(f"python:{folder}/net.py:net@{folder}/net.safetensors")


def test_it_learns_and_keeps_the_labels_as_they_were_given(digits: Any) -> None:
    images, labels = digits
    fitted = rg.TransferClassifier(**PROBE).fit(images[:300], labels[:300])
    assert fitted.classes_.dtype == labels.dtype
    assert fitted.score(images[300:], labels[300:]) > 0.9
    probabilities = fitted.predict_proba(images[300:])
    assert probabilities.shape == (100, 10)
    assert np.allclose(probabilities.sum(axis=1), 1.0)
    assert np.array_equal(
        fitted.classes_[probabilities.argmax(axis=1)], fitted.predict(images[300:])
    )


def test_it_works_in_cross_validation_and_grid_search(digits: Any) -> None:
    images, labels = digits
    images = np.stack(images)
    scores = cross_val_score(rg.TransferClassifier(**PROBE), images, labels, cv=3)
    assert scores.min() > 0.85
    search = GridSearchCV(
        rg.TransferClassifier(**PROBE), {"protocol": ["majority", "centroid"]}, cv=2
    )
    search.fit(images, labels)
    assert search.best_params_ == {"protocol": "centroid"}
    assert search.best_estimator_.predict(images[:3]).shape == (3,)


def test_the_same_seed_gives_the_same_predictions_and_another_seed_others(digits: Any) -> None:
    images, labels = digits
    settings = {**PROBE, "protocol": SHORT_LORA, "epochs": 2, "learning_rate": 1e-2}
    first, second, third = (
        rg.TransferClassifier(**settings, random_state=seed)
        .fit(images[:110], labels[:110])
        .predict_proba(images[110:130])
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)


def test_a_clone_is_unfitted_and_a_pickle_predicts_the_same(digits: Any) -> None:
    images, labels = digits
    fitted = rg.TransferClassifier(**PROBE).fit(images[:200], labels[:200])
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(images[:1])
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(images[:20]), fitted.predict_proba(images[:20]))


def test_strings_are_texts_for_a_text_backbone(texts: Any) -> None:
    folder, inputs, labels = texts
    fitted = rg.TransferClassifier(folder, "raw-logistic", metric="accuracy").fit(inputs, labels)
    assert list(fitted.classes_) == ["bad", "good"]
    assert fitted.score(inputs, labels) > 0.9
    assert fitted.predict(["the film was good"]).tolist() == ["good"]


def test_what_was_trained_on_texts_predicts_the_same_from_a_pickle(texts: Any) -> None:
    folder, inputs, labels = texts
    fitted = rg.TransferClassifier(folder, SHORT_LORA, epochs=2, learning_rate=1e-2)
    fitted.fit(np.array(inputs), labels)
    assert fitted.graft_.metrics["validation"]["accuracy"] > 0.4
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(inputs), fitted.predict_proba(inputs))


def test_strings_are_paths_for_an_image_backbone(digits: Any, tmp_path: Path) -> None:
    images, labels = digits
    paths = []
    for i, image in enumerate(images[:60]):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(image).save(paths[-1])
    two = (labels[:60] > 4).astype(bool)
    by_path = rg.TransferClassifier(**PROBE).fit(paths, two)
    by_pixel = rg.TransferClassifier(**PROBE).fit(images[:60], two)
    assert by_path.classes_.tolist() == [False, True]
    assert np.array_equal(by_path.predict_proba(paths), by_pixel.predict_proba(images[:60]))


def test_it_writes_to_no_ledger_unless_given_one(digits: Any, tmp_path: Path) -> None:
    images, labels = digits
    before = set(Path(os.environ["REGRAFT_HOME"]).rglob("*"))
    rg.TransferClassifier(**PROBE).fit(images[:60], labels[:60] > 4)
    assert set(Path(os.environ["REGRAFT_HOME"]).rglob("*")) == before
    rg.TransferClassifier(**PROBE, home=tmp_path).fit(images[:60], labels[:60] > 4)
    ledger = Ledger.open(tmp_path)
    assert [len(ledger.runs.of(one.id)) for one in ledger.studies.all()] == [1]


def test_a_fit_leaves_nothing_on_the_disk(
    digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = digits
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fitted = rg.TransferClassifier("zoo:glyphs", SHORT_LORA, epochs=1, learning_rate=1e-2)
    fitted.fit(images[:40], labels[:40] > 4).predict(images[:3])
    assert list(tmp_path.rglob("*")) == [tmp_path / "home"]


def test_fits_on_the_same_data_are_one_study_with_the_numbers_of_fits_without_ledger(
    digits: Any, tmp_path: Path
) -> None:
    images, labels = digits[0], digits[1] > 4
    for protocol in ("centroid", SHORT_LORA):
        settings = {**PROBE, "protocol": protocol, "epochs": 1, "learning_rate": 1e-2}
        alone, recorded, again = (
            rg.TransferClassifier(**settings, home=home)
            .fit(images[:60], labels[:60])
            .predict_proba(images[60:80])
            for home in (None, tmp_path, tmp_path)
        )
        assert np.array_equal(alone, recorded)
        assert np.array_equal(alone, again)
    ledger = Ledger.open(tmp_path)
    (study,) = ledger.studies.all()
    assert {run.protocol for run in ledger.runs.of(study.id)} == {"centroid", "short"}


def test_a_class_with_one_item_trains_without_validation(digits: Any) -> None:
    images = digits[0]
    fitted = rg.TransferClassifier("zoo:glyphs", SHORT_LORA, epochs=1, learning_rate=1e-2)
    fitted.fit(images[:3], ["b", "a", "b"])
    assert fitted.classes_.tolist() == ["a", "b"]
    assert fitted.predict_proba(images[:5]).shape == (5, 2)


EIGHT = np.zeros((4, 8, 8), np.uint8)
TWO = [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("settings", "inputs", "labels", "error", "message"),
    [
        ({}, EIGHT, None, InputError, "y: it requires y to be passed"),
        ({}, EIGHT, [1, 1, 1, 1], InputError, "y: only one class (1)"),
        ({}, EIGHT, [0.5, 1.5, 2.5, 3.5], InputError, "y: they are no labels of classes"),
        ({}, EIGHT, [1, None, 1, 2], InputError, "y: they are no labels of classes"),
        ({}, EIGHT, ["a", None, "a", "b"], InputError, "y: they are no labels of classes"),
        ({}, EIGHT, [[1, 2]] * 4, InputError, "y should be a 1d array"),
        ({}, EIGHT, [1, 2, 1], InputError, "X: 4 items and 3 labels"),
        ({}, [], TWO, InputError, "X: there are no items"),
        ({}, "a.png", TWO, InputError, "X: it is of type str, not a sequence"),
        ({}, pd.DataFrame({"a": TWO}), TWO, InputError, "X: it is of type DataFrame"),
        ({}, [3, 4, 3, 4], TWO, InputError, "X, item 0: it is of type int, but zoo:glyphs takes"),
        (
            {},
            np.zeros((4, 64)),
            TWO,
            InputError,
            "X, item 0: it is an array of float64 with shape (64,), but zoo:glyphs takes image",
        ),
        ({}, ["no.png"] * 4, TWO, DataError, "no.png: cannot be read"),
        ({"backbone": "zoo:x"}, EIGHT, TWO, BackboneError, "zoo:x: unknown embedded backbone"),
        ({"backbone": 3}, EIGHT, TWO, ConfigError, "backbone: 3 is none"),
        ({"protocol": "loar"}, EIGHT, TWO, ConfigError, "Did you mean 'lora'?"),
        ({"protocol": None}, EIGHT, TWO, ConfigError, "protocol: None is none"),
        ({"protocol": {"modulse": []}}, EIGHT, TWO, ConfigError, "Did you mean 'modules'?"),
        (
            {"protocol": {"train": {"from_depth": 40}}},
            EIGHT,
            TWO,
            ConfigError,
            "fit: train.from_depth: depth 40 is beyond the backbone's 6 blocks",
        ),
        ({"learning_rate": -1.0}, EIGHT, TWO, ConfigError, "rate.peak: peak should be greater"),
        ({"epochs": 0}, EIGHT, TWO, ConfigError, "fit.epochs should be greater"),
        ({"metric": "f2"}, EIGHT, TWO, ConfigError, "unknown metric 'f2'"),
        ({"validation": 1.5}, EIGHT, TWO, ConfigError, "task.validation should be less than 1"),
        ({"random_state": None}, EIGHT, TWO, ConfigError, "random_state: None is no seed"),
        ({"random_state": -1}, EIGHT, TWO, ConfigError, "random_state: -1 is no seed"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(
    settings: dict[str, Any], inputs: Any, labels: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)) as caught:
        rg.TransferClassifier(**{**PROBE, **settings}).fit(inputs, labels)
    assert isinstance(caught.value, ValueError) == (error is InputError)


def test_what_a_text_backbone_does_not_take_is_named(texts: Any) -> None:
    folder, inputs, labels = texts
    column = pd.DataFrame({"text": inputs, "label": labels})
    fitted = rg.TransferClassifier(folder, "centroid").fit(column["text"], column["label"])
    with pytest.raises(InputError, match=r"X, item 1: it is of type NoneType, but .+ takes texts"):
        fitted.predict(["good", None])


def test_an_array_backbone_refuses_rows_of_another_length(vectors: rg.Backbone) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 3))
    fitted = rg.TransferClassifier(vectors, "centroid").fit(rows, rows[:, 0] > 0)
    assert fitted.score(rows, rows[:, 0] > 0) > 0.8
    with pytest.raises(InputError, match="X: X has 2 features, but TransferClassifier is expecti"):
        fitted.predict(rows[:, :2])
    with pytest.raises(InputError, match="X: Input X contains NaN"):
        fitted.predict(np.full((2, 3), np.nan))


def test_it_passes_scikit_learns_own_suite_on_rows_of_numbers(vectors: rg.Backbone) -> None:
    done = check_estimator(
        rg.TransferClassifier(vectors, "centroid"),
        expected_failed_checks=EXPECTED_FAILURES,
        on_skip=None,
    )
    statuses = {one["check_name"]: one["status"] for one in done}
    assert [name for name, status in statuses.items() if status == "xfail"] == [*EXPECTED_FAILURES]
    assert list(statuses.values()).count("passed") > 45


def test_its_tags_say_what_the_backbone_takes(texts: Any, vectors: rg.Backbone) -> None:
    taken = {}
    for backbone in ("zoo:glyphs", rg.Backbone("zoo:glyphs"), rg.Backbone(texts[0]), vectors):
        tags = get_tags(rg.TransferClassifier(backbone)).input_tags
        taken[str(backbone)[:12]] = (tags.string, tags.two_d_array, tags.three_d_array)
    assert list(taken.values()) == [
        (True, False, True),
        (True, False, True),
        (True, False, False),
        (False, True, True),
    ]


def test_a_backbone_is_shared_by_clones_and_pickled_as_its_reference(digits: Any) -> None:
    backbone = rg.Backbone("zoo:glyphs")
    assert copy.deepcopy(backbone) is backbone
    assert clone(rg.TransferClassifier(backbone)).backbone is backbone
    again = pickle.loads(pickle.dumps(backbone))
    assert again.encoder.digest == backbone.encoder.digest
    assert len(pickle.dumps(backbone)) < 1000


def test_a_backbone_says_what_it_is_and_gives_features(digits: Any) -> None:
    backbone = rg.Backbone("zoo:glyphs")
    assert (backbone.kind, backbone.width, len(backbone.blocks)) == ("image", 128, 6)
    features = backbone.features(digits[0][:5])
    assert features.shape == (5, 128)
    assert np.isfinite(features).all()
    fitted = rg.TransferClassifier(backbone, "centroid").fit(digits[0][:60], digits[1][:60] > 4)
    assert fitted.predict(digits[0][:2]).shape == (2,)


def test_a_protocol_comes_from_a_name_a_file_or_python(tmp_path: Path) -> None:
    lora = rg.Protocol.load("lora")
    mine = rg.Protocol.from_dict({"name": "mine", "modules": [{"kind": "lora", "rank": 4}]})
    assert mine.resolved()["modules"][0]["rank"] == 4
    assert lora.resolved()["modules"][0]["rank"] == 8
    written = mine.write(tmp_path / "mine.yaml")
    assert written.resolved() == mine.resolved()
    assert written.reference == str(tmp_path / "mine.yaml")
    with pytest.raises(ConfigError, match="Did you mean 'modules'"):
        rg.Protocol.from_dict({"modulse": []})
