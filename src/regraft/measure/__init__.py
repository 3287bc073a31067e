"""Pure functions from arrays to numbers: metrics, calibration, spread, significance, movement.

Names are imported when they are first used: ``rg.measure.logme(features, labels)``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_TRANSFERABILITY = {
    "etran": "regraft.measure.transferability.discriminant",
    "gbc": "regraft.measure.transferability.separation",
    "h_score": "regraft.measure.transferability.scatter",
    "h_score_shrunk": "regraft.measure.transferability.scatter",
    "judge": "regraft.measure.transferability.judging",
    "kendall_w": "regraft.measure.transferability.judging",
    "knn_transfer": "regraft.measure.transferability.neighbours",
    "leep": "regraft.measure.transferability.source_head",
    "linear_probe": "regraft.measure.transferability.neighbours",
    "logme": "regraft.measure.transferability.log_evidence",
    "n_leep": "regraft.measure.transferability.source_head",
    "nce": "regraft.measure.transferability.source_head",
    "parc": "regraft.measure.transferability.neighbours",
    "ped": "regraft.measure.transferability.discriminant",
    "random_order": "regraft.measure.transferability.judging",
    "regret": "regraft.measure.transferability.judging",
    "rel_at_k": "regraft.measure.transferability.judging",
    "sfda": "regraft.measure.transferability.discriminant",
    "static_order": "regraft.measure.transferability.judging",
    "transrate": "regraft.measure.transferability.separation",
    "weighted_tau": "regraft.measure.transferability.judging",
}

_HOMES = {**_TRANSFERABILITY}


def __getattr__(name: str) -> Any:
    """Import a function from its home when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regraft.measure' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(_HOMES)
