"""Pooled hidden states of a backbone at several depths, before and after adaptation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regraft.engine.adapted import build
from regraft.engine.batches import Loader
from regraft.features.passes import cached_batches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from regraft.backbones.backbone import Backbone
    from regraft.engine.adapted import Adapted
    from regraft.engine.job import Job

MOST_DEPTHS = 12


def looked_at_depths(backbone: Backbone) -> tuple[int, ...]:
    """Return the depths that are looked at: 0, L and evenly between, 13 at most.

    Depth d < L is what block d receives, L the pooled features. Only L where the backbone cannot be
    cut: what its blocks receive is then not the whole of what they are told.
    """
    n = backbone.n_blocks
    if not backbone.can_cut:
        return (n,)
    places = np.linspace(0, n, min(n, MOST_DEPTHS) + 1).round().astype(int)
    return tuple(sorted({int(one) for one in places}))


def adapted_with(job: Job, state: Mapping[str, torch.Tensor]) -> Adapted:
    """Return the model of a run under the state that it left, in evaluation mode."""
    model = build(job, None)
    model.load_state(state)
    model.evaluate()
    return model


def depth_features(
    job: Job, backbone: Backbone, rows: np.ndarray[Any, Any], depths: Sequence[int]
) -> dict[int, np.ndarray[Any, Any]]:
    """Return pooled states (n, width of the depth) of some items by depth, float32.

    Batches depend on the items and the job's backbone alone: on one device, what a frozen block
    gives is bit by bit the same whatever `backbone` does above it.

    Args:
        job: The data, how inputs are prepared, and the device.
        backbone: Pretrained, or as a run adapted it, on the job's device.
        rows: Rows of the job's data, shape (n,).
        depths: As `looked_at_depths` gives them.
    """
    backbone.module.eval()
    loader, last = Loader(job), backbone.n_blocks
    inner = tuple(depth for depth in depths if depth < last)
    lengths = job.data.prepared.lengths()[job.data.rows[rows]]
    batches = list(cached_batches(job.backbone, np.arange(len(rows)), lengths, job.device))
    found: dict[int, list[np.ndarray[Any, Any]]] = {depth: [] for depth in depths}
    with torch.no_grad():
        for chosen in batches:
            batch = loader.plain(rows[chosen], depth=0).inputs
            hidden, pooled = backbone.seen(batch, depths=inner, pooled=last in found)
            for depth, one in zip(inner, hidden, strict=True):
                found[depth].append(_on_host(_pooled(one, batch)))
            if pooled is not None:
                found[last].append(_on_host(pooled))
    back = np.argsort(np.concatenate(batches))
    return {depth: np.concatenate(parts)[back] for depth, parts in found.items()}


def weight_changes(
    pretrained: Backbone, model: Adapted, depths: Sequence[int]
) -> dict[int, float | None]:
    """Return ‖w − w₀‖ / ‖w₀‖ of the weights between one depth and the next below it.

    At the lowest depth these are the stem's, at the highest also what follows the blocks. LoRA
    counts as what it adds to the weight that it stands beside; modules that stand between layers
    have no weight before and are not in it.

    Args:
        pretrained: The backbone before.
        model: As the run left it.
        depths: Ascending.

    Returns:
        By depth; exactly 0 where nothing changed, None where there are no weights.
    """
    before = dict(pretrained.module.named_parameters())
    own = dict(model.backbone.module.named_parameters())
    deltas = _lora_deltas(model.backbone.module)
    changed, whole = dict.fromkeys(depths, 0.0), dict.fromkeys(depths, 0.0)
    for name, old in before.items():
        depth = pretrained.depth_of(name)
        place = next((one for one in depths if one > depth), depths[-1])
        whole[place] += float(old.detach().double().square().sum())
        new = own.get(name, own.get(_beside_lora(name)))
        if new is None:
            raise AssertionError(f"{name} is neither there nor beside LoRA")
        moved = new.detach().cpu().double() - old.detach().cpu().double()
        if name in deltas:
            moved += deltas[name].double()
        changed[place] += float(moved.square().sum())
    return {
        depth: float(np.sqrt(changed[depth] / whole[depth])) if whole[depth] else None
        for depth in depths
    }


def _lora_deltas(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return what LoRA adds to each weight, by the weight's own name."""
    if not any(".lora_A." in name for name, _ in module.named_parameters()):
        return {}
    from regraft.protocols.peft_folder import lora_deltas  # peft takes seconds to import

    return lora_deltas(module)


def _beside_lora(name: str) -> str:
    """Return what peft calls a parameter of a layer that LoRA was put on."""
    layer, _, parameter = name.rpartition(".")
    return f"{layer}.base_layer.{parameter}"


def _pooled(hidden: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return (B, width): maps are averaged over places, tokens over those that are no padding."""
    if hidden.ndim == 4:
        return hidden.mean(dim=(2, 3))
    mask = batch.get("attention_mask")
    if hidden.ndim == 3 and mask is not None and mask.shape[1] == hidden.shape[1]:
        weight = mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
        return (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)
    return hidden.mean(dim=1) if hidden.ndim == 3 else hidden.flatten(1)


def _on_host(values: torch.Tensor) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = values.float().cpu().numpy()
    return found
