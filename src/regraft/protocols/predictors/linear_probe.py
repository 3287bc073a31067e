"""The linear probe: logistic regression on frozen features over a path of L2 strengths."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from regraft.config.spec import Spec as Base
from regraft.features.logistic import fit_probe
from regraft.features.solved import linear_logits
from regraft.protocols.predictor_data import PredictorData

NEEDS: Literal["nothing", "raw", "features"] = "features"


class Spec(Base):
    """Solved by L-BFGS; the strength is chosen on validation, or by folds of the training items."""

    kind: Literal["linear_probe"] = "linear_probe"


def fit(spec: Spec, data: PredictorData, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return weight (C, width), bias (C,) and the chosen strength (1,)."""
    del spec, seed
    rows, held_out = data.training(), data.validation()
    probe = fit_probe(
        rows.need_features(),
        rows.labels,
        data.n_classes,
        held_out.need_features(),
        held_out.labels,
        memory_bytes=data.memory_bytes,
    )
    return {
        "weight": probe.weight,
        "bias": probe.bias,
        "strength": np.array([probe.strength], np.float64),
    }


def predict(
    spec: Spec, state: dict[str, np.ndarray[Any, Any]], data: PredictorData
) -> np.ndarray[Any, Any]:
    """Return logits (n, C)."""
    del spec
    return linear_logits(data.need_features(), state["weight"], state["bias"])
