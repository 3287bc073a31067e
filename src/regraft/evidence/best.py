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
from regraft.measure.intervals import interval, wilson
from regraft.measure.metrics import confusion, decide, per_class, softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.measure.calibration import ReliabilityBin
    from regraft.measure.metrics import ClassScores
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
    counts = confusion(plain, labels, costs=costs).astype(int)
    scores = per_class(plain, labels, costs=costs)
    return {
        "part": part,
        "classes": list(classes),
        "confusion": counts.tolist(),
        "per_class": [
            {"label": name, **asdict(one), "intervals": _class_intervals(counts, i, one)}
            for i, (name, one) in enumerate(zip(classes, scores, strict=True))
        ],
        "reliability": {
            "bins": [_bin_json(one) for one in reliability_bins(plain, labels)],
            "bins_calibrated": [_bin_json(one) for one in reliability_bins(calibrated, labels)],
            "ece": interval_json(interval("ece", plain, labels), seeds=1),
            "ece_calibrated": interval_json(interval("ece", calibrated, labels), seeds=1),
            "temperature": temperature,
        },
        "mistakes": _mistakes(calibrated, items, classes, costs),
    }


def _class_intervals(
    counts: np.ndarray[Any, Any], place: int, scores: ClassScores
) -> dict[str, Any]:
    """Return precision, recall and F1 of a class as they can be traced."""
    right = int(counts[place, place])
    return {
        "precision": _proportion(right, int(counts[:, place].sum()), "items given this class"),
        "recall": _proportion(right, scores.n, "items of this class"),
        "f1": {
            "value": scores.f1,
            "low": None,
            "high": None,
            "n": scores.n,
            "estimator": "harmonic mean of precision and recall",
            "seeds": 1,
            "warning": None,
            "no_interval": "point estimate; precision and recall have theirs",
        },
    }


def _proportion(k: int, n: int, of: str) -> dict[str, Any]:
    if not n:
        return {
            "value": 0.0,
            "low": None,
            "high": None,
            "n": 0,
            "estimator": f"share of the {of}",
            "seeds": 1,
            "warning": None,
            "no_interval": f"there are no {of}",
        }
    found = interval_json(wilson(k, n), seeds=1)
    return {**found, "estimator": f"{k} of {n} {of}; {found['estimator']}"}


def _bin_json(one: ReliabilityBin) -> dict[str, Any]:
    """Return a bin with the interval of its share of right answers."""
    plain = asdict(one)
    if one.accuracy is None:
        return plain
    right = interval_json(wilson(one.accuracy * one.n, one.n), seeds=1)
    return {**plain, "right": right}


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
            "text": shown_text(items, int(row)),
            "image": thumbnail(items, int(row)),
            "label": classes[items.labels[row]],
            "predicted": classes[predicted[row]],
            "confidence": float(confidence[row]),
        }
        for row in worst
    ]


def shown_text(items: Items, row: int) -> str | None:
    """Return a text's beginning; None for other kinds."""
    if items.kind != "text":
        return None
    text = str(items.read(row))
    return text if len(text) <= _TEXT_LENGTH else text[:_TEXT_LENGTH] + " …"


def thumbnail(items: Items, row: int) -> str | None:
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
