"""The protocol spec: what trains, with which modules, schedule and data policy."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictFloat, StrictInt

from regraft.config.loading import Document, parse_yaml, read_yaml, validate
from regraft.config.registry import kind_spec
from regraft.config.spec import Spec, resolved
from regraft.errors import ConfigError, did_you_mean
from regraft.hashing import digest_json

Kind = str | dict[str, Any]
Depth = (
    Literal["none"]
    | Annotated[StrictInt, Field(ge=0)]
    | Annotated[StrictFloat, Field(ge=0.0, le=1.0)]
)
Role = Literal["control_without_transfer", "control_without_fine_tuning", "candidate"]

_SUFFIXES = (".yaml", ".yml")


class TrainSpec(Spec):
    """Which of the backbone's own parameters train."""

    from_depth: Depth = Field(
        "none",
        description="lowest trained block: a float is a fraction of depth, an integer a block, "
        "'none' trains no block, 0 all",
    )
    stem: bool = Field(False, description="whether what comes before the first block trains too")


class DataSpec(Spec):
    """What is done to the training items."""

    augment: Kind = Field("none", description="augmentation of training images")
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
    predictor: dict[str, Any] | None = Field(None, description="a protocol without gradient")
    head: Kind = Field(default_factory=lambda: {"kind": "linear", "start": "probe"})
    train: TrainSpec = TrainSpec()
    modules: list[Kind] = Field(default_factory=list, max_length=8)
    unfreeze: Kind | None = None
    rate: Kind = Field(default_factory=lambda: {"kind": "cosine", "peak": 1e-3})
    data: DataSpec = DataSpec()
    fit: FitSpec = FitSpec()


class LadderEntry(Spec):
    """A rung: a protocol's name, its role, and the learning rates tried, relative to its own."""

    protocol: str
    role: Role
    rates: tuple[float, ...] = (1.0,)


class LadderSpec(Spec):
    """Protocols ordered from cheap to dear."""

    title: str = ""
    rungs: list[LadderEntry]


def resolve_protocol(spec: ProtocolSpec) -> dict[str, Any]:
    """Return the protocol as plain JSON with all defaults, without its name and title.

    Two protocols are the same exactly when these are equal.

    Raises:
        ConfigError: A kind or one of its settings is unknown, or the parts contradict each other.
    """
    _check_consistent(spec)
    plain = resolved(spec)
    where = f"protocol {spec.name!r}"

    def kind(folder: str, value: Kind, key: str) -> dict[str, Any]:
        return resolved(kind_spec(folder, value, where=f"{where}, {key}"))

    plain["head"] = kind("head", spec.head, "head")
    plain["rate"] = kind("rate", spec.rate, "rate")
    plain["modules"] = [kind("module", m, f"modules.{i}") for i, m in enumerate(spec.modules)]
    for key in ("augment", "rebalance"):
        plain["data"][key] = kind(key, getattr(spec.data, key), f"data.{key}")
    if spec.unfreeze is not None:
        plain["unfreeze"] = kind("unfreeze", spec.unfreeze, "unfreeze")
    if spec.predictor is not None:
        plain["predictor"] = kind("predictor", spec.predictor, "predictor")
    del plain["name"], plain["title"]
    return plain


def protocol_digest(protocol: dict[str, Any]) -> str:
    """Return the SHA-256 of a resolved protocol."""
    return digest_json(protocol)


def depth_index(from_depth: str | int | float, n_blocks: int) -> int:
    """Return the lowest trained block; n_blocks for ``none``.

    A float f is the block nearest to f · n_blocks.

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

    Raises:
        ConfigError: There is no such template or file, or it is wrong.
    """
    if name.endswith(_SUFFIXES) or "/" in name:
        return validate(ProtocolSpec, read_yaml(Path(name)))
    return validate(ProtocolSpec, _builtin("templates", name, "protocol"))


def load_ladder(name: str) -> list[LadderEntry]:
    """Return the rungs of a built-in ladder, cheap before dear.

    Raises:
        ConfigError: There is no such ladder.
    """
    return validate(LadderSpec, _builtin("ladders", name, "ladder")).rungs


def _check_consistent(spec: ProtocolSpec) -> None:
    where = f"protocol {spec.name!r}"
    trains_block = spec.train.from_depth != "none"
    if spec.predictor is not None and (spec.modules or trains_block or spec.unfreeze):
        raise ConfigError(
            "a predictor takes no gradient, so it cannot have modules, train or unfreeze. "
            "Remove either.",
            where=where,
        )
    if spec.unfreeze is not None and not trains_block:
        raise ConfigError(
            "unfreeze needs blocks to open, but train.from_depth is 'none'. Set it to 0 or a "
            "fraction of depth.",
            where=where,
        )
    if spec.backbone == "random" and not trains_block and spec.predictor is None:
        raise ConfigError(
            "a random backbone that does not train learns nothing. Set train.from_depth to 0.",
            where=where,
        )


def _yaml_names(folder: str) -> tuple[str, ...]:
    place = files("regraft") / "protocols" / folder
    return tuple(sorted(p.name[:-5] for p in place.iterdir() if p.name.endswith(".yaml")))


def _builtin(folder: str, name: str, what: str) -> Document:
    known = _yaml_names(folder)
    if name not in known:
        raise ConfigError(
            f"unknown {what} {name!r}.{did_you_mean(name, known)} A file of your own must end in "
            ".yaml."
        )
    text = (files("regraft") / "protocols" / folder / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_yaml(text, where=f"{folder}/{name}.yaml")
