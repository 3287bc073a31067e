"""Views are drawn from the item and the view alone, so that every run sees the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regraft.config.registry import load
from regraft.features.store import Cache
from regraft.features.views import View, ViewInputs

if TYPE_CHECKING:
    from regraft.features.store import ArrayStore

N = 9
LIGHT = {"kind": "light", "flip": True, "shift": 0.25, "brightness": 0.2}


def view(index: int, **changes: Any) -> View:
    return View({**LIGHT, **changes}, index, 4)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> ArrayStore:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (3, 8, 10), dtype=np.uint8) for _ in range(N)]
    cache = Cache(tmp_path_factory.mktemp("views"))
    return cache.array_store({"what": "images"}, N, lambda: [images])


@given(rows=st.lists(st.integers(0, N - 1), min_size=1, max_size=12), index=st.integers(0, 3))
def test_a_view_of_an_item_depends_on_no_other_item(
    prepared: ArrayStore, rows: list[int], index: int
) -> None:
    together = ViewInputs(prepared, view(index)).gather(rows)
    for row, image in zip(rows, together, strict=True):
        (alone,) = ViewInputs(prepared, view(index)).gather([row])
        assert np.array_equal(image, alone)
        assert (image.dtype, image.shape) == (np.uint8, (3, 8, 10))


def test_more_views_have_the_same_first_ones(prepared: ArrayStore) -> None:
    few, many = (ViewInputs(prepared, View(LIGHT, 1, of)) for of in (2, 8))
    assert np.array_equal(few.gather(range(N)), many.gather(range(N)))


def test_views_differ_from_each_other_and_between_items(prepared: ArrayStore) -> None:
    drawn = [ViewInputs(prepared, view(index)).gather(range(N)) for index in range(4)]
    for row in range(N):
        assert len({drawn[index][row].tobytes() for index in range(4)}) == 4
    plain = prepared.gather(range(N))
    mirrored = ViewInputs(prepared, view(0, shift=0.0, brightness=0.0)).gather(range(N))
    flips = [np.array_equal(a[..., ::-1], b) for a, b in zip(plain, mirrored, strict=True)]
    assert 0 < sum(flips) < N  # each item draws for itself


def test_a_view_is_what_the_augmentation_makes_of_the_item(prepared: ArrayStore) -> None:
    still = ViewInputs(prepared, view(2, flip=False, shift=0.0, brightness=0.0))
    assert np.array_equal(still.gather(range(N)), prepared.gather(range(N)))
    kind = load("augment", "light")
    spec = kind.Spec(flip=False, shift=0.0, brightness=0.2)
    brighter = ViewInputs(prepared, view(2, flip=False, shift=0.0)).gather([3])[0].astype(float)
    (image,) = prepared.gather([3])
    factor = (brighter / np.maximum(image, 1))[image > 100].mean()
    assert 1 - spec.brightness <= factor <= 1 + spec.brightness
    assert np.abs(brighter - np.clip(np.round(image * factor), 0, 255)).max() <= 2
    torch.manual_seed(0)
    before = torch.get_rng_state()
    ViewInputs(prepared, view(0)).gather([0])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_view_is_known_by_its_augmentation_and_its_number() -> None:
    assert view(1) == View(dict(LIGHT), 1, 4)
    assert hash(view(1)) == hash(View(dict(LIGHT), 1, 4))
    assert len({view(0), view(1), view(1, shift=0.1), View(LIGHT, 1, 5)}) == 4
    assert view(1).key == {"augment": LIGHT, "view": 1}
