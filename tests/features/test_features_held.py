"""What is shown once and kept nowhere is what the cache would have kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from regraft.backbones.loading import load_backbone
from regraft.features.held import HeldArrays, held_inputs
from regraft.features.store import Cache
from regraft.search.bench import Bench
from regraft.search.predicting import shown_data
from regraft.tasks.items import Items, items_from
from small_backbones import save_all

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.backbones.backbone import Backbone

WORDS = ("good", "very", "one", "bad", "two", "ten", "film")


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    saved = save_all(tmp_path_factory.mktemp("families"))
    return {family: load_backbone(saved[family]) for family in ("bert", "resnet")}


def items(kind: str) -> Items:
    random = np.random.default_rng(0)
    if kind == "text":
        texts = [" ".join(random.choice(WORDS, 1 + i % 9)) for i in range(70)]
        return items_from(texts, kind)
    images = [random.integers(0, 256, (16 + i % 3, 16, 3), dtype=np.uint8) for i in range(20)]
    return items_from(images, kind)


@pytest.mark.parametrize("family", ["bert", "resnet"])
def test_inputs_and_features_are_those_of_the_cache(
    backbones: dict[str, Backbone], family: str, tmp_path: Path
) -> None:
    backbone = backbones[family]
    some = items(backbone.preprocess.kind)
    bench = Bench(some, backbone, Cache(tmp_path))
    shown = shown_data(some, backbone, n_classes=2, metric="accuracy")
    rows = np.arange(len(some))
    for kept, held in zip(bench.prepared.gather(rows), shown.prepared.gather(rows), strict=True):
        assert kept.dtype == held.dtype
        assert np.array_equal(kept, held)
    assert np.array_equal(bench.prepared.lengths(), shown.prepared.lengths())
    assert np.array_equal(bench.features, shown.features())


def test_what_is_gathered_is_a_copy(backbones: dict[str, Backbone]) -> None:
    held = held_inputs(backbones["bert"].preprocess, items("text"))
    assert len(held) == 70
    (first,) = held.gather([3])
    first += 1
    assert not np.array_equal(first, held.gather([3])[0])
    assert HeldArrays([]).lengths().tolist() == []
