"""The control without a backbone: logistic regression on pixels, or on TF-IDF of words."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from regraft.config.spec import Spec as Base
from regraft.features.solved import fit_probe
from regraft.measure.metrics import score, softmax
from regraft.protocols.predictor_data import PredictorData

NEEDS: Literal["nothing", "raw", "features"] = "raw"

_TEXT_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)  # inverse L2 strengths, scikit-learn's C
_DEFAULT_STRENGTH = 3.0


class Spec(Base):
    """Its strength is tuned on validation as every protocol's settings are."""

    kind: Literal["raw_logistic"] = "raw_logistic"
    side: int = Field(16, ge=2, le=64, description="images are shrunk to side × side pixels")
    terms: int = Field(50_000, ge=10, description="most frequent words and word pairs kept")


def fit(spec: Spec, data: PredictorData, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return the tensors that predict."""
    if data.kind == "text":
        return _fit_text(spec, data, seed)
    rows, held_out = data.training(), data.validation()
    side = _side(spec, rows)
    probe = fit_probe(
        pixels(rows, side),
        rows.labels,
        data.n_classes,
        pixels(held_out, side),
        held_out.labels,
    )
    return {"weight": probe.weight, "bias": probe.bias, "side": np.array([side], np.int64)}


def predict(
    spec: Spec, state: dict[str, np.ndarray[Any, Any]], data: PredictorData
) -> np.ndarray[Any, Any]:
    """Return logits (n, C)."""
    if data.kind == "text":
        terms = json.loads(state["terms"].tobytes().decode())
        vectorizer = _vectorizer(spec, terms)
        vectorizer.idf_ = state["idf"]
        scores = vectorizer.transform(data.need_raw()) @ state["weight"].T + state["bias"]
        return np.asarray(scores, np.float32)
    return pixels(data, int(state["side"][0])) @ state["weight"].T + state["bias"]


def pixels(data: PredictorData, side: int) -> np.ndarray[Any, Any]:
    """Return images shrunk to side × side (values in [0, 1]), or flattened arrays, as float32 rows."""
    raw = data.need_raw()
    if not raw:
        return _none()
    if data.kind == "array":
        return np.stack([np.asarray(one, np.float32).ravel() for one in raw])
    small = (Image.fromarray(i).resize((side, side), Image.Resampling.BOX) for i in raw)
    return np.stack([np.asarray(image, np.float32).ravel() / 255.0 for image in small])


def _side(spec: Spec, data: PredictorData) -> int:
    """Return the side to shrink to: never larger than the smallest training image."""
    if data.kind != "image":
        return 0
    return max(2, min(spec.side, *(max(image.shape[:2]) for image in data.need_raw())))


def _none() -> np.ndarray[Any, Any]:
    return np.empty((0, 0), np.float32)


def _fit_text(spec: Spec, data: PredictorData, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    rows, held_out = data.training(), data.validation()
    vectorizer = _vectorizer(spec, None)
    x = vectorizer.fit_transform(rows.need_raw())
    x_held_out = vectorizer.transform(held_out.need_raw()) if len(held_out.labels) else None
    best = _best_text_model(x, rows.labels, x_held_out, held_out.labels, data.n_classes, seed)
    weight, bias = _all_classes(best, data.n_classes)
    terms = json.dumps(vectorizer.get_feature_names_out().tolist()).encode()
    return {
        "weight": weight,
        "bias": bias,
        "idf": vectorizer.idf_.astype(np.float64),
        "terms": np.frombuffer(terms, np.uint8).copy(),
    }


def _best_text_model(
    x: sparse.csr_matrix,
    y: np.ndarray[Any, Any],
    x_held_out: sparse.csr_matrix | None,
    y_held_out: np.ndarray[Any, Any],
    n_classes: int,
    seed: int,
) -> LogisticRegression:
    """Return the model with the best log loss on the held-out rows."""
    strengths = _TEXT_STRENGTHS if x_held_out is not None else (_DEFAULT_STRENGTH,)
    best: tuple[float, LogisticRegression] | None = None
    for strength in strengths:
        model = LogisticRegression(C=strength, max_iter=1000, random_state=seed % 2**32).fit(x, y)
        loss = 0.0
        if x_held_out is not None:
            weight, bias = _all_classes(model, n_classes)
            logits = np.asarray(x_held_out @ weight.T + bias)
            loss = score("log_loss", softmax(logits), y_held_out)
        if best is None or loss < best[0]:
            best = loss, model
    if best is None:
        raise AssertionError("there is at least one strength")
    return best[1]


def _all_classes(
    model: LogisticRegression, n_classes: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return weight (C, d) and bias (C,); classes absent from training get a very low bias."""
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
        intercepts = np.concatenate([-intercepts / 2, intercepts / 2])
    weight = np.zeros((n_classes, coefficients.shape[1]), np.float32)
    bias = np.full(n_classes, -20.0, np.float32)
    weight[model.classes_], bias[model.classes_] = coefficients, intercepts
    return weight, bias


def _vectorizer(spec: Spec, terms: list[str] | None) -> TfidfVectorizer:
    return TfidfVectorizer(
        ngram_range=(1, 2),
        max_features=spec.terms,
        sublinear_tf=True,
        token_pattern=r"(?u)\b\w+\b",
        vocabulary=terms,
    )
