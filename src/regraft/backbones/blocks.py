"""Finding the ordered blocks of a module, and the depth at which each of its parts lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from regraft.errors import BackboneError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_blocks(module: nn.Module) -> tuple[str, ...]:
    """Return the dotted names of the blocks, nearest the input first; empty where none are found.

    A module may declare them in an attribute `blocks` (a list of submodule names). Else they are the
    children of the largest homogeneous ModuleList, by parameters; else of the largest Sequential.

    Raises:
        BackboneError: A declared block does not exist.
    """
    declared = vars(module).get("blocks", vars(type(module)).get("blocks"))
    if isinstance(declared, list | tuple) and all(isinstance(name, str) for name in declared):
        return _declared(module, declared)
    lists = [
        (name, part)
        for name, part in module.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) > 1 and len({type(c) for c in part}) == 1
    ]
    if not lists:
        lists = [
            (name, part)
            for name, part in module.named_modules()
            if isinstance(part, nn.Sequential) and len(part) > 1
        ]
    if not lists:
        return ()
    name, part = max(lists, key=lambda one: sum(p.numel() for p in one[1].parameters()))
    prefix = f"{name}." if name else ""
    return tuple(f"{prefix}{child}" for child, _ in part.named_children())


def _declared(module: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    known = {name for name, _ in module.named_modules()}
    for name in names:
        if name not in known:
            raise BackboneError(
                f"'blocks' names {name!r}, which is not a submodule.{did_you_mean(name, known)}",
                where=type(module).__name__,
            )
    return tuple(names)


def depths(module: nn.Module, blocks: Sequence[str]) -> dict[str, int]:
    """Return the depth of every named module: −1 stem, 0 … L−1 a block, L after the blocks.

    Modules are taken in the order of definition: what is defined before the first block is stem.
    """
    found: dict[str, int] = {}
    position = -1
    last = len(blocks) - 1
    prefixes = {name: depth for depth, name in enumerate(blocks)}
    for name, _ in module.named_modules():
        owner = next((b for b in _ancestors(name) if b in prefixes), None)
        if owner is not None:
            position = prefixes[owner]
            found[name] = position
        else:
            found[name] = len(blocks) if blocks and position == last else -1
    return found


def _ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
