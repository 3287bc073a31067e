"""What of an adapted backbone trains, in which groups, and from which depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regraft.config.protocol import depth_index
from regraft.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from regraft.backbones.backbone import Backbone
    from regraft.protocols.insertion import Inserted


@dataclass(frozen=True, slots=True)
class ParameterGroup:
    """Parameters that share a learning rate and a weight decay.

    Attributes:
        names: Names as in a run's state (``head.…``, ``backbone.…``, ``module.…``).
        rate_factor: Their rate over the peak.
        weight_decay: Whether they decay; vectors (biases, normalisation) do not.
    """

    names: tuple[str, ...]
    rate_factor: float
    weight_decay: bool


@dataclass(frozen=True, slots=True)
class Trainability:
    """What trains.

    Attributes:
        names: All trained parameters.
        groups: The same, by depth and decay.
        lowest_depth: Lowest block that gradient must reach; n_blocks when only the head trains.
        backbone: Whether any of the backbone's own parameters train.
        stem: Whether what comes before the first block trains.
    """

    names: frozenset[str]
    groups: tuple[ParameterGroup, ...]
    lowest_depth: int
    backbone: bool
    stem: bool


def trainability(
    protocol: Mapping[str, Any],
    backbone: Backbone,
    inserted: Sequence[Inserted],
    head: nn.Module,
) -> Trainability:
    """Work out what a protocol trains on a backbone whose modules are inserted.

    The head and inserted modules always train; blocks from ``train.from_depth`` on and what follows
    the last block train unless it is ``none``; the stem trains with ``stem: true``. The rate of
    depth d is ``decay_per_depth ** -(L - 1 - d)`` times the peak (L blocks); what follows the
    blocks has the top block's rate, the stem the next below block 0 (Howard & Ruder, ACL 2018,
    § 3.2). The head's is ``head_factor`` times the peak.

    Args:
        protocol: A resolved protocol.
        backbone: The adapted backbone.
        inserted: What was inserted into it.
        head: The head.

    Raises:
        ConfigError: The stem shall train but block 0 shall not.
    """
    from_depth = depth_index(protocol["train"]["from_depth"], backbone.n_blocks)
    trains_blocks = protocol["train"]["from_depth"] != "none"
    stem = bool(protocol["train"]["stem"])
    if stem and from_depth > 0:
        raise ConfigError(
            f"the stem trains but blocks below {from_depth} do not. Set from_depth to 0 or stem to "
            "false.",
            where="train.stem",
        )
    new = {name for part in inserted for name in part.parameter_names}
    decay, head_factor = (float(protocol["rate"][k]) for k in ("decay_per_depth", "head_factor"))
    lowest = backbone.n_blocks
    members: dict[tuple[float, bool], list[str]] = {}
    for name, parameter in head.named_parameters():
        members.setdefault((head_factor, parameter.ndim > 1), []).append(f"head.{name}")
    for name, parameter in backbone.module.named_parameters():
        depth = backbone.depth_of(name)
        own = trains_blocks and (depth >= from_depth if depth >= 0 else stem)
        if not (own or name in new):
            continue
        lowest = min(lowest, max(min(depth, backbone.n_blocks - 1), 0))
        rate_factor = decay ** -max(0, backbone.n_blocks - 1 - depth)
        state_name = f"module.{name}" if name in new else f"backbone.{name}"
        members.setdefault((rate_factor, parameter.ndim > 1), []).append(state_name)
    groups = tuple(ParameterGroup(tuple(n), *key) for key, n in sorted(members.items()))
    return Trainability(
        names=frozenset(name for group in groups for name in group.names),
        groups=groups,
        lowest_depth=lowest,
        backbone=trains_blocks,
        stem=stem,
    )
