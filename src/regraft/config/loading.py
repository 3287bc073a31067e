"""YAML in, specs out; every complaint names the file, the line and the key.

The dialect is the core of YAML 1.2 without what has no place in a configuration: ``3e-4`` is a
number, ``on``, ``no`` and dates are text, keys are always text; no tags, aliases or merges.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from regraft.config.complaints import Key, complaint
from regraft.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from pathlib import Path

    Place = Callable[[Key], str]

Model = TypeVar("Model", bound=BaseModel)

_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)


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
    """Plain data only, and the scalars of YAML 1.2 instead of 1.1."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 -- filled below; PyYAML copies it when it is added to

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases: a few lines of them unfold to gigabytes, or to a circle."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call] # the stubs of PyYAML lag
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not read; write the value out", problem_mark=mark
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping; its keys are text, whatever they look like (``on``, ``1``)."""
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """Return a decimal number, leading zeros and all."""
        return int(self.construct_scalar(node))


for _name, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_constructor(_TAG + "int", _Loader.construct_integer)


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
        raise ConfigError(
            "this is a folder. Name the YAML file itself.", where=str(path)
        ) from error
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror}). Check the path and its permissions.",
            where=str(path),
        ) from error
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
    lines: dict[Key, int] = {}
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            _walk(node, (), lines, where)
            data = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"not YAML: {error.problem}.", where=f"{where}{line}") from error
    except RecursionError as error:
        raise ConfigError("not a configuration: nested too deeply.", where=where) from error
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"not YAML: {reason}.", where=where) from error
    if not isinstance(data, dict):
        raise ConfigError(
            "expected a mapping of names to values, one 'key: value' a line.", where=where
        )
    return Document(data, lines, where)


def validate(model: type[Model], document: Document) -> Model:
    """Check a document against a spec.

    Raises:
        ConfigError: The first thing that is wrong, with its file, line, key and value.
    """
    return check(model, document.data, place=document.place)


def validate_data(model: type[Model], data: object, *, where: str) -> Model:
    """Check plain data (from Python or the command line) against a spec.

    Raises:
        ConfigError: The first thing that is wrong, with its key and value.
    """
    return check(model, data, place=lambda _: where)


def check(model: type[Model], data: object, *, place: Place) -> Model:
    """Check plain data against a spec; `place` tells for a key where it was written.

    Raises:
        ConfigError: The first thing that is wrong, with its place, key and value.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        key, message = complaint(model, data, error.errors(include_url=False))
        raise ConfigError(message, where=place(key)) from error


def _walk(node: yaml.Node | None, key: Key, lines: dict[Key, int], where: str) -> None:
    """Note the line of each key; refuse keys that stand twice, keys that are not text, and tags."""
    if node is None:
        return
    if node.tag not in _PLAIN_TAGS:
        place = f"{where}, line {node.start_mark.line + 1}"
        raise ConfigError(f"tag {node.tag!r} is not read. Write plain values.", where=place)
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            place = f"{where}, line {name.start_mark.line + 1}"
            if not isinstance(name, yaml.ScalarNode):
                raise ConfigError("a key must be text, not a list or mapping.", where=place)
            inner = (*key, str(name.value))
            if inner in lines:
                raise ConfigError(f"key {name.value!r} stands twice. Remove one.", where=place)
            lines[inner] = name.start_mark.line + 1
            _walk(value, inner, lines, where)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            lines[*key, i] = value.start_mark.line + 1
            _walk(value, (*key, i), lines, where)
