"""The folder is the registry: ``kind: lora`` is the file ``protocols/modules/lora.py``.

Names are listed without importing anything; a kind's file is imported when a config names it.
Third parties add kinds by an entry point in the group ``regraft.FOLDER``, such as
``regraft.module``.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from regraft.config.loading import check
from regraft.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from regraft.config.loading import Place
    from regraft.config.spec import Spec

FOLDERS: dict[str, str] = {
    "augment": "regraft.tasks.augmentation",
    "head": "regraft.protocols.heads",
    "module": "regraft.protocols.modules",
    "predictor": "regraft.protocols.predictors",
    "rate": "regraft.protocols.rates",
    "rebalance": "regraft.tasks.rebalancing",
    "unfreeze": "regraft.protocols.unfreezing",
}
"""Kind folders by what is chosen in them; the one place where a low room names a high one."""


def kinds(folder: str) -> tuple[str, ...]:
    """Return the names of all kinds in a folder, sorted, without importing any.

    Raises:
        ConfigError: Two packages, or a package and regraft itself, have a kind of the same name.
    """
    names = [*_files(folder), *(point.name for point in _points(folder))]
    if clash := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"an installed package adds the {folder} {clash[0]!r}, which there is already. "
            "Uninstall it or rename its entry point.",
            where=f"entry points regraft.{folder}",
        )
    return tuple(sorted(names))


def load(folder: str, kind: str) -> ModuleType:
    """Import the file of a kind.

    Raises:
        ConfigError: There is no such kind, or the package that adds it cannot be imported.
    """
    known = kinds(folder)
    if kind not in known:
        raise ConfigError(f"unknown {folder} {kind!r}.{did_you_mean(kind, known)}")
    for point in _points(folder):
        if point.name == kind:
            return _load_point(folder, point)
    return importlib.import_module(f"{FOLDERS[folder]}.{kind}")


def kind_spec(folder: str, value: str | Mapping[str, Any], *, where: str) -> Any:
    """Check the value of a kind-valued key and return its file's ``Spec``.

    Args:
        folder: Which folder the kind is looked up in.
        value: ``{"kind": "lora", "rank": 8}``, or just ``"lora"``.
        where: The key, for the message.

    Raises:
        ConfigError: No kind is named, it is unknown, or one of its settings is.
    """
    return kind_spec_at(folder, value, place=lambda _: where)


def kind_spec_at(folder: str, value: str | Mapping[str, Any], *, place: Place) -> Any:
    """Do as `kind_spec`; `place` tells for a key of the value where it was written.

    Raises:
        ConfigError: No kind is named, it is unknown, or one of its settings is.
    """
    data = {"kind": value} if isinstance(value, str) else dict(value)
    name = data.get("kind")
    known = kinds(folder)
    if not isinstance(name, str):
        raise ConfigError(
            f"name a kind of {folder}, for example {{kind: {known[0]}}} (it is {value!r}).",
            where=place(()),
        )
    if name not in known:
        raise ConfigError(
            f"unknown {folder} {name!r}.{did_you_mean(name, known)}", where=place(("kind",))
        )
    spec: type[Spec] = load(folder, name).Spec
    return check(spec, data, place=place)


def _load_point(folder: str, point: EntryPoint) -> ModuleType:
    try:
        module: ModuleType = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"the installed package behind the {folder} {point.name!r} cannot be imported "
            f"({error}). Mend or uninstall it.",
            where=f"entry point {point.value}",
        ) from error
    return module


@cache
def _points(folder: str) -> tuple[EntryPoint, ...]:
    # Reading the metadata of all installed packages takes milliseconds: once per process will do.
    return tuple(entry_points(group=f"regraft.{folder}"))


def _files(folder: str) -> list[str]:
    found = importlib.util.find_spec(FOLDERS[folder])
    places = found.submodule_search_locations if found else None
    return [
        module.name
        for module in pkgutil.iter_modules(places or [])
        if not module.ispkg and not module.name.startswith("_")
    ]
