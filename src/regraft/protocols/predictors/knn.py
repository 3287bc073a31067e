"""k nearest neighbours on frozen features."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from regraft.config.spec import Spec as Base
from regraft.features.solved import knn_logits
from regraft.protocols.predictor_data import PredictorData

NEEDS: Literal["nothing", "raw", "features"] = "features"


class Spec(Base):
    """Votes of the k most similar training items (cosine), weighted by similarity."""

    kind: Literal["knn"] = "knn"
    k: int = Field(10, ge=1, le=10_000)


def fit(spec: Spec, data: PredictorData, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Keep the training features (n, width), their labels (n,), and the number of classes."""
    del spec, seed
    rows = data.training()
    return {
        "features": np.array(rows.need_features()[:], np.float32, copy=None),
        "labels": rows.labels.astype(np.int64),
    }


def predict(
    spec: Spec, state: dict[str, np.ndarray[Any, Any]], data: PredictorData
) -> np.ndarray[Any, Any]:
    """Return logits (n, C)."""
    return knn_logits(
        state["features"],
        state["labels"],
        data.need_features(),
        k=spec.k,
        n_classes=data.n_classes,
    )
