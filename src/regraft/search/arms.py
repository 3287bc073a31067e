"""Arms: the protocols of a study, each with equally many candidate learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from regraft.config.ingredients import ingredients_of, without
from regraft.config.protocol import depth_index, load_ladder, load_protocol, resolve_protocol
from regraft.config.variants import variants
from regraft.engine.run import predictor_kind
from regraft.errors import BackboneError, ConfigError
from regraft.evidence.gates import Switch
from regraft.hashing import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.backbones.backbone import Backbone
    from regraft.config.ingredients import Ingredient
    from regraft.config.protocol import ProtocolSpec

Role = Literal["control_without_transfer", "control_without_fine_tuning", "candidate"]

RATE_MULTIPLIERS = (0.3, 1.0, 3.0)
"""Learning rates tried at the first rung, relative to a protocol's own; the same for every arm."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A protocol on a backbone, with the rates at which it is tried.

    Attributes:
        key: Unique name in the study: the protocol's, and the backbone's where there are several.
        protocol: The protocol's name.
        title: Its name for people.
        role: Control without transfer, control without fine-tuning, or candidate.
        backbone: Index of the backbone in the study; None for controls that need none.
        candidates: Resolved protocols, one per learning rate; one only where nothing is trained.
        switches: Its optional ingredients with the arms that are the same without them.
    """

    key: str
    protocol: str
    title: str
    role: Role
    backbone: int | None
    candidates: tuple[dict[str, Any], ...]
    switches: tuple[Switch, ...] = ()

    @property
    def is_trained(self) -> bool:
        """Whether the protocol takes gradient steps."""
        return predictor_kind(self.candidates[0]) is None

    @property
    def is_from_scratch(self) -> bool:
        """Whether the backbone starts from random weights."""
        return bool(self.candidates[0]["backbone"] == "random")


def with_rate(protocol: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return the resolved protocol with its peak learning rate multiplied."""
    peak = float(f"{protocol['rate']['peak'] * factor:.6g}")
    return {**protocol, "rate": {**protocol["rate"], "peak": peak}}


def with_fit(protocol: Mapping[str, Any], *, epochs: int) -> dict[str, Any]:
    """Return the resolved protocol with another number of epochs."""
    return {**protocol, "fit": {**protocol["fit"], "epochs": epochs}}


def with_enough_steps(protocol: Mapping[str, Any], n_train: int) -> dict[str, Any]:
    """Return the protocol, its epochs and patience multiplied until it takes `least_steps`."""
    fit = protocol["fit"]
    per_epoch = math.ceil(n_train / int(fit["batch_size"]))
    epochs = int(fit["epochs"])
    factor = max(1.0, int(fit["least_steps"]) / (per_epoch * epochs))
    scaled = {"epochs": math.ceil(epochs * factor), "patience": math.ceil(fit["patience"] * factor)}
    return {**protocol, "fit": {**fit, **scaled}}


def study_arms(protocols: Sequence[str], backbones: Sequence[str], *, n_train: int) -> list[Arm]:
    """Return the arms of a study: the ladder's controls always, then what the study names.

    Where a candidate has optional ingredients, the arms without them follow (`with_off_switches`).

    Args:
        protocols: ``ladder`` (or ``ladder:NAME``), template names, or paths of protocol files.
        backbones: References of the backbones, for the keys.
        n_train: Items that train, for the number of epochs.

    Raises:
        ConfigError: A protocol is unknown or wrong.
    """
    entries: dict[str, tuple[ProtocolSpec, Role, tuple[float, ...]]] = {}
    for entry in load_ladder("default"):
        if entry.role != "candidate":
            entries[entry.protocol] = (load_protocol(entry.protocol), entry.role, entry.rates)
    for name in protocols:
        if name == "ladder" or name.startswith("ladder:"):
            for entry in load_ladder(name.partition(":")[2] or "default"):
                spec = load_protocol(entry.protocol)
                entries.setdefault(entry.protocol, (spec, entry.role, entry.rates))
        else:
            for spec in variants(load_protocol(name)):
                entries.setdefault(spec.name, (spec, "candidate", RATE_MULTIPLIERS))
    arms: list[Arm] = []
    for spec, role, rates in entries.values():
        arms += _arms_of(spec, role, rates, backbones, n_train)
    return with_off_switches(arms)


def with_off_switches(arms: Sequence[Arm]) -> list[Arm]:
    """Return arms, and after them what their optional ingredients are held against.

    For each ingredient of a candidate there is the same arm without it, and where there are several
    one without any, against which what is left in the others is held: k + 1 arms more for k > 1
    ingredients, one for one. They try the same learning rates. An arm that is there already is not
    added again. Controls are never held against anything.

    Raises:
        ConfigError: The name that such an arm would have is taken by another.

    Example:
        >>> [arm.key for arm in with_off_switches(study_arms(["lora"], ["one"], n_train=9))][-1]
        'lora'
    """
    found = {arm.key: arm for arm in arms}
    for arm in arms:
        if arm.role == "candidate" and arm.is_trained:
            found[arm.key] = replace(arm, switches=_switches(arm, found))
    return list(found.values())


def check_depths(arms: Sequence[Arm], backbones: Sequence[Backbone]) -> None:
    """Refuse protocols that do not fit the depth of their backbone.

    Raises:
        ConfigError: A protocol names a block that its backbone does not have.
    """
    for arm in arms:
        if arm.is_trained:
            n_blocks = backbones[arm.backbone or 0].n_blocks
            try:
                depth_index(arm.candidates[0]["train"]["from_depth"], n_blocks)
            except ConfigError as error:
                raise ConfigError(str(error), where=f"protocol {arm.key}") from error


def check_kinds(kind: str, backbones: Sequence[Backbone]) -> None:
    """Refuse backbones that take something else than the data are.

    Raises:
        BackboneError: A backbone takes another kind of input.
    """
    for backbone in backbones:
        if backbone.preprocess.kind != kind:
            raise BackboneError(
                f"it takes {backbone.preprocess.kind!r} inputs, the data are of kind {kind!r}. "
                "Choose a backbone for these data.",
                where=backbone.reference,
            )


def _arms_of(
    spec: ProtocolSpec,
    role: Role,
    rates: tuple[float, ...],
    backbones: Sequence[str],
    n_train: int,
) -> list[Arm]:
    resolved = with_enough_steps(resolve_protocol(spec), n_train)
    predictor = predictor_kind(resolved)
    candidates = (resolved,) if predictor else tuple(with_rate(resolved, rate) for rate in rates)
    needs_none = predictor is not None and predictor["kind"] in ("majority", "raw_logistic")
    places: list[int | None] = [None] if needs_none else list(range(len(backbones)))
    return [
        Arm(
            key=spec.name if len(places) == 1 else f"{spec.name}@{backbones[place or 0]}",
            protocol=spec.name,
            title=spec.title or spec.name,
            role=role,
            backbone=place,
            candidates=candidates,
        )
        for place in places
    ]


def _switches(arm: Arm, found: dict[str, Arm]) -> tuple[Switch, ...]:
    """Return an arm's ingredients; what is not among the arms found yet is added to them."""
    present = ingredients_of(arm.candidates[0])
    bare = _without(arm, present, found) if len(present) > 1 else None
    switches = []
    for one in present:
        off = _without(arm, [one], found)
        if bare is not None and off.key not in found:
            rest = _listed(arm, [other for other in present if other is not one])
            off = replace(off, switches=(Switch(off.key, rest, bare.key),))
        found.setdefault(off.key, off)
        switches.append(Switch(arm.key, _listed(arm, [one]), off.key))
    if bare is not None:
        found.setdefault(bare.key, bare)
    return tuple(switches)


def _without(arm: Arm, ingredients: Sequence[Ingredient], found: Mapping[str, Arm]) -> Arm:
    """Return the arm that is the same without some ingredients: one that was found, or a new one.

    Raises:
        ConfigError: The name of the new one is taken.
    """
    candidates = tuple(without(one, ingredients) for one in arm.candidates)
    for one in found.values():
        if one.backbone == arm.backbone and canonical_json(one.candidates) == canonical_json(
            candidates
        ):
            return one
    name = f"{arm.protocol}-without-{'-'.join(one.label for one in ingredients)}"
    key = f"{name}{arm.key.removeprefix(arm.protocol)}"
    if key in found:
        raise ConfigError(
            f"the name {name!r} is that of the off-switch of {arm.protocol!r}, and another "
            "protocol has it. Rename yours.",
            where=f"protocol {name}",
        )
    title = f"{arm.title} without {_listed(arm, ingredients)}"
    return replace(arm, key=key, protocol=name, title=title, candidates=candidates)


def _listed(arm: Arm, ingredients: Sequence[Ingredient]) -> str:
    *most, last = [one.named(arm.candidates[0]) for one in ingredients]
    return f"{', '.join(most)} and {last}" if most else last


def lowest_trained_depth(protocol: Mapping[str, Any], n_blocks: int) -> int:
    """Return the lowest block through which gradient flows; n_blocks when only the head trains."""
    depth = depth_index(protocol["train"]["from_depth"], n_blocks)
    if protocol["modules"] and depth >= n_blocks:
        return 0
    return depth
