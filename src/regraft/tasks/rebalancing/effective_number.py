"""Classes weighted by their effective number of items."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from regraft.config.spec import Spec as Base


class Spec(Base):
    """Weights ∝ (1 − β) / (1 − βⁿ) (Cui et al., CVPR 2019, eq. 4)."""

    kind: Literal["effective_number"] = "effective_number"
    beta: float = Field(0.9999, ge=0.0, lt=1.0)


def weights(spec: Spec, counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return weights (C,) of sum C.

    Example:
        >>> weights(Spec(), np.array([5000, 500, 50])).round(6).tolist()
        [0.034107, 0.275167, 2.690725]
    """
    effective = (1.0 - spec.beta ** np.maximum(counts, 1)) / (1.0 - spec.beta)
    inverse = 1.0 / effective
    scaled: np.ndarray[Any, Any] = inverse * len(counts) / inverse.sum()
    return scaled
