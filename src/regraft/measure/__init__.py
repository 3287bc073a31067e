"""Pure functions from arrays to numbers: metrics, calibration, spread, significance, movement.

Names are imported from their module when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_COMPARISONS = {
    "Comparison": "comparison",
    "Interval": "intervals",
    "aso": "dominance",
    "benjamini_hochberg": "comparison",
    "choose_comparison": "choice",
    "compare_items": "contest",
    "compare_scores": "contest",
    "critical_difference": "rankings",
    "friedman": "rankings",
    "holm": "comparison",
    "interval": "intervals",
    "mcnemar": "significance",
    "minimum_detectable_difference": "power",
    "nadeau_bengio": "significance",
    "nemenyi": "rankings",
    "paired_bootstrap": "comparison",
    "permutation_test": "significance",
    "wilcoxon": "significance",
    "wilson": "intervals",
}

_HOMES = {**_COMPARISONS}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regraft.measure' has no attribute {name!r}")
    return getattr(import_module(f"regraft.measure.{_HOMES[name]}"), name)
