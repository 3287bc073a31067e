"""Pure functions from arrays to numbers: metrics, calibration, spread, significance, movement.

Names are imported from their module when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_TRANSFERABILITY = {
    "Judgement": "transferability.judging",
    "etran": "transferability.discriminant",
    "etran_parts": "transferability.discriminant",
    "gbc": "transferability.separation",
    "h_score": "transferability.scatter",
    "h_score_shrunk": "transferability.scatter",
    "judge": "transferability.judging",
    "kendall_w": "transferability.judging",
    "knn_transfer": "transferability.neighbours",
    "leep": "transferability.source_head",
    "linear_probe": "transferability.neighbours",
    "log_evidence": "transferability.log_evidence",
    "logme": "transferability.log_evidence",
    "n_leep": "transferability.source_head",
    "nce": "transferability.source_head",
    "parc": "transferability.neighbours",
    "ped": "transferability.discriminant",
    "random_order": "transferability.judging",
    "regret": "transferability.judging",
    "rel_at_k": "transferability.judging",
    "repelled": "transferability.discriminant",
    "sfda": "transferability.discriminant",
    "static_order": "transferability.judging",
    "transrate": "transferability.separation",
    "weighted_tau": "transferability.judging",
}

_HOMES = {**_TRANSFERABILITY}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regraft.measure' has no attribute {name!r}")
    return getattr(import_module(f"regraft.measure.{_HOMES[name]}"), name)
