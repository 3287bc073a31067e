from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from regraft.backbones.loading import load_backbone
from regraft.errors import ConfigError
from regraft.features.store import Cache
from regraft.ledger.ledger import Ledger
from regraft.measure.transferability.log_evidence import logme
from regraft.search.bench import Bench
from regraft.search.ranking import rank_backbones
from regraft.tasks.task import Task
from small_backbones import save_plain

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def task() -> Task:
    """Return 90 digits; whatever is tested of them stays sealed."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = list((pixels[:90].reshape(-1, 8, 8) * 15.9).astype(np.uint8))
    return Task.read((images, labels[:90] > 4))


def test_backbones_are_ordered_by_their_own_features_of_the_labelled_items(
    task: Task, tmp_path: Path
) -> None:
    references = ["zoo:glyphs", save_plain(tmp_path / "plain")]
    found = rank_backbones(task, references, home=tmp_path / "home", half_samples=1)
    assert found.n_items == len(task.development) < 90
    (view,) = (view for view in found.estimators if view.name == "logme")
    labels, cache = task.development.labels, Cache(tmp_path / "another")
    for one in references:
        features = Bench(task.development, load_backbone(one), cache).features
        assert view.scores[one] == pytest.approx(logme(features, labels))


def test_a_ranking_leaves_features_for_a_study_and_no_study(task: Task, tmp_path: Path) -> None:
    home = tmp_path / "home"
    rank_backbones(task, ["zoo:glyphs", save_plain(tmp_path / "n")], home=home, half_samples=1)
    ledger = Ledger.open(home)
    assert ledger.studies.all() == []
    ledger.close()
    kept = sorted((home / "cache").rglob("*"))
    bench = Bench(task.development, load_backbone("zoo:glyphs"), Cache(home / "cache"))
    assert bench.features.shape == (len(task.development), 128)
    assert sorted((home / "cache").rglob("*")) == kept


def test_few_items_are_drawn_by_class_and_by_seed(task: Task, tmp_path: Path) -> None:
    references = ["zoo:glyphs", save_plain(tmp_path / "plain")]
    sizes = [
        rank_backbones(
            task, references, home=tmp_path / "home", most_items=30, half_samples=1, seed=seed
        )
        for seed in (0, 0, 1)
    ]
    assert {one.n_items for one in sizes} == {30}
    assert sizes[0].to_json() == sizes[1].to_json()
    assert sizes[0].estimators != sizes[2].estimators


def test_what_gives_no_order_is_refused_before_anything_is_loaded(task: Task) -> None:
    with pytest.raises(ConfigError, match="1 backbone gives no order"):
        rank_backbones(task, ["no/such"])
    with pytest.raises(ConfigError, match="'no/such' is named more than once"):
        rank_backbones(task, ["no/such", "no/such"])
    with pytest.raises(ConfigError, match="3 is too few"):
        rank_backbones(task, ["no/such", "nor/this"], most_items=3)
