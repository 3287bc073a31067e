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
    from collections.abc import Sequence

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
        if not graft.has_head:
            raise GraftError(
                "it holds adapter weights but no head and no classes (a plain peft folder): there "
                "is nothing to predict with. Give a folder that regraft wrote.",
                where="graft",
            )
        if graft.backbone_digest != backbone.digest:
            raise GraftError(
                f"it was made on {graft.backbone} (digest {graft.backbone_digest[:12]}…), this is "
                f"{backbone.reference} (digest {backbone.digest[:12]}…). Attach it to the weights "
                "that it was made on.",
                where="graft",
            )
        self.graft = graft
        self.classes: tuple[str, ...] = graft.classes
        self._backbone, self._device = backbone, device

    @classmethod
    def load(cls, folder: str | Path, *, backbone: str | None = None) -> GraftPredictor:
        """Read a graft and attach it.

        Args:
            folder: The graft's folder.
            backbone: Where the backbone is, if not where the graft says. Required for grafts whose
                backbone is Python code (``python:…``): what a graft names is never run by itself.

        Raises:
            GraftError: The graft is damaged, not trusted, or was made on other weights.
            BackboneError: The backbone cannot be loaded.
        """
        graft = read_graft(Path(folder))
        check_trusted(graft, supplied_backbone=backbone is not None)
        return cls(graft, load_backbone(backbone or graft.backbone))

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
