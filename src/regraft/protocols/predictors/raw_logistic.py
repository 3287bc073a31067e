"""The control without a backbone: logistic regression on pixels, or on TF-IDF of words."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from regraft.config.spec import Spec as Base
from regraft.features.logistic import fit_probe
from regraft.features.solved import linear_logits
from regraft.protocols.bag_of_words import fit_words, word_logits
from regraft.protocols.predictor_data import PredictorData

NEEDS: Literal["nothing", "raw", "features"] = "raw"

_LOOKED_AT = 32


class Spec(Base):
    """Its strength is tuned on validation as every protocol's settings are."""

    kind: Literal["raw_logistic"] = "raw_logistic"
    side: int = Field(
        16, ge=2, le=64, description="images are shrunk to side × side pixels; small ones are not"
    )
    terms: int = Field(50_000, ge=10, description="most frequent words and word pairs kept")


def fit(spec: Spec, data: PredictorData, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return weight, bias, and how inputs are turned into numbers (pixels per side, or terms)."""
    del seed
    rows, held_out = data.training(), data.validation()
    if data.kind == "text":
        return fit_words(
            rows.need_raw(),
            rows.labels,
            held_out.need_raw(),
            held_out.labels,
            n_classes=data.n_classes,
            terms=spec.terms,
        )
    side = _side(spec, rows)
    probe = fit_probe(
        pixels(rows, side),
        rows.labels,
        data.n_classes,
        pixels(held_out, side),
        held_out.labels,
        memory_bytes=data.memory_bytes,
    )
    return {"weight": probe.weight, "bias": probe.bias, "side": np.array([side], np.int64)}


def predict(
    spec: Spec, state: dict[str, np.ndarray[Any, Any]], data: PredictorData
) -> np.ndarray[Any, Any]:
    """Return logits (n, C)."""
    del spec
    if data.kind == "text":
        return word_logits(state, data.need_raw())
    return linear_logits(pixels(data, int(state["side"][0])), state["weight"], state["bias"])


def pixels(data: PredictorData, side: int) -> np.ndarray[Any, Any]:
    """Return images as side × side RGB in [0, 1], or arrays flattened: float32 rows (n, d)."""
    raw = data.need_raw()
    rows: np.ndarray[Any, Any] | None = None
    for place, one in enumerate(raw):
        values = _values(one, data.kind, side)
        if rows is None:
            rows = np.empty((len(raw), values.size), np.float32)  # no list beside it
        rows[place] = values
    return np.empty((0, 0), np.float32) if rows is None else rows


def _values(one: Any, kind: str, side: int) -> np.ndarray[Any, Any]:
    if kind == "array":
        return np.asarray(one, np.float32).ravel()
    small = Image.fromarray(one).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel() / 255.0


def _side(spec: Spec, data: PredictorData) -> int:
    """Return the side to shrink to, at most that of the smallest of the first images."""
    if data.kind != "image":
        return 0
    sides = [int(max(image.shape[:2])) for image in data.need_raw()[:_LOOKED_AT]]
    return min([spec.side, *sides])
