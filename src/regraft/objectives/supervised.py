"""The supervised loss."""

from __future__ import annotations

import torch
from torch.nn import functional


def cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    class_weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Mean cross-entropy; with class weights the mean is weighted by each item's class weight.

    Args:
        logits: Shape (B, C), float, B ≥ 1.
        labels: Class indices, shape (B,), int64.
        class_weights: Shape (C,), ≥ 0; None weighs all alike.
        label_smoothing: Share ε of the target spread evenly over the classes, in [0, 1).

    Returns:
        Scalar: Σ w_y · (1−ε)(−ln p_y) / Σ w_y, plus ε/C · Σ_c w_c (−ln p_c) normalised alike.

    Reference:
        Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7.
    """
    return functional.cross_entropy(
        logits, labels, weight=class_weights, label_smoothing=label_smoothing
    )
