"""The classes of the data: their names, and whether they are classes at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regraft.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from regraft.tasks.intake.rows import Part, Rows

_NAMED = 3
_MOST_NUMERIC = 1000
_FEW_NUMERIC = 20


def class_names(rows: Rows, where: str) -> tuple[str, ...]:
    """Return the names of the classes in order: by value where all are whole numbers, else by name.

    Of the test part no more than the set of names is looked at, and how many items it has.

    Raises:
        DataError: There is one class only, the labels are no classes, or a part has a class that
            training does not.
    """
    names = set(rows.labels)
    if len(names) < 2:
        raise DataError(
            f"only one class ({min(names)!r}), so there is nothing to tell apart. Add items of "
            f"another class{', or name the right column with --label' * bool(rows.label_column)}.",
            where=where,
        )
    if rows.label_column:
        _check_are_classes(names, len(rows.labels), f"{where}, column {rows.label_column!r}")
    training = _names_of(rows, ("", "train")) or names
    for part in ("validation", "test"):
        _check_agree(_names_of(rows, (part,)), training, part, where)
    return ordered(names)


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Return names in order: by value where all are whole numbers, else by name.

    Example:
        >>> ordered({"10", "9"}), ordered({"bees", "ants"})
        (('9', '10'), ('ants', 'bees'))
    """
    names = sorted(names)
    return tuple(sorted(names, key=int) if all(_is_whole(name) for name in names) else names)


def missing_in_test(rows: Rows, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes without an item in a given test part; none where no test part is given."""
    present = _names_of(rows, ("test",))
    return tuple(name for name in classes if name not in present) if present else ()


def _check_are_classes(names: set[str], n: int, where: str) -> None:
    if len(names) == n:
        raise DataError(
            f"every row has a label of its own ({n} labels), so it is not a class. Name the right "
            "column with --label.",
            where=where,
        )
    are_numbers = all(_is_number(name) for name in names)
    is_many = len(names) > _MOST_NUMERIC or len(names) > max(_FEW_NUMERIC, n // 2)
    is_broken = len(names) > _FEW_NUMERIC and not all(_is_whole(name) for name in names)
    if are_numbers and (is_many or is_broken):
        raise DataError(
            f"{len(names)} different numbers: this is a quantity, not a class. Name the right "
            "column with --label, or put the numbers into ranges.",
            where=where,
        )


def _check_agree(other: set[str], training: set[str], part: str, where: str) -> None:
    if strange := sorted(other - training):
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        known = ", ".join(sorted(training)[:_NAMED]) + ", …" * (len(training) > _NAMED)
        hint = did_you_mean(strange[0], training)
        hint = hint if hint.startswith(" Did") else ""
        raise DataError(
            f"the {part} part has the class {strange[0]!r}{more}, which training does not have "
            f"(it has {known}).{hint} Make the names agree.",
            where=where,
        )


def _names_of(rows: Rows, parts: tuple[Part | str, ...]) -> set[str]:
    return {name for name, part in zip(rows.labels, rows.parts, strict=True) if part in parts}


def _is_whole(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
