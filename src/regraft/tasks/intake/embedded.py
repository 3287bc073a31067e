"""Data that comes with what is installed, under the names ``zoo:…``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_digits

from regraft.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

Parts = dict[str, tuple[list[Any], list[str]]]

_TEST_DIGITS = 797
_SEED = 20


def embedded(name: str) -> Parts:
    """Return embedded data, as (inputs, labels) of each part.

    Raises:
        DataError: There is none of this name.
    """
    if name not in _MAKERS:
        raise DataError(
            f"there is no embedded data {name!r}.{did_you_mean(name, _MAKERS)}", where=f"zoo:{name}"
        )
    return _MAKERS[name]()


def digits() -> Parts:
    """Return scikit-learn's 1,797 handwritten digits, 8 by 8: 1,000 to label from, 797 sealed.

    Reference:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI (1998).
    """
    found = load_digits()
    images = np.round(found.images * (255.0 / 16.0)).astype(np.uint8)
    order = np.random.default_rng(_SEED).permutation(len(images))

    def part(rows: np.ndarray[Any, Any]) -> tuple[list[Any], list[str]]:
        return [images[i] for i in rows], [str(found.target[i]) for i in rows]

    return {"train": part(order[_TEST_DIGITS:]), "test": part(order[:_TEST_DIGITS])}


_MAKERS: dict[str, Callable[[], Parts]] = {"digits": digits}
