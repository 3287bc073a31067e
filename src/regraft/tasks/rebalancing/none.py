"""Every item counts the same."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from regraft.config.spec import Spec as Base


class Spec(Base):
    """No weights."""

    kind: Literal["none"] = "none"


def weights(spec: Spec, counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return ones, shape (C,)."""
    del spec
    return np.ones(len(counts))
