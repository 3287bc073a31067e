"""Outliers made from the items themselves: what no model of the task should be sure about."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.hashing import digest_json
from regraft.seeds import numpy_generator

if TYPE_CHECKING:
    from collections.abc import Callable

    from regraft.tasks.items import Items

    Maker = Callable[[Items, int, np.random.Generator], Any]

_PATCHES = 4  # by side


def _noise_image(items: Items, row: int, generator: np.random.Generator) -> Any:
    """Return uniform noise of the image's size."""
    return generator.integers(0, 256, items.inputs[row].shape, dtype=np.uint8)


def _shuffled_patches(items: Items, row: int, generator: np.random.Generator) -> Any:
    """Return the image cut into 4 × 4 patches, laid out anew: its colours without its shapes."""
    image = items.inputs[row]
    height, width = (side // _PATCHES for side in image.shape[:2])
    whole = image[: height * _PATCHES, : width * _PATCHES]
    patches = whole.reshape(_PATCHES, height, _PATCHES, width, -1).swapaxes(1, 2)
    mixed = generator.permutation(patches.reshape(_PATCHES**2, height, width, -1))
    rows = mixed.reshape(_PATCHES, _PATCHES, height, width, -1).swapaxes(1, 2)
    return np.ascontiguousarray(rows.reshape(whole.shape))


def _shuffled_letters(items: Items, row: int, generator: np.random.Generator) -> Any:
    """Return the text with its characters in another order, spaces included."""
    return "".join(generator.permutation(list(items.inputs[row])).tolist())


def _word_salad(items: Items, row: int, generator: np.random.Generator) -> Any:
    """Return as many words as the text has, each drawn from a text at random."""
    n = max(1, len(items.inputs[row].split()))
    texts = [items.inputs[int(i)].split() for i in generator.integers(0, len(items), n)]
    return " ".join(str(generator.choice(words)) for words in texts if words)


def _noise_array(items: Items, row: int, generator: np.random.Generator) -> Any:
    """Return uniform noise between the least and the greatest value of the array."""
    value = items.inputs[row]
    return generator.uniform(value.min(), value.max(), value.shape).astype(np.float32)


def _shuffled_values(items: Items, row: int, generator: np.random.Generator) -> Any:
    """Return the array with its values in another order."""
    value = items.inputs[row]
    return generator.permutation(value.reshape(-1)).reshape(value.shape)


_MAKERS: dict[str, dict[str, Maker]] = {
    "image": {"uniform noise": _noise_image, "shuffled patches": _shuffled_patches},
    "text": {"shuffled letters": _shuffled_letters, "word salad": _word_salad},
    "array": {"uniform noise": _noise_array, "shuffled values": _shuffled_values},
}


def built_in(kind: str) -> tuple[str, ...]:
    """Return the names of the outliers that are made of a kind of item."""
    return tuple(_MAKERS[kind])


def made_outliers(plain: Items, name: str, *, seed: int) -> Items:
    """Return one outlier for each item, without labels, in memory.

    Args:
        plain: Decoded items (`regraft.tasks.corruptions.items.plain_inputs`).
        name: One of `built_in` for their kind.
        seed: Of the randomness, together with each item's id.
    """
    make = _MAKERS[plain.kind][name]
    made = [
        make(plain, row, numpy_generator(seed, "outlier", name, one))
        for row, one in enumerate(plain.ids)
    ]
    digests = tuple(digest_json([digest, name, seed]) for digest in plain.digests)
    return replace(plain.without_labels(), inputs=made, digests=digests)
