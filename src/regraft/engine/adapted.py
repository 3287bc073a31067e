"""A backbone as a protocol adapts it: copy, inserted modules, head, and what of it trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from torch import nn

from regraft.config.protocol import depth_index
from regraft.config.registry import kind_spec, load
from regraft.engine.meter import spare_bytes
from regraft.features.logistic import fit_probe
from regraft.features.rows import chosen
from regraft.features.solved import centroid_head
from regraft.protocols.trainability import Trainability, trainability
from regraft.seeds import derive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from regraft.backbones.backbone import Backbone
    from regraft.engine.job import Head, Job, Stage
    from regraft.protocols.insertion import Inserted

_WITH_STATISTICS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Adapted:
    """What a run trains.

    Attributes:
        backbone: A copy (or a random twin) of the pretrained backbone, modules inserted.
        head: Maps pooled features (B, width) to logits (B, C).
        inserted: What each module of the protocol inserted, in order.
        trains: Which parameters train, in which groups, from which depth.
        learns_statistics: Whether normalisation in trained blocks updates its running statistics.
    """

    backbone: Backbone
    head: nn.Module
    inserted: tuple[Inserted, ...]
    trains: Trainability
    learns_statistics: bool

    def features(
        self, batch: Mapping[str, torch.Tensor], hidden: torch.Tensor | None, depth: int
    ) -> torch.Tensor:
        """Return pooled features (B, width), from `hidden` at `depth` where it is given."""
        if hidden is None:
            return self.backbone.features(batch)
        return self.backbone.features_from(hidden, batch, depth=depth)

    def logits(
        self, batch: Mapping[str, torch.Tensor], hidden: torch.Tensor | None, depth: int
    ) -> torch.Tensor:
        """Return logits (B, C), from `hidden` at `depth` where it is given."""
        found: torch.Tensor = self.head(self.features(batch, hidden, depth))
        return found

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield every parameter under the name it has in a run's state."""
        for name, parameter in self.head.named_parameters():
            yield f"head.{name}", parameter
        new = self._inserted_names()
        for name, parameter in self.backbone.module.named_parameters():
            yield (f"module.{name}" if name in new else f"backbone.{name}"), parameter

    def named_buffers(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield every buffer of the backbone under the name it has in a run's state."""
        for name, buffer in self.backbone.module.named_buffers():
            yield f"backbone.{name}", buffer

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the declared trainable parameters by name."""
        return {n: p for n, p in self.named_parameters() if n in self.trains.names}

    def set_modes(self, lowest_open: int) -> None:
        """Put what is open from block `lowest_open` on in training mode, and nothing else.

        Running statistics keep evaluating unless the backbone starts from random weights.
        """
        module = self.backbone.module
        module.eval()
        self.head.train()
        if self.trains.backbone:
            for name, child in module.named_modules():
                depth = self._opens_with(name) if name else -1
                is_stem = depth < 0 and self.trains.stem and lowest_open <= 0
                if name and (depth >= max(lowest_open, 0) or is_stem):
                    child.training = self.learns_statistics or not isinstance(
                        child, _WITH_STATISTICS
                    )
        for inserted in self.inserted:
            for name in inserted.module_names:
                module.get_submodule(name).train(self.is_open(name, lowest_open))

    def is_open(self, name: str, lowest_open: int) -> bool:
        """Whether a part of the backbone may train where `lowest_open` is the lowest block.

        An inserted module opens with the block that it is in: what lies below may be read from a
        kept prefix, which knows nothing of the module.
        """
        all_open = lowest_open <= self.trains.lowest_depth
        return all_open or self._opens_with(name) >= lowest_open

    def evaluate(self) -> None:
        """Put everything in evaluation mode."""
        self.backbone.module.eval()
        self.head.eval()

    def state(self) -> dict[str, torch.Tensor]:
        """Return copies of the trained parameters, and of buffers that training may move."""
        tensors = {name: p.detach().clone().cpu() for name, p in self.trained().items()}
        if self.learns_statistics:
            tensors |= {n: b.detach().clone().cpu() for n, b in self.named_buffers()}
        return tensors

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copy the tensors of `state` into the parameters and buffers of the same names.

        Raises:
            KeyError: A name in the state is not in the model.
        """
        own: dict[str, torch.Tensor] = dict(self.named_parameters())
        own |= dict(self.named_buffers())
        with torch.no_grad():
            for name, value in state.items():
                own[name].copy_(value)

    def _opens_with(self, name: str) -> int:
        """Return the block with which a part opens: the last one for what follows it.

        Where the head alone trains, features are thereby those of the pretrained backbone.
        """
        return min(self.backbone.depth_of(name), self.backbone.n_blocks - 1)

    def _inserted_names(self) -> frozenset[str]:
        return frozenset(name for part in self.inserted for name in part.parameter_names)


def build(job: Job, stage: Stage | None) -> Adapted:
    """Make the model of a run before any training; the seed is set before every initialisation.

    Args:
        job: The run.
        stage: The fit whose training rows a solved head may see; None leaves the head at zero,
            for a state that is loaded afterwards.

    Raises:
        ConfigError: The protocol does not fit the backbone.
    """
    protocol = job.protocol
    backbone = job.backbone.copy()
    if protocol["backbone"] == "random":
        backbone = job.backbone.randomised(derive(job.seed, "backbone"))
    from_depth = depth_index(protocol["train"]["from_depth"], backbone.n_blocks)
    insert_from = from_depth if from_depth < backbone.n_blocks else 0
    inserted = []
    for i, value in enumerate(protocol["modules"]):
        spec = kind_spec("module", value, where="modules")
        kind = load("module", value["kind"])
        seed = derive(job.seed, "module", i)
        inserted.append(kind.insert(spec, backbone, from_depth=insert_from, seed=seed))
    backbone.module.to(job.device)
    head = _head(job, stage, backbone.width).to(job.device)
    trains = trainability(protocol, backbone, inserted, head)
    adapted = Adapted(
        backbone=backbone,
        head=head,
        inserted=tuple(inserted),
        trains=trains,
        learns_statistics=protocol["backbone"] == "random",
    )
    for name, parameter in adapted.named_parameters():
        parameter.requires_grad_(name in trains.names)
    return adapted


def lowest_open(job: Job, trains: Trainability, epoch: int) -> int:
    """Return the lowest block that trains in an epoch (0 is the first)."""
    lowest, unfreeze = trains.lowest_depth, job.protocol["unfreeze"]
    if unfreeze is None or not trains.backbone:
        return lowest
    n_blocks = job.backbone.n_blocks
    from_depth = depth_index(job.protocol["train"]["from_depth"], n_blocks)
    spec = kind_spec("unfreeze", unfreeze, where="unfreeze")
    opened = load("unfreeze", unfreeze["kind"]).lowest_open(
        spec, epoch=epoch, from_depth=from_depth, n_blocks=n_blocks
    )
    return lowest if opened <= from_depth else max(int(opened), lowest)


def _head(job: Job, stage: Stage | None, width: int) -> nn.Module:
    value = job.protocol["head"]
    spec = kind_spec("head", value, where="head")
    solved = _solved_start(job, stage, value["start"]) if stage is not None else None
    if stage is None:
        spec = spec.model_copy(update={"start": "zero"})
    module: nn.Module = load("head", value["kind"]).build(
        spec,
        width=width,
        n_classes=job.data.n_classes,
        seed=derive(job.seed, "head"),
        solved=solved,
    )
    return module


def _solved_start(job: Job, stage: Stage, start: str) -> Head | None:
    if start not in ("probe", "centroid") or job.protocol["backbone"] == "random":
        return None
    found = job.data.solved.get(_solved_key(stage, start))
    return keep_solved(job, stage, start, _solve(job, stage, start)) if found is None else found


def keep_solved(job: Job, stage: Stage, start: str, head: Head) -> Head:
    """Keep a head, from which every run on these rows starts; return it."""
    job.data.solved[_solved_key(stage, start)] = head
    return head


def _solved_key(stage: Stage, start: str) -> tuple[str, bytes, bytes]:
    return start, stage.train.tobytes(), stage.validation.tobytes()


def _solve(job: Job, stage: Stage, start: str) -> Head:
    data = job.data
    features = chosen(data.features(), data.rows)
    x, y = features.chosen(stage.train), data.labels[stage.train]
    if start == "centroid":
        return centroid_head(x, y, data.n_classes)
    probe = fit_probe(
        x,
        y,
        data.n_classes,
        features.chosen(stage.validation),
        data.labels[stage.validation],
        memory_bytes=spare_bytes(job.memory_bytes),
    )
    return probe.weight, probe.bias
