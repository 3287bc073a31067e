"""Logits and features of what a run left, over any prepared inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.config.registry import kind_spec, load
from regraft.engine.adapted import build
from regraft.engine.batches import Loader
from regraft.engine.job import Job
from regraft.engine.outputs import outputs
from regraft.engine.run import predictor_kind
from regraft.features.rows import chosen
from regraft.protocols.predictor_data import PredictorData

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch


def predict_logits(
    job: Job, state: Mapping[str, torch.Tensor | np.ndarray[Any, Any]]
) -> np.ndarray[Any, Any]:
    """Return logits (n, C), float32, of the job's items under the state that its run left.

    Labels and folds of the job's data are not looked at.
    """
    return predict_with_features(job, state)[0]


def predict_with_features(
    job: Job, state: Mapping[str, torch.Tensor | np.ndarray[Any, Any]]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """Return logits (n, C) and the pooled features (n, width) that they are made of, float32.

    The features are those of the adapted backbone; None where the protocol reads no backbone.
    Labels and folds of the job's data are not looked at.
    """
    value = predictor_kind(job.protocol)
    rows = np.arange(len(job.data.rows))
    if value is None:
        model = build(job, None)
        model.load_state({name: _tensor(tensor) for name, tensor in state.items()})
        found = outputs(job, model, Loader(job), rows, depth=0)
        return found.logits, found.features
    spec = kind_spec("predictor", value, where="predictor")
    kind = load("predictor", value["kind"])
    reads = kind.NEEDS == "features"
    features = chosen(job.data.features(), job.data.rows) if reads else None
    data = PredictorData(
        kind=job.data.kind,
        raw=job.data.raw(rows) if kind.NEEDS == "raw" else None,
        features=features,
        labels=job.data.labels,
        n_classes=job.data.n_classes,
        n_train=0,
    )
    arrays = {n.removeprefix("predictor."): np.asarray(t) for n, t in state.items()}
    logits: np.ndarray[Any, Any] = kind.predict(spec, arrays, data)
    return logits, None if features is None else features.whole()


def _tensor(value: torch.Tensor | np.ndarray[Any, Any]) -> torch.Tensor:
    import torch

    return torch.as_tensor(value)
