"""Variants: one protocol file that names several values of a setting, each an arm of its own."""

from __future__ import annotations

import itertools
import math
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from regraft.config.loading import validate_data
from regraft.config.protocol import ProtocolSpec, resolve_protocol
from regraft.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_VARIANTS = 32
"""Every variant races at every learning rate: more would spend the budget on the first rung."""


def variants(spec: ProtocolSpec) -> list[ProtocolSpec]:
    """Return a protocol for each combination of the values that ``vary`` names; or the protocol.

    Their names tell the values apart: ``lora-rank=4-from_depth=0.5``.

    Raises:
        ConfigError: A key leads nowhere, a value does not fit, there are too many combinations, or
            two of them are the same.

    Example:
        >>> spec = ProtocolSpec(name="top", vary={"train.from_depth": [0.5, 0.75]})
        >>> [one.name for one in variants(spec)]
        ['top-from_depth=0.5', 'top-from_depth=0.75']
    """
    if not spec.vary:
        return [spec]
    where = f"protocol {spec.name!r}, vary"
    n = math.prod(len(values) for values in spec.vary.values())
    if n > MOST_VARIANTS:
        raise ConfigError(
            f"{n} combinations of values, each at several learning rates. Name "
            f"{MOST_VARIANTS} at most.",
            where=where,
        )
    found, seen = list[ProtocolSpec](), dict[str, str]()
    for values in itertools.product(*spec.vary.values()):
        one = _variant(spec, list(zip(spec.vary, values, strict=True)), where)
        same = seen.setdefault(repr(resolve_protocol(one)), one.name)
        if same != one.name or one.name in {other.name for other in found}:
            raise ConfigError(
                f"{one.name!r} is the same protocol as {same!r}. Name each value once.", where=where
            )
        found.append(one)
    return found


def _variant(spec: ProtocolSpec, chosen: Sequence[tuple[str, Any]], where: str) -> ProtocolSpec:
    data = deepcopy(spec.model_dump(exclude_unset=True))
    del data["vary"]
    for key, value in chosen:
        _put(data, key, value, where)
    told = [f"{key.rpartition('.')[2]}={value}" for key, value in chosen]
    data["name"] = "-".join([spec.name, *told])
    if spec.title:
        data["title"] = f"{spec.title}, {', '.join(one.replace('=', ' ') for one in told)}"
    return validate_data(ProtocolSpec, data, where=where)


def _put(data: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Put a value where a dotted key leads; numbers count the entries of a list from 0."""
    *path, last = key.split(".")
    place: Any = data
    for part in path:
        if isinstance(place, list) and part.isdecimal() and int(part) < len(place):
            place = place[int(part)]
        elif isinstance(place, dict):
            place = place.setdefault(part, {})
        else:
            place = None
        if not isinstance(place, dict | list):
            raise ConfigError(
                f"{key!r} leads nowhere: {part!r} holds no settings. Write it out in the protocol, "
                "as in modules: [{kind: lora}] for modules.0.rank.",
                where=where,
            )
    if not isinstance(place, dict):
        raise ConfigError(
            f"{key!r} names an entry of a list. Name a setting, such as modules.0.rank.",
            where=where,
        )
    place[last] = value
