"""The protocol spec: what trains, with which modules, schedule and data policy."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StrictFloat, StrictInt, field_validator

from regraft.config.loading import Document, parse_yaml, read_yaml, validate
from regraft.config.registry import kind_spec_at
from regraft.config.spec import Spec, resolved
from regraft.errors import ConfigError, did_you_mean
from regraft.hashing import digest_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.config.complaints import Key
    from regraft.config.loading import Place

Kind = str | dict[str, Any]
Depth = (
    Literal["none"]
    | Annotated[StrictInt, Field(ge=0)]
    | Annotated[StrictFloat, Field(ge=0.0, le=1.0)]
)
Role = Literal["control_without_transfer", "control_without_fine_tuning", "candidate"]

SUFFIXES = (".yaml", ".yml")
"""What the name of a protocol or study file ends in."""


class TrainSpec(Spec):
    """Which of the backbone's own parameters train."""

    from_depth: Depth = Field(
        "none",
        description="lowest trained block: a float is a fraction of depth, an integer a block, "
        "'none' trains no block, 0 all",
    )
    stem: bool = Field(False, description="whether what comes before the first block trains too")

    @field_validator("from_depth")
    @classmethod
    def _one_spelling_of_all(cls, value: Depth) -> Depth:
        """Turn the fraction 0.0 into block 0: the same protocol must have one identity."""
        return 0 if value == 0 else value


class DataSpec(Spec):
    """What is done to the training items."""

    augment: Kind = Field("none", description="augmentation of training images")
    views: int = Field(
        0,
        ge=0,
        le=1000,
        description="augmented views of each item, drawn once and shared by all runs, one per "
        "epoch in turn; 0 draws afresh each epoch",
    )
    rebalance: Kind = Field("none", description="weights of the classes in the loss")


class FitSpec(Spec):
    """How long and in what portions a run trains."""

    epochs: int = Field(10, ge=1, le=10_000)
    batch_size: int = Field(32, ge=1, le=65_536)
    weight_decay: float = Field(0.01, ge=0.0, le=10.0)
    patience: int = Field(3, ge=1, description="epochs without a better validation before stopping")
    least_steps: int = Field(
        200, ge=0, description="with few items, epochs and patience are multiplied to reach so many"
    )
    clip_norm: float = Field(1.0, gt=0.0, description="largest norm of the gradient")
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)


class ProtocolSpec(Spec):
    """A recipe of adaptation; what it does not say is the default."""

    name: str = Field(min_length=1, max_length=80, description="a label, not part of the identity")
    title: str = Field("", description="the name for people")
    backbone: Literal["pretrained", "random"] = "pretrained"
    predictor: Kind | None = Field(None, description="a protocol without gradient")
    head: Kind = Field(default_factory=lambda: {"kind": "linear", "start": "probe"})
    train: TrainSpec = TrainSpec()
    modules: list[Kind] = Field(default_factory=list, max_length=8)
    unfreeze: Kind | None = None
    rate: Kind = Field(default_factory=lambda: {"kind": "cosine", "peak": 1e-3})
    data: DataSpec = DataSpec()
    fit: FitSpec = FitSpec()
    vary: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="values of a dotted key, such as modules.0.rank: [4, 16]; a study races every "
        "combination as a protocol of its own",
    )


class LadderEntry(Spec):
    """A rung: a protocol's name, its role, and the learning rates tried, relative to its own."""

    protocol: str
    role: Role
    rates: tuple[Annotated[float, Field(gt=0.0)], ...] = Field((1.0,), min_length=1)


class LadderSpec(Spec):
    """Protocols ordered from cheap to dear."""

    title: str = ""
    rungs: list[LadderEntry] = Field(min_length=1)


def resolve_protocol(spec: ProtocolSpec) -> dict[str, Any]:
    """Return the protocol as plain JSON with all defaults, without its name and title.

    Two protocols are the same exactly when these are equal.

    Raises:
        ConfigError: A kind or one of its settings is unknown, the parts contradict each other, or
            it is several protocols (``vary``).
    """
    if spec.vary:
        raise ConfigError(
            f"it varies {', '.join(spec.vary)}, so that it is several protocols. A study races "
            "them; here give one value each.",
            where=_place_without_file(spec, ("vary",)),
        )
    return _resolve(spec, lambda key: _place_without_file(spec, key))


def protocol_digest(protocol: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a resolved protocol."""
    return digest_json(protocol)


def depth_index(from_depth: str | int | float, n_blocks: int) -> int:
    """Return the lowest trained block; n_blocks for ``none``.

    A float f is the block nearest to f · n_blocks (ties to the even one), the last block at most.

    Raises:
        ConfigError: The block named is beyond the backbone.

    Example:
        >>> depth_index(0.5, 6), depth_index("none", 6), depth_index(5, 6)
        (3, 6, 5)
    """
    if isinstance(from_depth, str):
        return n_blocks
    if isinstance(from_depth, float):
        return min(round(from_depth * n_blocks), max(n_blocks - 1, 0))
    if from_depth >= max(n_blocks, 1):
        raise ConfigError(
            f"depth {from_depth} is beyond the backbone's {n_blocks} blocks (0 … {n_blocks - 1}). "
            "Name a lower block, or a fraction of depth such as 0.5.",
            where="train.from_depth",
        )
    return from_depth


def templates() -> tuple[str, ...]:
    """Return the names of the protocols that come with regraft."""
    return _yaml_names("templates")


def load_protocol(name: str) -> ProtocolSpec:
    """Read a protocol: a template's name, or the path of a YAML file.

    The kinds that a file names are checked too, as its lines are known; templates import none.

    Raises:
        ConfigError: There is no such template or file, or it is wrong.
    """
    if not (name.endswith(SUFFIXES) or "/" in name):
        return validate(ProtocolSpec, _builtin("templates", name, "protocol"))
    document = read_yaml(Path(name).expanduser())
    spec = validate(ProtocolSpec, document)
    _resolve(spec, document.place)
    return spec


def ladders() -> tuple[str, ...]:
    """Return the names of the ladders that come with regraft."""
    return _yaml_names("ladders")


def load_ladder(name: str) -> list[LadderEntry]:
    """Return the rungs of a built-in ladder, cheap before dear.

    Raises:
        ConfigError: There is no such ladder.
    """
    return validate(LadderSpec, _builtin("ladders", name, "ladder")).rungs


def _resolve(spec: ProtocolSpec, place: Place) -> dict[str, Any]:
    _check_consistent(spec, place)
    plain = resolved(spec)
    del plain["name"], plain["title"], plain["vary"]

    def kind(folder: str, value: Kind, *key: str | int) -> dict[str, Any]:
        return resolved(kind_spec_at(folder, value, place=lambda inner: place((*key, *inner))))

    plain["head"] = kind("head", spec.head, "head")
    plain["rate"] = kind("rate", spec.rate, "rate")
    plain["modules"] = [kind("module", one, "modules", i) for i, one in enumerate(spec.modules)]
    plain["data"]["augment"] = kind("augment", spec.data.augment, "data", "augment")
    if not spec.data.views:
        del plain["data"]["views"]  # the protocol that it was before there were views
    plain["data"]["rebalance"] = kind("rebalance", spec.data.rebalance, "data", "rebalance")
    if spec.unfreeze is not None:
        plain["unfreeze"] = kind("unfreeze", spec.unfreeze, "unfreeze")
    if spec.predictor is not None:
        plain["predictor"] = kind("predictor", spec.predictor, "predictor")
    return plain


def _place_without_file(spec: ProtocolSpec, key: Key) -> str:
    return ", ".join([f"protocol {spec.name!r}", ".".join(map(str, key))]).removesuffix(", ")


def _check_consistent(spec: ProtocolSpec, place: Place) -> None:
    trains_block = spec.train.from_depth != "none"
    if spec.predictor is not None and (
        spec.modules or trains_block or spec.unfreeze or spec.backbone == "random"
    ):
        raise ConfigError(
            "a predictor takes no gradient, so it cannot have modules, train, unfreeze or a random "
            "backbone. Remove either.",
            where=place(("predictor",)),
        )
    if spec.unfreeze is not None and not trains_block:
        raise ConfigError(
            "unfreeze needs blocks to open, but train.from_depth is 'none'. Set it to 0 or a "
            "fraction of depth.",
            where=place(("unfreeze",)),
        )
    depth = spec.train.from_depth
    if spec.train.stem and depth != 0 and not isinstance(depth, float):
        raise ConfigError(
            f"the stem trains only together with all blocks, but from_depth is {depth!r}. Set "
            "it to 0, or stem to false.",
            where=place(("train", "stem")),
        )
    augment = spec.data.augment
    kind = augment if isinstance(augment, str) else augment.get("kind")
    if spec.data.views and kind == "none":
        raise ConfigError(
            f"{spec.data.views} views of each item are asked for, but data.augment is 'none', so "
            "that all would be alike. Name an augmentation, such as light, or remove views.",
            where=place(("data", "views")),
        )
    if spec.backbone == "random" and not trains_block:
        raise ConfigError(
            "a random backbone that does not train learns nothing. Set train.from_depth to 0.",
            where=place(("backbone",)),
        )


def _yaml_names(folder: str) -> tuple[str, ...]:
    place = files("regraft") / "protocols" / folder
    return tuple(sorted(p.name[:-5] for p in place.iterdir() if p.name.endswith(".yaml")))


def _builtin(folder: str, name: str, what: str) -> Document:
    known = _yaml_names(folder)
    if name not in known:
        raise ConfigError(
            f"unknown {what} {name!r}.{did_you_mean(name, known)} A file of your own ends in .yaml."
        )
    text = (files("regraft") / "protocols" / folder / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_yaml(text, where=f"{folder}/{name}.yaml")
