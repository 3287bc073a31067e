"""Class weights and costs, from names to arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from regraft.errors import ConfigError, did_you_mean


def class_weight_array(
    given: str | Mapping[str, float] | None, classes: tuple[str, ...], labels: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any] | None:
    """Return loss weights (C,): ``balanced`` is n / (C n_c); classes not named weigh 1.

    Counts are those of training and validation.

    Raises:
        ConfigError: A class is unknown, or a weight is not positive.
    """
    if given is None:
        return None
    if isinstance(given, str):
        if given != "balanced":
            raise ConfigError(
                f"unknown {given!r}. Give balanced, or a weight by class.", where="class_weights"
            )
        counts = np.bincount(labels, minlength=len(classes))
        balanced: np.ndarray[Any, Any] = len(labels) / (len(classes) * np.maximum(counts, 1))
        return balanced
    weights = np.ones(len(classes))
    for name, value in given.items():
        if not 0 < value < np.inf:
            raise ConfigError(
                f"{name} has weight {value}; give a positive number.", where="class_weights"
            )
        weights[_index(name, classes, "class_weights")] = value
    return weights


def cost_array(
    given: Mapping[str, Mapping[str, float]] | None, classes: tuple[str, ...]
) -> np.ndarray[Any, Any] | None:
    """Return costs (C, C), row the true class; what is not given costs 1, being right 0.

    Raises:
        ConfigError: A class is unknown, or a cost is negative.
    """
    if given is None:
        return None
    costs = 1.0 - np.eye(len(classes))
    for true, row in given.items():
        for predicted, value in row.items():
            if not 0 <= value < np.inf:
                raise ConfigError(
                    f"{true} → {predicted} costs {value}; give a number ≥ 0.", where="costs"
                )
            costs[_index(true, classes, "costs"), _index(predicted, classes, "costs")] = value
    return costs


def _index(name: str, classes: tuple[str, ...], where: str) -> int:
    if name not in classes:
        raise ConfigError(f"unknown class {name!r}.{did_you_mean(name, classes)}", where=where)
    return classes.index(name)
