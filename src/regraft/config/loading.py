"""YAML in, specs out; every complaint names the file, the line and the key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from regraft.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)
Key = tuple[str | int, ...]

# YAML 1.1 reads 3e-4 as a string; this is the float of YAML 1.2.
_FLOAT = re.compile(r"[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed mapping that still knows on which line each key stands."""

    data: dict[str, Any]
    lines: Mapping[Key, int]
    where: str

    def line_of(self, key: Key) -> int | None:
        """Return the line (from 1) of a key, or of the nearest key around it."""
        for end in range(len(key), 0, -1):
            if key[:end] in self.lines:
                return self.lines[key[:end]]
        return None

    def place(self, key: Key) -> str:
        """Return ``file, line n`` for a key."""
        line = self.line_of(key)
        return f"{self.where}, line {line}" if line else self.where


class _Loader(yaml.SafeLoader):
    """Plain data only; ``3e-4`` is a number; a key may stand once."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in pairs if tag != "tag:yaml.org,2002:float"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(f"^(?:{_FLOAT.pattern}|{_SPECIAL_FLOAT.pattern})$"),
    list("-+0123456789."),
)


def read_yaml(path: Path) -> Document:
    """Read a YAML file that holds one mapping.

    Raises:
        ConfigError: The file is missing, not UTF-8, not YAML, or not a mapping.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise ConfigError("there is no such file. Check the path.", where=str(path)) from error
    except IsADirectoryError as error:
        raise ConfigError("this is a folder, not a YAML file.", where=str(path)) from error
    except PermissionError as error:
        raise ConfigError("it cannot be read: permission denied.", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"byte {error.start} is not UTF-8. Save the file as UTF-8.", where=str(path)
        ) from error
    return parse_yaml(text, where=str(path))


def parse_yaml(text: str, *, where: str) -> Document:
    """Parse YAML text that holds one mapping.

    Raises:
        ConfigError: The text is not YAML, repeats a key, or is not a mapping.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            lines: dict[Key, int] = {}
            _walk(node, (), lines, where)
            data = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"not YAML: {error.problem}.", where=f"{where}{line}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"not YAML: {str(error).splitlines()[0]}.", where=where) from error
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ConfigError(
            "expected a mapping of names to values, one 'key: value' a line.", where=where
        )
    return Document(data, lines, where)


def _walk(node: yaml.Node | None, key: Key, lines: dict[Key, int], where: str) -> None:
    """Note the line of each key, and refuse a key that stands twice."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for name, value in node.value:
            line = name.start_mark.line + 1
            if str(name.value) in seen:
                raise ConfigError(
                    f"key {name.value!r} stands twice. Remove one.", where=f"{where}, line {line}"
                )
            seen.add(str(name.value))
            lines[*key, str(name.value)] = line
            _walk(value, (*key, str(name.value)), lines, where)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            lines[*key, i] = value.start_mark.line + 1
            _walk(value, (*key, i), lines, where)


def validate(model: type[Model], document: Document) -> Model:
    """Check a document against a spec.

    Raises:
        ConfigError: The first thing that is wrong, with its file, line, key and value.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise ConfigError(
            "; ".join(_complaint(model, one) for one in details[:1]),
            where=document.place(tuple(details[0]["loc"])),
        ) from error


def validate_data(model: type[Model], data: object, *, where: str) -> Model:
    """Check plain data (from Python or the command line) against a spec.

    Raises:
        ConfigError: The first thing that is wrong, with its key and value.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise ConfigError(_complaint(model, details[0]), where=where) from error


def _complaint(model: type[BaseModel], error: ErrorDetails) -> str:
    key = [str(part) for part in error["loc"] if not str(part).startswith(("function-", "union"))]
    name = ".".join(key) or "the value"
    if error["type"] == "extra_forbidden":
        known = _fields_at(model, error["loc"][:-1])
        return f"unknown key {key[-1]!r}.{did_you_mean(key[-1], known)}"
    if error["type"] == "missing":
        return f"{name} is missing. Add it."
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{name}: {message} (it is {error['input']!r})."


def _fields_at(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Return the keys that the spec nested at `location` knows."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        inner = [a for a in _types_in(field.annotation) if issubclass(a, BaseModel)]
        if inner:
            model = inner[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _types_in(annotation: Any) -> list[type]:
    if isinstance(annotation, type):
        return [annotation]
    return [t for part in getattr(annotation, "__args__", ()) for t in _types_in(part)]
