"""What inserting a module into a backbone did, and where modules that sit at layers belong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

from torch import nn

from regraft.backbones.roles import Role
from regraft.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from regraft.backbones.backbone import Backbone

Roles = Literal["auto"] | Role | list[Role]
"""Roles as a protocol names them; ``auto`` is attention, or where there is none the rest."""

_ATTENTION: tuple[Role, ...] = ("attention_in", "attention_out")
# Families without attention write a 1 × 1 convolution as a linear layer too (ConvNeXt).
_NO_ATTENTION: tuple[Role, ...] = ("convolution", "feed_forward_in", "feed_forward_out")


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


def depths_hit(backbone: Backbone, names: Iterable[str]) -> tuple[int, ...]:
    """Return the blocks in which the named modules lie, sorted."""
    found = {backbone.depth_of(name) for name in names}
    return tuple(sorted(d for d in found if 0 <= d < backbone.n_blocks))


def layers_with(
    roles: Roles,
    backbone: Backbone,
    *,
    kind: str,
    from_depth: int,
    fits: Callable[[nn.Module], bool],
) -> tuple[str, ...]:
    """Return the names of the layers that have the roles, in blocks from `from_depth` on.

    Raises:
        ConfigError: A role that is named has no layer there, or ``auto`` finds none.
    """
    found = {
        name: role
        for name, role in backbone.roles.items()
        if from_depth <= backbone.depth_of(name) < backbone.n_blocks
        and fits(backbone.module.get_submodule(name))
    }
    there = set(found.values())
    wanted: Sequence[Role]
    if roles == "auto":
        wanted = _ATTENTION if there & set(_ATTENTION) else _NO_ATTENTION
        missing = [] if there & set(wanted) else [" or ".join([*_ATTENTION, *_NO_ATTENTION])]
    else:
        wanted = roles if isinstance(roles, list) else [roles]
        missing = [role for role in wanted if role not in there]
    if missing:
        refuse(kind, f"layer of role {' or of role '.join(missing)} that it fits", backbone)
    return tuple(name for name, role in found.items() if role in wanted)


def layers_named(
    names: Sequence[str], backbone: Backbone, *, kind: str, fits: Callable[[nn.Module], bool]
) -> tuple[str, ...]:
    """Return the names, each of which must be a layer that the module fits.

    Raises:
        ConfigError: One is no layer of the backbone, or of a wrong kind.
    """
    layers = {name: part for name, part in backbone.module.named_modules() if name and fits(part)}
    for name in names:
        if name not in layers:
            raise ConfigError(
                f"{name!r} is not a layer of {backbone.reference} that it fits."
                f"{did_you_mean(name, list(layers)) if layers else ''}",
                where=f"module {kind!r}, layers",
            )
    return tuple(dict.fromkeys(names))


def refuse(kind: str, wanted: str, backbone: Backbone) -> NoReturn:
    """Say that a module found no place.

    Raises:
        ConfigError: Always; the message says what was sought and what there is.
    """
    there = ", ".join(sorted(set(backbone.roles.values()))) or "none"
    raise ConfigError(
        f"it fits nowhere in {backbone.reference}: no {wanted} in the blocks named "
        f"(roles there: {there}). Choose other roles, a lower depth, or another module.",
        where=f"module {kind!r}",
    )
