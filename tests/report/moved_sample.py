"""What moved, made up: depths of three protocols, and cells of two backbones."""

from __future__ import annotations

from typing import Any

import numpy as np

from regraft.evidence.cells import Cell, limits_json
from regraft.evidence.movement import depth_name
from sample_record import image_record


def depths(first: int, most: float, *, n_blocks: int = 6, n: int = 440) -> list[dict[str, Any]]:
    """Return depths that are still up to block `first` and then move more and more."""
    found = []
    for depth in range(n_blocks + 1):
        moved = most * max(0, depth - first) / max(1, n_blocks - first)
        ends = {"low": moved * 0.8, "high": moved * 1.2}
        drift = {"value": moved / 2, "low": moved * 0.4, "high": moved * 0.6}
        found.append(
            {
                "depth": depth,
                "name": depth_name(depth, n_blocks),
                "mmd2": moved,
                **ends,
                "p": 0.002 if moved else 1.0,
                "cka": 1.0 - moved,
                "drift": drift,
                "n": n,
                "weights": moved / 10,
            }
        )
    return found


def cells(n: int, *, seed: int = 0) -> list[Cell]:
    """Return cells in which what moves more gains less."""
    random = np.random.default_rng(seed)
    found = []
    for i in range(n):
        moved, gain = 0.05 + 0.4 * i / n, 22.0 - 3 * i + random.normal()
        backbone = ("facebook/dinov2-small", "microsoft/resnet-18")[i % 2]
        found.append(
            Cell(
                study="3f9a17c2",
                data="flowers5/",
                backbone=backbone,
                arm=f"arm-{i}",
                title=("LP-FT", "LoRA", "Full fine-tuning", "Gradual unfreezing")[i % 4],
                mmd2=moved,
                low=moved - 0.02,
                high=moved + 0.02,
                gain=gain,
                gain_low=gain - 4,
                gain_high=gain + 4,
                over="From scratch",
                steps=0.1 + 0.1 * i,
                n=440,
                seeds=3,
            )
        )
    return found


def moved_question(n_cells: int = 7) -> dict[str, Any]:
    """Return the question as a record holds it."""
    limits = limits_json(cells(n_cells), seed=0)
    return {
        "key": "moved",
        "question": "What moved?",
        "answers": [
            {
                "name": "movement against gain over the control",
                "value": 0.1,
                "n": n_cells,
                "estimator": "Spearman's ρ",
                "text": limits["gain"]["text"],
            }
        ],
        "figure": {
            "depths": [
                {"arm": "lp-ft", "title": "LP-FT", "depths": depths(0, 0.41)},
                {"arm": "lp-ft-upper", "title": "LP-FT, upper half", "depths": depths(3, 0.22)},
                {"arm": "gradual", "title": "Gradual unfreezing", "depths": depths(1, 0.31)},
            ],
            **limits,
        },
    }


def moved_record(n_cells: int = 7) -> dict[str, Any]:
    """Return the sample study with what moved in it, and laws of its label curves."""
    record = image_record()
    kept = [one for one in record.get("questions") or () if one["key"] != "moved"]
    record["questions"] = [*kept, moved_question(n_cells)]
    for arm in record["label_efficiency"]["arms"]:
        curve = [
            {k: one[k] for k in ("labels_per_class", "value", "low", "high")}
            for one in arm["points"]
        ]
        arm["law"] = {
            "floor": 0.02,
            "scale": 0.6,
            "exponent": 0.7,
            "floor_interval": [0.0, 0.04],
            "scale_interval": [0.5, 0.7],
            "exponent_interval": [0.5, 0.9],
            "residual": 0.004,
            "n": 550,
            "seeds": 3,
            "note": "",
            "estimator": "least squares; 95 % ends over resamples of items and draws",
            "curve": curve,
        }
    return record
