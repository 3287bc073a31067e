"""The control without a backbone: logistic regression on pixels, or on TF-IDF of words."""

from __future__ import annotations

import math
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from regraft.config.spec import Spec as Base
from regraft.features.logistic import fit_probe
from regraft.features.solved import linear_logits
from regraft.protocols.bag_of_words import fit_words, word_logits
from regraft.protocols.predictor_data import PredictorData

if TYPE_CHECKING:
    from collections.abc import Sequence

NEEDS: Literal["nothing", "raw", "features"] = "raw"

_LOOKED_AT = 32
_VALUE_BYTES = 4


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
    """Return images as side × side RGB in [0, 1], or arrays flattened: float32 rows (n, d).

    They lie in a file where they are more than half of what may be kept in memory.
    """
    raw = data.need_raw()
    if not len(raw):
        return np.empty((0, 0), np.float32)
    shape = (len(raw), _numbers(raw[0], data.kind, side).size)
    if math.prod(shape) * _VALUE_BYTES > data.memory_bytes / 2:
        return _in_a_file(raw, data.kind, side, shape)
    rows = np.empty(shape, np.float32)
    for place, one in enumerate(raw):
        rows[place] = _numbers(one, data.kind, side)
    return rows


def _numbers(one: Any, kind: str, side: int) -> np.ndarray[Any, Any]:
    if kind == "array":
        return np.asarray(one, np.float32).ravel()
    small = Image.fromarray(one).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel() / np.float32(255.0)


def _in_a_file(
    raw: Sequence[Any], kind: str, side: int, shape: tuple[int, int]
) -> np.ndarray[Any, Any]:
    """Return the rows in a mapped file that is gone when nothing reads it any more."""
    with TemporaryFile() as file:
        for one in raw:
            file.write(_numbers(one, kind, side).tobytes())
        file.flush()
        return np.memmap(file, np.float32, "r", shape=shape)


def _side(spec: Spec, data: PredictorData) -> int:
    """Return the side to shrink to, at most that of the smallest of the first images."""
    if data.kind != "image":
        return 0
    sides = [int(max(image.shape[:2])) for image in data.need_raw()[:_LOOKED_AT]]
    return min([spec.side, *sides])
