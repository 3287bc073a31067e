"""The study spec: a task, backbones, a budget, the protocols to try."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from regraft.config.loading import read_yaml, validate
from regraft.config.protocol import SUFFIXES, ProtocolSpec, ladders, templates
from regraft.config.registry import FOLDERS, kinds, load
from regraft.config.spec import Duration, Spec
from regraft.errors import ConfigError, did_you_mean

_PATH_LIKE = ("./", "../", "/", "~")
_LADDER = "ladder"

IN_MEMORY = "arrays from Python"
"""The name of data that lies in no file."""

EMBEDDED = "zoo:"
"""How the name of embedded data, or of an embedded backbone, begins."""

NonEmpty = Annotated[str, Field(min_length=1)]


class TaskSpec(Spec):
    """The downstream problem: data, columns, splits, metric, success criterion."""

    data: NonEmpty = Field(description="folder, file, or folder of train/dev/test files")
    kind: Literal["image", "text", "array"] | None = Field(None, description="guessed if not given")
    input: str | None = Field(None, description="column of the texts or image paths")
    label: str | None = Field(None, description="column of the labels")
    group: str | None = Field(None, description="column that must not straddle parts")
    time: str | None = Field(None, description="column to split by: the newest is tested")
    report_by: list[str] | None = Field(
        None, description="columns whose values results are reported by; no model sees them"
    )
    splits: Literal["auto", "given", "stratified", "grouped", "time"] = "auto"
    validation: float = Field(0.2, gt=0.0, lt=1.0, description="share of what is not tested")
    test: float = Field(0.2, gt=0.0, lt=1.0, description="share that is sealed")
    seed: int | None = Field(None, ge=0, description="seed of the splits; the study's if not given")
    metric: str = "macro_f1"
    target: str | float | None = Field(None, description="for example 'macro_f1>=0.9'")
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    costs: dict[str, dict[str, float]] | None = Field(
        None, description="cost by true class, then predicted class"
    )
    allow_bad: bool = Field(
        False, description="go on when more than 1 % of the items are unreadable"
    )

    @model_serializer(mode="wrap")
    def _what_is_on(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is off: a study without it stays the study that it was."""
        written: dict[str, Any] = plain(self)
        if self.report_by is None:
            written.pop("report_by", None)
        return written


class RobustnessSpec(Spec):
    """What the final evaluation asks beyond the sealed part: corrupted inputs, and outliers."""

    severities: list[Annotated[int, Field(ge=1, le=5)]] = Field(
        default_factory=lambda: [1, 2, 3, 4, 5], min_length=1, description="of each corruption"
    )
    items: int = Field(
        256, ge=8, le=100_000, description="sealed items that are corrupted, at most"
    )
    outliers: NonEmpty | None = Field(
        None, description="images or texts unlike the data; some are made if none are given"
    )
    sample_rate: int | None = Field(
        None, ge=1, description="of arrays that are sounds, per second; others are not corrupted"
    )

    @field_validator("severities")
    @classmethod
    def _increasing(cls, value: list[int]) -> list[int]:
        if sorted(set(value)) != value:
            raise ValueError("severities must increase")
        return value


class StudySpec(Spec):
    """One question under one budget."""

    task: TaskSpec
    backbones: list[NonEmpty] = Field(
        min_length=1,
        max_length=32,
        description="hub id[@revision], local folder, zoo:glyphs, python:module:factory@weights",
    )
    budget: Duration = Field(1800.0, gt=0.0, description="wall time of the whole study")
    protocols: list[NonEmpty] = Field(
        default_factory=lambda: [_LADDER],
        min_length=1,
        description="ladder, ladder:NAME, a template's name, or a YAML file",
    )
    seed: int = Field(0, ge=0, lt=2**63)
    seeds: int = Field(3, ge=1, le=100, description="seeds of what ties with the best")
    label_budget: int | None = Field(None, ge=1, description="labels per class of the ladder")
    label_budgets: list[int] = Field(
        default_factory=list, description="labels per class of the label-efficiency curve"
    )
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    name: str = ""
    robustness: RobustnessSpec | None = Field(
        None, description="true, or what to ask of corrupted inputs and outliers; off by default"
    )
    source: NonEmpty | None = Field(
        None, description="labelled items of the source domain: what was forgotten of it"
    )

    @field_validator("robustness", mode="before")
    @classmethod
    def _on_or_off(cls, value: object) -> object:
        if isinstance(value, bool):
            return {} if value else None
        return value

    @model_serializer(mode="wrap")
    def _what_is_on(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is off: a study without it stays the study that it was."""
        written: dict[str, Any] = plain(self)
        off = {name for name in ("robustness", "source") if getattr(self, name) is None}
        return {name: value for name, value in written.items() if name not in off}

    @field_validator("backbones")
    @classmethod
    def _different(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("a backbone is named twice; remove one")
        return value

    @field_validator("label_budgets")
    @classmethod
    def _positive_and_increasing(cls, value: list[int]) -> list[int]:
        if any(b < 1 for b in value) or sorted(set(value)) != value:
            raise ValueError("label budgets must be positive and increasing")
        return value


def read_study(path: Path) -> StudySpec:
    """Read a study file; paths in it are relative to the file.

    Raises:
        ConfigError: The file is missing or wrong.
    """
    document = read_yaml(path)
    spec = validate(StudySpec, document)
    places = [document.place(("protocols", i)) for i in range(len(spec.protocols))]
    return located(spec, path.resolve().parent, protocol_places=places)


def located(
    spec: StudySpec, base: Path, *, protocol_places: Sequence[str] | None = None
) -> StudySpec:
    """Return the study with its relative paths made absolute, so that it means the same anywhere.

    Args:
        spec: The study.
        base: The folder that its paths are relative to.
        protocol_places: Where each protocol is named, for errors.

    Raises:
        ConfigError: A protocol is unknown, or its file is missing.
    """
    places = protocol_places or ["protocols"] * len(spec.protocols)
    robustness, source = spec.robustness, spec.source
    if robustness is not None and robustness.outliers is not None:
        robustness = robustness.model_copy(update={"outliers": _beside(base, robustness.outliers)})
    return spec.model_copy(
        update={
            "task": spec.task.model_copy(update={"data": _data_beside(base, spec.task.data)}),
            "robustness": robustness,
            "source": None if source is None else _data_beside(base, source),
            "backbones": [backbone_beside(base, one) for one in spec.backbones],
            "protocols": [
                _protocol_beside(base, one, place)
                for one, place in zip(spec.protocols, places, strict=True)
            ],
        }
    )


def _protocol_beside(base: Path, name: str, where: str) -> str:
    """Make the path of a protocol file absolute; check the name of a template or ladder."""
    if name.endswith(SUFFIXES) or "/" in name:
        path = _beside(base, name)
        if not Path(path).is_file():
            raise ConfigError(f"there is no protocol file {path!r}. Check the path.", where=where)
        return path
    known = [_LADDER, *(f"{_LADDER}:{one}" for one in ladders()), *templates()]
    if name not in known:
        raise ConfigError(
            f"unknown protocol {name!r}.{did_you_mean(name, known)} A file of your own ends in "
            ".yaml.",
            where=where,
        )
    return name


def _data_beside(base: Path, data: str) -> str:
    """Make the path of data absolute; data that lies in no file keeps its name."""
    return data if data == IN_MEMORY or data.startswith(EMBEDDED) else _beside(base, data)


def _beside(base: Path, path: str) -> str:
    return str((base / Path(path).expanduser()).resolve())


def backbone_beside(base: Path, reference: str) -> str:
    """Make the file paths in a backbone's reference absolute; hub ids and module names stay."""
    if reference.startswith("python:"):
        factory, at, weights = reference.removeprefix("python:").partition("@")
        path, colon, name = factory.rpartition(":")
        if path.endswith(".py"):
            path = _beside(base, path)
        return f"python:{path}{colon}{name}" + (at + _beside(base, weights) if at else "")
    is_folder = reference.startswith(_PATH_LIKE) or (base / reference).is_dir()
    return _beside(base, reference) if is_folder else reference


def protocol_schema() -> dict[str, Any]:
    """Return the JSON schema of a protocol file; every kind of each folder is spelt out."""
    schema = ProtocolSpec.model_json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    for folder in FOLDERS:
        choices = []
        for kind in kinds(folder):
            inner = load(folder, kind).Spec.model_json_schema()
            definitions.update(inner.pop("$defs", {}))
            definitions[f"{folder}-{kind}"] = inner
            choices.append({"$ref": f"#/$defs/{folder}-{kind}"})
        definitions[folder] = {"oneOf": [*choices, {"enum": list(kinds(folder))}]}
    properties = schema["properties"]
    for key in ("head", "rate"):
        properties[key] = {"$ref": f"#/$defs/{key}"}
    properties["modules"] = {"type": "array", "items": {"$ref": "#/$defs/module"}}
    for key in ("unfreeze", "predictor"):
        properties[key] = {"anyOf": [{"$ref": f"#/$defs/{key}"}, {"type": "null"}]}
    data = definitions["DataSpec"]["properties"]
    for key in ("augment", "rebalance"):
        data[key] = {"$ref": f"#/$defs/{key}"}
    return schema


def study_schema() -> dict[str, Any]:
    """Return the JSON schema of a study file."""
    return StudySpec.model_json_schema()
