"""SqueezeNet 1.0 for smaller images than 227 x 227, which two cores fine-tune in minutes.

regraft run photos/ --backbone python:benchmarks/small_squeezenet.py:squeezenet_96@WEIGHTS
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "squeezenet.py"


def of_side(side: int) -> Any:
    """Return the network of the examples for images of side x side pixels, weights random."""
    module = runpy.run_path(str(EXAMPLE))["squeezenet1_0"]()
    module.preprocess = {**module.preprocess, "size": side * 9 // 8, "crop": [side, side]}
    return module


def squeezenet_64() -> Any:
    """Return it for 64 x 64 pixels."""
    return of_side(64)


def squeezenet_96() -> Any:
    """Return it for 96 x 96 pixels."""
    return of_side(96)
