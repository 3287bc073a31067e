"""Nearest class centroid on frozen features."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from regraft.config.spec import Spec as Base
from regraft.features.solved import centroid_head, linear_logits
from regraft.protocols.predictor_data import PredictorData

NEEDS: Literal["nothing", "raw", "features"] = "features"


class Spec(Base):
    """The class whose mean feature is nearest; a linear rule, so it leaves a linear head."""

    kind: Literal["centroid"] = "centroid"


def fit(spec: Spec, data: PredictorData, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return weight (C, width) and bias (C,)."""
    del spec, seed
    rows = data.training()
    weight, bias = centroid_head(rows.need_features(), rows.labels, data.n_classes)
    return {"weight": weight, "bias": bias}


def predict(
    spec: Spec, state: dict[str, np.ndarray[Any, Any]], data: PredictorData
) -> np.ndarray[Any, Any]:
    """Return logits (n, C)."""
    del spec
    return linear_logits(data.need_features(), state["weight"], state["bias"])
