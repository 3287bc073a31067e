"""What pydantic found wrong, as one sentence that names the key, the value and the cure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from regraft.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

Key = tuple[str | int, ...]

_SHOULD_BE = "Input should be "
_LONGEST_VALUE = 80
_PLAIN_WORDS = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping of names to values",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_attributes_type": "a mapping of names to values",
    "model_type": "a mapping of names to values",
    "string_type": "text",
    "tuple_type": "a list",
}


def complaint(
    model: type[BaseModel], data: object, errors: Sequence[ErrorDetails]
) -> tuple[Key, str]:
    """Return the key of the first thing that is wrong, and a sentence about it.

    An unknown key comes first: that another is missing may only follow from its misspelling.

    Args:
        model: The spec that the data was checked against.
        data: What was checked, as it was given.
        errors: What pydantic found; at least one.
    """
    unknown = [error for error in errors if error["type"] == "extra_forbidden"]
    first = (unknown or list(errors))[0]
    key = _key_of(data, first)
    if unknown:
        known = _keys_at(model, first["loc"][:-1])
        return key, f"unknown key {str(key[-1])!r}.{did_you_mean(str(key[-1]), known)}"
    if first["type"] == "missing":
        return key, f"{'.'.join(map(str, key))!r} is missing. Add it."
    # Of the branches of a union the one that got deepest into the value is what was meant.
    keys = [found for error in errors if (found := _key_of(data, error))[: len(key)] == key]
    key = max(keys, key=len)
    name = ".".join(map(str, key)) or "this"
    return key, _wrong_value(name, [error for error in errors if _key_of(data, error) == key])


def types_in(annotation: Any) -> list[type]:
    """Return the classes that an annotation is made of, unions and containers opened."""
    if isinstance(annotation, type) and not getattr(annotation, "__args__", ()):
        return [annotation]
    return [t for part in getattr(annotation, "__args__", ()) for t in types_in(part)]


def _wrong_value(name: str, errors: Sequence[ErrorDetails]) -> str:
    """Say what a value should be; the branches of a union are joined by *or*."""
    value = errors[0]["input"]
    shown = repr(value)
    if len(shown) > _LONGEST_VALUE:
        shown = f"{shown[:_LONGEST_VALUE]}…"
    wanted = [_wanted(error) for error in errors]
    if phrases := list(dict.fromkeys(phrase for phrase in wanted if phrase)):
        near = _near_choice(value, errors)
        return f"{name} should be {' or '.join(phrases)} (it is {shown}).{near}"
    if errors[0]["type"] == "too_short":
        return f"{name} needs at least {errors[0]['ctx']['min_length']} of them (it is {shown})."
    message = errors[0]["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{name}: {message[:1].lower()}{message[1:]} (it is {shown})."


def _wanted(error: ErrorDetails) -> str:
    if error["type"] in _PLAIN_WORDS:
        return _PLAIN_WORDS[error["type"]]
    message = error["msg"]
    return message.removeprefix(_SHOULD_BE) if message.startswith(_SHOULD_BE) else ""


def _near_choice(value: object, errors: Sequence[ErrorDetails]) -> str:
    """Return a hint where a closed set of words has one that is like the value."""
    expected = [error["ctx"]["expected"] for error in errors if error["type"] == "literal_error"]
    if not isinstance(value, str) or not expected:
        return ""
    hint = did_you_mean(value, re.findall(r"'([^']*)'", " ".join(expected)))
    return hint if hint.startswith(" Did") else ""


def _key_of(data: object, error: ErrorDetails) -> Key:
    """Return the place of an error as keys of the data, without pydantic's marks of branches."""
    key: list[str | int] = []
    here: Any = data
    for part in error["loc"]:
        in_mapping = isinstance(here, dict) and part in here
        in_list = isinstance(here, list | tuple) and isinstance(part, int) and part < len(here)
        if in_mapping or in_list:
            here = here[part]
            key.append(part)
    if error["type"] == "missing":
        key.append(error["loc"][-1])
    return tuple(key)


def _keys_at(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Return the keys that the spec nested at `location` knows."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        inner = [one for one in types_in(field.annotation) if issubclass(one, BaseModel)]
        if inner:
            model = inner[0]
    return [field.alias or name for name, field in model.model_fields.items()]
