"""The control that knows only how frequent each class is."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from regraft.config.spec import Spec as Base
from regraft.protocols.predictor_data import PredictorData

NEEDS: Literal["nothing", "raw", "features"] = "nothing"


class Spec(Base):
    """Predicts the training frequencies (Laplace-smoothed) for every item."""

    kind: Literal["majority"] = "majority"


def fit(spec: Spec, data: PredictorData, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return the log frequencies, shape (C,)."""
    del spec, seed
    counts = np.bincount(data.training().labels, minlength=data.n_classes) + 1.0
    return {"log_frequency": np.log(counts / counts.sum()).astype(np.float32)}


def predict(
    spec: Spec, state: dict[str, np.ndarray[Any, Any]], data: PredictorData
) -> np.ndarray[Any, Any]:
    """Return logits (n, C)."""
    del spec
    return np.tile(state["log_frequency"], (len(data.labels), 1))
