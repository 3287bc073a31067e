"""The base of every spec, and the units that specs are written in."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

from regraft.config.complaints import types_in

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt])(?:i?b)?")
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


class Spec(BaseModel):
    """A closed, frozen record: unknown keys are errors, nothing changes after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_not_one(cls, value: object, info: ValidationInfo) -> object:
        """Refuse true and false where a number is meant; pydantic alone takes them for 1 and 0."""
        kinds = types_in(cls.model_fields[info.field_name or ""].annotation)
        values = value if isinstance(value, list | tuple) else [value]
        is_truth = any(isinstance(one, bool) for one in values)
        if is_truth and bool not in kinds and {int, float} & set(kinds):
            raise ValueError("a number is expected, not true or false")
        return value


def seconds_of(value: object) -> object:
    """Return the seconds of ``"1h30m"``, ``"90s"`` or a plain number; other values pass through.

    Raises:
        ValueError: The text is not a duration.

    Example:
        >>> seconds_of("1h30m"), seconds_of("90s"), seconds_of(45)
        (5400.0, 90.0, 45.0)
    """
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip().lower().replace(" ", ""))
        if not match or not any(match.groups()):
            raise ValueError("not a duration; write 90s, 30m or 1h30m")
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return 3600 * hours + 60 * minutes + seconds
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return value


def bytes_of(text: str) -> int:
    """Return the bytes of ``"4G"``, ``"4GB"``, ``"512 MiB"``; powers of 1024.

    Raises:
        ValueError: The text is not a size.

    Example:
        >>> bytes_of("4G"), bytes_of("512 MiB")
        (4294967296, 536870912)
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if not match or not float(match[1]):
        raise ValueError(f"{text!r} is not a size; write 800M, 4G or 1.5T")
    return int(float(match[1]) * 1024.0 ** (1 + "kmgt".index(match[2])))


Duration = Annotated[float, BeforeValidator(seconds_of, json_schema_input_type=float | str)]
"""Seconds; written as ``90s``, ``30m``, ``1h30m`` or a number of seconds."""


def resolved(spec: BaseModel) -> dict[str, Any]:
    """Return a spec as plain JSON with every default filled in."""
    return spec.model_dump(mode="json")
