"""A graft attached to its backbone: predictions for new items."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from regraft.backbones.loading import load_backbone
from regraft.engine.job import Job
from regraft.engine.predict import predict_logits
from regraft.errors import GraftError
from regraft.features.store import Cache
from regraft.ledger.grafts import check_trusted, read_graft
from regraft.measure.metrics import softmax
from regraft.search.bench import Bench
from regraft.tasks.items import Items, items_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.backbones.backbone import Backbone
    from regraft.ledger.grafts import Graft


@final
class GraftPredictor:
    """Predicts with a graft.

    Example:
        >>> GraftPredictor.load("grafts/bees").predict(["new.jpg"])  # doctest: +SKIP
        ['bee']
    """

    def __init__(self, graft: Graft, backbone: Backbone, *, device: str = "cpu") -> None:
        _check_head(graft)
        if graft.backbone_digest != backbone.digest:
            raise GraftError(
                f"it was made on {graft.backbone} (digest {graft.backbone_digest[:12]}…), this is "
                f"{backbone.reference} (digest {backbone.digest[:12]}…). Attach it to the weights "
                "that it was made on.",
                where="graft",
            )
        if key := _first_difference(graft.preprocess, backbone.preprocess.spec):
            raise GraftError(
                f"it was made with another preprocessing ({key}) than {backbone.reference} has, so "
                "it would predict something else. Attach it to the backbone as it was.",
                where="graft",
            )
        self.graft = graft
        self.classes: tuple[str, ...] = graft.classes
        self._backbone, self._device = backbone, device

    @classmethod
    def load(
        cls, folder: str | Path, *, backbone: str | None = None, trust_remote_code: bool = False
    ) -> GraftPredictor:
        """Read a graft and attach it.

        Args:
            folder: The graft's folder.
            backbone: Where the backbone is, if not where the graft says. Required for grafts whose
                backbone is Python code (``python:…``): what a graft names is never run by itself.
            trust_remote_code: Whether code that comes with a hub model may run.

        Raises:
            GraftError: The graft is damaged, not trusted, without head, or of another backbone.
            BackboneError: The backbone cannot be loaded.
        """
        graft = read_graft(Path(folder))
        _check_head(graft)
        check_trusted(graft, supplied_backbone=backbone is not None)
        loaded = load_backbone(
            backbone or graft.backbone,
            allow_python=backbone is not None,
            trust_remote_code=trust_remote_code,
        )
        return cls(graft, loaded)

    def logits(self, inputs: Items | Sequence[Any]) -> np.ndarray[Any, Any]:
        """Return logits, shape (n, C), float32.

        Args:
            inputs: Texts, image paths, decoded images (uint8, (H, W, 3)), arrays, or `Items`.
        """
        items = inputs if isinstance(inputs, Items) else items_from(inputs, self.graft.kind)
        with tempfile.TemporaryDirectory(prefix="regraft-predict-") as folder:
            bench = Bench(items, self._backbone, Cache(Path(folder)))
            job = Job(
                run="predict",
                protocol=self.graft.protocol,
                backbone=self._backbone,
                data=bench.plain_data(len(self.classes), "accuracy"),
                seed=0,
                device=self._device,
            )
            return predict_logits(job, self.graft.state)

    def predict_proba(self, inputs: Items | Sequence[Any]) -> np.ndarray[Any, Any]:
        """Return calibrated class probabilities, shape (n, C); columns follow `classes`."""
        return softmax(self.logits(inputs) / self.graft.temperature)

    def predict(self, inputs: Items | Sequence[Any]) -> list[str]:
        """Return the most probable class of each item."""
        return [self.classes[i] for i in self.predict_proba(inputs).argmax(axis=1)]


def _first_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> str | None:
    """Return the first key under which both hold something, and not the same; else None.

    What only one of them names is left out: releases of transformers add settings.
    """
    for key in sorted(first.keys() & second.keys()):
        one, other = first[key], second[key]
        if isinstance(one, dict) and isinstance(other, dict):
            if inner := _first_difference(one, other):
                return f"{key}.{inner}"
        elif one != other:
            return key
    return None


def _check_head(graft: Graft) -> None:
    if not graft.has_head:
        raise GraftError(
            "it holds adapter weights but no head and no classes (a plain peft folder): there is "
            "nothing to predict with. Give a folder that regraft wrote.",
            where="graft",
        )
