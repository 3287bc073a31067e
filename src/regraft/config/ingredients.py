"""Optional ingredients of protocols: what can be switched off and leaves the same way of adapting.

What trains, the modules, the head's start, the schedule of rates and of unfreezing are the way of
adapting itself: arms that the ladder compares as a whole. An ingredient is added to one.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Ingredient:
    """An optional ingredient.

    Attributes:
        path: Where a resolved protocol holds it; ``*`` stands for each entry of a list.
        off: The value there that is its off-switch. A number is on above it, anything else where it
            differs; a key that is not there is off.
        name: For people; ``{}`` is what the protocol says.
        only_with: Paths of keys that mean nothing without it, and go with it.
    """

    path: str
    off: Any
    name: str
    only_with: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The last key of its path, for names of arms."""
        return self.path.rpartition(".")[2].replace("_", "-")

    def named(self, protocol: Mapping[str, Any]) -> str:
        """Return its name for people, with what a protocol says of it.

        Example:
            >>> INGREDIENTS[0].named({"data": {"augment": {"kind": "light"}}})
            'light augmentation'
        """
        said = dict.fromkeys(_said(one) for one in self._on(protocol))
        return self.name.format(" and ".join(said))

    def is_in(self, protocol: Mapping[str, Any]) -> bool:
        """Whether a resolved protocol has it on."""
        return any(True for _ in self._on(protocol))

    def _on(self, protocol: Mapping[str, Any]) -> Iterator[Any]:
        for holder, key in _holders(protocol, self.path.split(".")):
            value = holder[key]
            if value > self.off if isinstance(self.off, float) else value != self.off:
                yield value


INGREDIENTS = (
    Ingredient("data.augment", {"kind": "none"}, "{} augmentation", only_with=("data.views",)),
    Ingredient("data.rebalance", {"kind": "none"}, "{} class weights"),
    Ingredient("fit.label_smoothing", 0.0, "label smoothing {}"),
    # 0.01 is what every protocol has that does not speak of it.
    Ingredient("fit.weight_decay", 0.01, "weight decay {}"),
    Ingredient("modules.*.dropout", 0.0, "dropout {}"),
)
"""All there are; a new one is a line here."""


def ingredients_of(protocol: Mapping[str, Any]) -> tuple[Ingredient, ...]:
    """Return the optional ingredients that a resolved protocol has.

    Example:
        >>> [one.label for one in ingredients_of({"fit": {"label_smoothing": 0.1}})]
        ['label-smoothing']
    """
    return tuple(one for one in INGREDIENTS if one.is_in(protocol))


def without(protocol: Mapping[str, Any], ingredients: Sequence[Ingredient]) -> dict[str, Any]:
    """Return a resolved protocol with some ingredients off, all else the same."""
    plain = deepcopy(dict(protocol))
    for one in ingredients:
        for holder, key in _holders(plain, one.path.split(".")):
            holder[key] = deepcopy(one.off)
        for path in one.only_with:
            for holder, key in list(_holders(plain, path.split("."))):
                del holder[key]
    return plain


def _holders(holder: Any, keys: Sequence[str]) -> Iterator[tuple[Any, str]]:
    """Yield what holds the last key of a path, wherever it is there."""
    first, *rest = keys
    if first == "*":
        for one in holder:
            yield from _holders(one, rest)
    elif first in holder and rest:
        yield from _holders(holder[first], rest)
    elif first in holder:
        yield holder, first


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return " and ".join(map(_said, value))
    return str(value["kind"] if isinstance(value, dict) else value).replace("_", " ")
