"""What inserting a module into a backbone did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from regraft.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.backbones.backbone import Backbone


@dataclass(frozen=True, slots=True)
class Inserted:
    """The trace of one insertion, checked by pre-flight.

    Attributes:
        kind: Kind of the module.
        module_names: Names of the inserted modules within the backbone's module.
        parameter_names: Names of their parameters in ``backbone.module.named_parameters()``.
        depths_hit: Blocks that got at least one module.
        depths_named: Blocks that the protocol named.
    """

    kind: str
    module_names: tuple[str, ...]
    parameter_names: tuple[str, ...]
    depths_hit: tuple[int, ...]
    depths_named: tuple[int, ...]


def depths_hit(backbone: Backbone, names: Sequence[str]) -> tuple[int, ...]:
    """Return the blocks in which the named modules lie, sorted."""
    found = {backbone.depth_of(name) for name in names}
    return tuple(sorted(d for d in found if 0 <= d < backbone.n_blocks))


def refuse_nothing(kind: str, names: Sequence[str], wanted: str, backbone: Backbone) -> None:
    """Raise when a module found no place.

    Raises:
        ConfigError: `names` is empty; the message says what was sought and what there is.
    """
    if names:
        return
    there = ", ".join(sorted(set(backbone.roles.values()))) or "none"
    raise ConfigError(
        f"it fits nowhere in {backbone.reference}: no {wanted} in the blocks named "
        f"(roles there: {there}). Choose other roles in 'on', or another module.",
        where=f"module {kind!r}",
    )
