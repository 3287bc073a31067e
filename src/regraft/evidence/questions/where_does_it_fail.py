"""Where does it fail? Slices that fail more, confusions, the hardest items, labels likely wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.arm import interval_json
from regraft.evidence.questions.asked import Answered
from regraft.evidence.slicing import (
    candidate_slices,
    class_mix,
    nearest_rows,
    shown_item,
    slice_title,
    telling_words,
)
from regraft.evidence.words import number
from regraft.measure.comparison import ALPHA
from regraft.measure.confident_learning import label_errors
from regraft.measure.intervals import wilson
from regraft.measure.metrics import decide, softmax
from regraft.measure.slices import error_slices, hardest_items, ranked_confusions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.evidence.questions.asked import Answer, Asked
    from regraft.measure.slices import Confusion, ErrorSlice
    from regraft.tasks.items import Items

    Array = np.ndarray[Any, Any]

KEY, QUESTION = "fail", "Where does it fail?"

_WORST, _PAIRS, _HARDEST, _LISTED = 3, 3, 5, 10
_DRAWN, _EXAMPLES = 10, 4
_NO_INTERVAL = "a list of items, not an estimate"


def answered(asked: Asked) -> Answered:
    """Answer for the winner's first repetition, on the sealed part."""
    evidence, winner = asked.evidence, asked.winner
    if winner.test_logits is None:
        return Answered([])
    logits, labels = winner.test_logits[0], asked.test.labels
    predicted = decide(softmax(logits), asked.test.costs)
    classes, items = evidence.task.classes, evidence.test_items
    slices, drawn = failing_slices(
        predicted != labels, items, evidence.test_features, labels=labels, classes=classes
    )
    calibrated = softmax(logits / evidence.temperature)
    suspects = suspect_items(calibrated, items, classes)
    return Answered(
        [
            *slices,
            *confused_pairs(predicted, labels, classes),
            hardest(calibrated, items),
            *_training_labels(evidence.task_card.get("label_noise")),
            _sealed_labels(suspects, len(labels)),
        ],
        {**drawn, "suspects": suspects[:_LISTED]},
    )


def failing_slices(
    wrong: Array,
    items: Items,
    features: Array | None,
    *,
    labels: Array,
    classes: Sequence[str],
) -> tuple[list[Answer], dict[str, Any]]:
    """Return rows for the slices that fail more than the rest, and the data of the picture.

    All candidates are made without looking at errors and tested on the same items, Holm-corrected;
    the intervals hold for all of them together.

    Args:
        wrong: Whether each item is wrong, shape (n,).
        items: The items.
        features: Theirs by the pretrained backbone, shape (n, width), or None.
        labels: Their classes, shape (n,).
        classes: Names of the classes.
    """
    masks = candidate_slices(items, features)
    tested = error_slices(wrong, masks)
    level = 1 - ALPHA / max(len(tested), 1)
    n, k = len(wrong), int(wrong.sum())
    texts = [str(items.read(i)) for i in range(len(items))] if items.kind == "text" else None
    drawn = []
    for one in tested[:_DRAWN]:
        mask = masks[one.name]
        mix = class_mix(labels[mask], classes)
        words = telling_words(texts, mask) if texts and one.name.startswith("cluster") else []
        rows = nearest_rows(features, mask, _EXAMPLES) if one.is_worse else []
        drawn.append(
            {
                **_slice_json(one, level, len(tested)),
                "behind": {"rest": _rest(one, k, n)},
                "name": slice_title(one.name, mix, words),
                "classes": mix[:_EXAMPLES],
                "words": words,
                "nearest": [shown_item(items, row) for row in rows],
            }
        )
    overall = interval_json(wilson(k, n), seeds=1)
    worse = [one for one in drawn if one["is_worse"]]
    rows_found = [_slice_row(one) for one in worse[:_WORST]]
    if tested and not worse:
        rows_found = [_no_slice(tested, overall)]
    return rows_found, {"overall": overall, "n_tested": len(tested), "slices": drawn}


def confused_pairs(predicted: Array, labels: Array, classes: Sequence[str]) -> list[Answer]:
    """Return rows for the most frequent confusions, each a share of the items of its class."""
    n_pairs = len(classes) * (len(classes) - 1)
    return [
        _confused(one, labels, classes, n_pairs)
        for one in ranked_confusions(predicted, labels)[:_PAIRS]
    ]


def hardest(probabilities: Array, items: Items) -> Answer:
    """Return a row that names the items whose right class has the lowest probability."""
    rows = hardest_items(probabilities, items.labels, most=_HARDEST)
    right = probabilities[rows, items.labels[rows]]
    named = [f"{items.ids[row]} ({number(float(p))})" for row, p in zip(rows, right, strict=True)]
    return {
        "name": "hardest items",
        "value": None,
        "n": len(items),
        "seeds": 1,
        "estimator": "least probability of the right class, after temperature scaling; the most "
        "confident mistakes are shown below",
        "no_interval": _NO_INTERVAL,
        "items": [items.ids[row] for row in rows],
        "text": ", ".join(named),
    }


def suspect_items(
    probabilities: Array, items: Items, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the sealed items whose label is likely wrong, the least credible first."""
    found = label_errors(probabilities, items.labels)
    return [
        {
            "item": items.ids[row],
            "label": classes[items.labels[row]],
            "suggested": classes[better],
            "confidence": float(probabilities[row, better]),
        }
        for row, better in zip(found.rows, found.suggested, strict=True)
    ]


def _slice_json(one: ErrorSlice, level: float, n_tested: int) -> dict[str, Any]:
    rate = wilson(one.errors, one.rate.n, level=level)
    return {
        **interval_json(rate, seeds=1),
        "estimator": f"share of errors; Wilson at {100 * level:.2f} %, so that all {n_tested} "
        "slices hold together",
        "errors": one.errors,
        "rest": one.rest,
        "p": one.p,
        "p_adjusted": one.p_adjusted,
        "is_worse": one.is_worse,
    }


def _rest(one: ErrorSlice, k: int, n: int) -> dict[str, Any]:
    """Return the share of errors of what is not in a slice, of k errors among n items."""
    return interval_json(wilson(k - one.errors, n - one.rate.n), seeds=1)


def _slice_row(one: Mapping[str, Any]) -> Answer:
    known = (
        *("value", "low", "high", "n", "seeds", "warning", "no_interval"),
        *("errors", "rest", "behind"),
    )
    return {
        "name": f"errors in {one['name']}",
        **{key: one[key] for key in known},
        "p_adjusted": one["p_adjusted"],
        "estimator": f"{one['estimator']}; one-sided mid-p {one['p']:.2g}, {one['p_adjusted']:.2g} "
        "after Holm's correction",
        "text": number(one["value"]),
        "beside": f"elsewhere {number(one['rest'])}",
    }


def _no_slice(tested: Sequence[ErrorSlice], overall: Mapping[str, Any]) -> Answer:
    least = min(one.p_adjusted for one in tested)
    return {
        "name": "slices that fail more than the rest",
        **overall,
        "p_adjusted": least,
        "estimator": f"share of errors over all items, Wilson; {len(tested)} slices tested, least "
        f"p {least:.2g} after Holm's correction",
        "text": f"none of {len(tested)} found; errors overall {number(overall['value'])}",
    }


def _confused(one: Confusion, labels: Array, classes: Sequence[str], n_pairs: int) -> Answer:
    n = int((labels == one.label).sum())
    share = wilson(one.n, n, level=1 - ALPHA / n_pairs)
    return {
        "name": f"{classes[one.label]} taken for {classes[one.prediction]}",
        **interval_json(share, seeds=1),
        "count": one.n,
        "estimator": f"share of the items of {classes[one.label]}; Wilson, corrected for "
        f"{n_pairs} possible pairs",
        "text": f"{one.n} of {n}: {number(share.value)}",
    }


def _training_labels(noise: Mapping[str, Any] | None) -> list[Answer]:
    if not noise:
        return []
    known = ("value", "low", "high", "n", "estimator", "seeds", "warning", "no_interval")
    k = round(noise["value"] * noise["n"])
    return [
        {
            "name": "labels likely wrong among those that train and validate",
            **{key: noise.get(key) for key in known},
            "text": f"{k} of {noise['n']}: {number(noise['value'])}",
        }
    ]


def _sealed_labels(suspects: Sequence[Mapping[str, Any]], n: int) -> Answer:
    share = wilson(len(suspects), n)
    return {
        "name": "labels likely wrong among the sealed items",
        **interval_json(share, seeds=1),
        "estimator": "confident learning on the winner's probabilities, which trained on none of "
        "these; share flagged, Wilson",
        "items": [one["item"] for one in suspects[:_LISTED]],
        "text": f"{len(suspects)} of {n}: {number(share.value)}",
    }
