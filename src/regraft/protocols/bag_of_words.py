"""Logistic regression on TF-IDF of words and word pairs, as plain arrays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from regraft.features.logistic import log_loss

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Inverse L2 strengths (scikit-learn's C), strong penalty first."""

_DEFAULT_STRENGTH = 3.0
_ABSENT = -20.0
_WORD = r"(?u)\b\w+\b"

Array = np.ndarray[Any, Any]


def fit_words(
    texts: Sequence[str],
    labels: Array,
    held_out: Sequence[str],
    held_out_labels: Array,
    *,
    n_classes: int,
    terms: int,
) -> dict[str, Array]:
    """Return weight (C, d), bias (C,), idf (d,) and the d terms, as the bytes of a JSON list.

    Args:
        texts: Training texts.
        labels: Theirs, shape (n,).
        held_out: Texts on which the strength is chosen by log loss; may be empty.
        held_out_labels: Theirs, shape (m,).
        n_classes: C.
        terms: The most frequent words and word pairs are kept, at most so many.
    """
    counts = np.bincount(labels, minlength=n_classes)
    if not any(_analyse(text) for text in texts) or (counts > 0).sum() < 2:
        bias = np.log((counts + 1.0) / (counts + 1.0).sum())
        return _state(np.zeros((n_classes, 0)), bias, np.zeros(0), [])
    vectorizer = _vectorizer(terms=terms)
    x = vectorizer.fit_transform(texts)
    known = vectorizer.get_feature_names_out().tolist()
    best: dict[str, Array] = {}
    least = np.inf
    for strength in _STRENGTHS if len(held_out) else (_DEFAULT_STRENGTH,):
        model = LogisticRegression(C=strength, max_iter=2000).fit(x, labels)
        state = _state(*_all_classes(model, n_classes), vectorizer.idf_, known)
        loss = log_loss(word_logits(state, held_out), held_out_labels) if len(held_out) else 0.0
        if loss < least:
            best, least = state, loss
    return best


def word_logits(state: Mapping[str, Array], texts: Sequence[str]) -> Array:
    """Return logits (n, C), float32, under a state of `fit_words`."""
    known = json.loads(state["terms"].tobytes().decode())
    if not known:
        return np.tile(state["bias"], (len(texts), 1))
    vectorizer = _vectorizer(vocabulary=known)
    vectorizer.idf_ = state["idf"]
    return np.asarray(vectorizer.transform(texts) @ state["weight"].T + state["bias"], np.float32)


def _state(weight: Array, bias: Array, idf: Array, known: list[str]) -> dict[str, Array]:
    return {
        "weight": weight.astype(np.float32),
        "bias": bias.astype(np.float32),
        "idf": idf.astype(np.float64),
        "terms": np.frombuffer(json.dumps(known).encode(), np.uint8).copy(),
    }


def _all_classes(model: LogisticRegression, n_classes: int) -> tuple[Array, Array]:
    """Return weight (C, d) and bias (C,); classes absent from training get a very low bias."""
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
        intercepts = np.concatenate([-intercepts / 2, intercepts / 2])
    weight = np.zeros((n_classes, coefficients.shape[1]))
    bias = np.full(n_classes, intercepts.min() + _ABSENT)
    weight[model.classes_], bias[model.classes_] = coefficients, intercepts
    return weight, bias


def _vectorizer(
    *, terms: int | None = None, vocabulary: list[str] | None = None
) -> TfidfVectorizer:
    return TfidfVectorizer(
        ngram_range=(1, 2),
        max_features=terms,
        sublinear_tf=True,
        token_pattern=_WORD,
        vocabulary=vocabulary,
    )


def _analyse(text: str) -> list[str]:
    words: list[str] = _vectorizer().build_analyzer()(text)
    return words
