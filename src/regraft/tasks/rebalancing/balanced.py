"""Every class counts the same."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from regraft.config.spec import Spec as Base


class Spec(Base):
    """Weights in inverse proportion to the class's items."""

    kind: Literal["balanced"] = "balanced"


def weights(spec: Spec, counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return weights (C,) of sum C; a class without items weighs as one with one item."""
    del spec
    inverse = 1.0 / np.maximum(counts, 1)
    scaled: np.ndarray[Any, Any] = inverse * len(counts) / inverse.sum()
    return scaled
