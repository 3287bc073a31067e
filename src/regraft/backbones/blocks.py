"""Finding the ordered blocks of a module, and the depth at which each of its parts lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from regraft.errors import BackboneError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def find_blocks(module: nn.Module) -> tuple[str, ...]:
    """Return the dotted names of the blocks, nearest the input first; empty if there are no parts.

    A module may declare them in an attribute `blocks` (a list of submodule names). Else they are
    the children of the ModuleList with the most parameters whose children are of one class; else of
    such a Sequential; else of any Sequential; else the module's own children.

    Raises:
        BackboneError: A declared block does not exist, is named twice, or lies inside another.
    """
    declared = vars(module).get("blocks", getattr(type(module), "blocks", None))
    if isinstance(declared, list | tuple) and all(isinstance(name, str) for name in declared):
        return _declared(module, declared)
    lists: list[tuple[str, nn.Module]] = [
        (n, m) for n, m in module.named_modules() if isinstance(m, nn.ModuleList)
    ]
    rows: list[tuple[str, nn.Module]] = [
        (n, m) for n, m in module.named_modules() if isinstance(m, nn.Sequential)
    ]
    for candidates in (
        _of_one_class(lists),
        _of_one_class(rows),
        _with_parts(rows),
        [("", module)],
    ):
        if candidates:
            name, part = max(candidates, key=lambda one: _n_parameters(one[1]))
            prefix = f"{name}." if name else ""
            return tuple(f"{prefix}{child}" for child, _ in part.named_children())
    return ()


def _of_one_class(parts: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    return [one for one in _with_parts(parts) if len({type(c) for c in one[1].children()}) == 1]


def _with_parts(parts: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    return [one for one in parts if len(list(one[1].children())) > 1 and _n_parameters(one[1])]


def _n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _declared(module: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    known = {name for name, _ in module.named_modules()}
    for name in names:
        if name not in known:
            raise BackboneError(
                f"'blocks' names {name!r}, which is not a submodule.{did_you_mean(name, known)}",
                where=type(module).__name__,
            )
        within = [other for other in names if name.startswith(f"{other}.")]
        if within or names.count(name) > 1:
            raise BackboneError(
                f"'blocks' names {name!r} {'inside ' + repr(within[0]) if within else 'twice'}. "
                "Name each part once.",
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


def depths_by_execution(
    module: nn.Module, blocks: Sequence[str], run: Callable[[], object]
) -> dict[str, int]:
    """Return the depths as `depths` does, but of what `run` calls in the order of its calls.

    What is first called after block d began lies at d, or after the blocks where d is the last.
    What a prefix kept at a depth depends on is thereby always below that depth.
    """
    found = depths(module, blocks)
    last = len(blocks) - 1
    position = -1
    seen: set[str] = set()

    def note(name: str) -> None:
        nonlocal position
        if name in places:
            position = max(position, places[name])
        elif name not in seen and not any(one in places for one in _ancestors(name)):
            seen.add(name)
            found[name] = len(blocks) if blocks and position == last else position

    places = {name: depth for depth, name in enumerate(blocks)}
    handles = [
        part.register_forward_pre_hook(lambda _, __, name=name: note(name))
        for name, part in module.named_modules()
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return found


def stem_parts(blocks: Sequence[str], depths: Mapping[str, int]) -> tuple[str, ...]:
    """Return the outermost modules that lie before the first block and contain no block."""
    holders = {above for block in blocks for above in _ancestors(block)} | {""}
    stem = {name for name, depth in depths.items() if depth < 0 and name not in holders}
    return tuple(name for name in sorted(stem) if not stem & set(_ancestors(name)[1:]))


def _ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
