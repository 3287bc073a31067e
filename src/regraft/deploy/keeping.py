"""Keeping a graft: written, then proved in a fresh process."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.deploy.predictor import GraftPredictor
from regraft.deploy.proof import PROVED_ITEMS, prove
from regraft.ledger.grafts import write_graft

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.backbones.backbone import Backbone
    from regraft.deploy.proof import FreshProcess
    from regraft.ledger.grafts import Graft
    from regraft.tasks.items import Items


def keep_graft(
    folder: Path,
    graft: Graft,
    backbone: Backbone,
    items: Items,
    *,
    metric: str,
    fresh: FreshProcess,
) -> dict[str, Any]:
    """Write a graft and prove it on some of the items; return the proof, plain.

    Args:
        folder: Where it goes; a graft there is replaced.
        graft: The graft.
        backbone: What it was made on.
        items: Labelled items; at most 256 of them, evenly taken, are predicted.
        metric: The metric that must come out exactly the same.
        fresh: The process that proves it, with the same backbone.

    Raises:
        GraftError: A fresh process cannot load it, or predicts something else.
        LedgerError: The disk is full or the folder cannot be written.
    """
    chosen = np.linspace(0, len(items) - 1, min(PROVED_ITEMS, len(items))).astype(int)
    proved = items.subset(chosen)
    write_graft(folder, graft)
    expected = GraftPredictor(graft, backbone).logits(proved)
    proof = prove(fresh, folder, proved, expected, metric=metric)
    return {
        **asdict(proof),
        "n": proof.items,
        "seeds": 1,
        "estimator": f"{proof.metric} of the graft in a fresh process, on items spread over all",
        "no_interval": "compared with what the run predicted, not an estimate",
    }
