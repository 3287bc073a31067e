"""Ridge regression on frozen features: the cheapest solved head."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from regraft.config.spec import Spec as Base
from regraft.features.ridge import ridge_head
from regraft.features.solved import linear_logits
from regraft.measure.calibration import fit_temperature
from regraft.protocols.predictor_data import PredictorData

NEEDS: Literal["nothing", "raw", "features"] = "features"


class Spec(Base):
    """Least squares on one-hot labels, in closed form; leave-one-out chooses the strength."""

    kind: Literal["ridge"] = "ridge"


def fit(spec: Spec, data: PredictorData, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return weight (C, width) and bias (C,), scaled to logits, and the strength (1,).

    Scores of least squares lie between 0 and 1; the temperature that fits the scores of left-out
    rows best makes logits of them.
    """
    del spec, seed
    rows = data.training()
    ridge = ridge_head(rows.need_features(), rows.labels, data.n_classes)
    temperature = fit_temperature(ridge.left_out, rows.labels[ridge.rows])
    return {
        "weight": (ridge.weight / temperature).astype(np.float32),
        "bias": (ridge.bias / temperature).astype(np.float32),
        "strength": np.array([ridge.strength], np.float64),
    }


def predict(
    spec: Spec, state: dict[str, np.ndarray[Any, Any]], data: PredictorData
) -> np.ndarray[Any, Any]:
    """Return logits (n, C)."""
    del spec
    return linear_logits(data.need_features(), state["weight"], state["bias"])
