"""The winner looked at closely: confusion, calibration, confident mistakes."""

from __future__ import annotations

import base64
import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from regraft.evidence.arm import interval_json
from regraft.measure.calibration import fit_temperature, reliability_bins
from regraft.measure.intervals import interval
from regraft.measure.metrics import confusion, decide, per_class, softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.tasks.items import Items

SHOWN_MISTAKES = 12
_THUMBNAIL_SIDE = 160
_TEXT_LENGTH = 400


def best_json(
    *,
    logits: np.ndarray[Any, Any],
    items: Items,
    classes: Sequence[str],
    temperature: float,
    costs: np.ndarray[Any, Any] | None,
    part: str,
) -> dict[str, Any]:
    """Return the record's part on the winner.

    Args:
        logits: Of the winner's first repetition, shape (n, C).
        items: The labelled items they are of.
        classes: Names of the classes.
        temperature: Fitted on validation.
        costs: Cost matrix (C, C), or None.
        part: Which part the items are: ``test`` or ``validation``.
    """
    plain, calibrated = softmax(logits), softmax(logits / temperature)
    labels = items.labels
    scores = per_class(plain, labels, costs=costs)
    return {
        "part": part,
        "classes": list(classes),
        "confusion": confusion(plain, labels, costs=costs).astype(int).tolist(),
        "per_class": [
            {"label": name, **asdict(one)} for name, one in zip(classes, scores, strict=True)
        ],
        "reliability": {
            "bins": [asdict(one) for one in reliability_bins(plain, labels)],
            "bins_calibrated": [asdict(one) for one in reliability_bins(calibrated, labels)],
            "ece": interval_json(interval("ece", plain, labels)),
            "ece_calibrated": interval_json(interval("ece", calibrated, labels)),
            "temperature": temperature,
        },
        "mistakes": _mistakes(calibrated, items, classes, costs),
    }


def temperature_of(logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    """Return the temperature fitted on validation logits (n, C); 1 where there are none."""
    return fit_temperature(logits, labels) if len(labels) else 1.0


def _mistakes(
    probabilities: np.ndarray[Any, Any],
    items: Items,
    classes: Sequence[str],
    costs: np.ndarray[Any, Any] | None,
) -> list[dict[str, Any]]:
    predicted = decide(probabilities, costs)
    confidence = probabilities[np.arange(len(predicted)), predicted]
    wrong = np.flatnonzero(predicted != items.labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:SHOWN_MISTAKES]
    return [
        {
            "item": items.ids[row],
            "text": _text(items, int(row)),
            "image": _thumbnail(items, int(row)),
            "label": classes[items.labels[row]],
            "predicted": classes[predicted[row]],
            "confidence": float(confidence[row]),
        }
        for row in worst
    ]


def _text(items: Items, row: int) -> str | None:
    if items.kind != "text":
        return None
    text = str(items.read(row))
    return text if len(text) <= _TEXT_LENGTH else text[:_TEXT_LENGTH] + " …"


def _thumbnail(items: Items, row: int) -> str | None:
    """Return a small JPEG or PNG as a data address; tiny images are enlarged without blurring."""
    if items.kind != "image":
        return None
    image = Image.fromarray(np.asarray(items.read(row)))
    tiny = max(image.size) < _THUMBNAIL_SIDE // 2
    if tiny:
        factor = _THUMBNAIL_SIDE // max(image.size)
        size = (image.width * factor, image.height * factor)
        image = image.resize(size, Image.Resampling.NEAREST)
    else:
        image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    file, form = io.BytesIO(), "PNG" if tiny else "JPEG"
    image.save(file, form, quality=80, optimize=True)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
