"""The scikit-learn estimator, and the small doors beside it."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator

import regraft as rg
from regraft.errors import BackboneError, ConfigError, DataError
from regraft.ledger.ledger import Ledger
from small_backbones import WORDS, bert_config, save_text

PROBE = {"backbone": "zoo:glyphs", "protocol": "linear-probe", "metric": "accuracy"}
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


@pytest.mark.parametrize(
    ("settings", "inputs", "labels", "error", "message"),
    [
        ({}, ["a"] * 4, None, DataError, "y: there are no labels"),
        (
            {},
            [np.zeros((8, 8), np.uint8)] * 4,
            [1, 1, 1, 1],
            DataError,
            "y: fewer than two classes",
        ),
        ({}, [np.zeros((8, 8), np.uint8)] * 4, [1, 2, 1], DataError, "X: 4 items and 3 labels"),
        ({}, [], [], DataError, "fewer than two classes"),
        ({}, [3, 4, 3, 4], [1, 2, 1, 2], DataError, "X, item 0: a int, but the backbone takes an"),
        ({}, ["no.png"] * 4, [1, 2, 1, 2], DataError, "no.png: cannot be read"),
        ({}, np.zeros((4, 2)), [0.5, 1.5, 2.5, 3.5], DataError, "not labels of classes"),
        ({}, np.zeros((4, 8, 8), np.uint8), [[1], [2], [1], [2]], DataError, "one label per item"),
        ({"protocol": "loar"}, np.zeros((4, 8, 8), np.uint8), [1, 2, 1, 2], ConfigError, "'lora'"),
        ({"backbone": "zoo:x"}, np.zeros((4, 8, 8), np.uint8), [1, 2] * 2, BackboneError, "zoo:x"),
        ({"metric": "f2"}, np.zeros((4, 8, 8), np.uint8), [1, 2] * 2, ConfigError, "'f2'"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(
    settings: dict[str, Any], inputs: Any, labels: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        rg.TransferClassifier(**{**PROBE, **settings}).fit(inputs, labels)


def test_it_passes_scikit_learns_own_suite() -> None:
    with warnings.catch_warnings():
        # The checks that fit need tables of numbers, which are not among its inputs.
        warnings.filterwarnings("ignore", message="Can't test estimator")
        done = check_estimator(rg.TransferClassifier(), on_fail="raise", on_skip=None)
    assert [one["status"] for one in done] == ["passed"] * len(done)


@pytest.mark.parametrize(
    "name",
    [
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_estimator_tags_renamed",
        "check_get_params_invariance",
        "check_mixin_order",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_set_params",
        "check_valid_tag_types",
    ],
)
def test_it_passes_each_check_of_scikit_learn_that_needs_no_table(name: str) -> None:
    getattr(estimator_checks, name)("TransferClassifier", rg.TransferClassifier())


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
