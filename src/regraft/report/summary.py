"""The record cut down to what scripts read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def run_summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that ``regraft run --json`` prints."""
    best = record["best"]
    return {
        "study": record["study"]["id"],
        "verdict": {key: record["verdict"][key] for key in ("kind", "confirmed", "sentence")},
        "target": record["target"],
        "best": {
            "run": best["run"],
            "protocol": best["protocol"],
            "backbone": best["backbone"],
            "graft": best["graft"],
        },
        "runs": [
            {
                "run": arm["run"],
                "protocol": arm["key"],
                "role": "candidate" if arm["role"] == "candidate" else "control",
                "status": arm["status"],
                "reason": arm["reason"],
                "validation": _plain(arm["validation"]),
                "test": _plain(arm["test"]),
                "seconds": arm["seconds"],
                "parameters_trained": arm["parameters_trained"],
            }
            for arm in record["arms"]
        ],
        "test_openings": record["test_openings"],
    }


def _plain(scores: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if scores is None:
        return None
    return {n: {k: one[k] for k in ("value", "low", "high")} for n, one in scores.items()}
