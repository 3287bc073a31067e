"""The folder is the registry: ``kind: lora`` is the file ``protocols/modules/lora.py``.

Names are listed without importing anything; a kind's file is imported when a config names it. Third
parties add kinds by an entry point in the group ``regraft.FOLDER`` (for example ``regraft.module``).
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from regraft.config.loading import validate_data
from regraft.config.spec import Spec
from regraft.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from types import ModuleType

FOLDERS: dict[str, str] = {
    "augment": "regraft.tasks.augmentation",
    "head": "regraft.protocols.heads",
    "module": "regraft.protocols.modules",
    "predictor": "regraft.protocols.predictors",
    "rate": "regraft.protocols.rates",
    "rebalance": "regraft.tasks.rebalancing",
    "unfreeze": "regraft.protocols.unfreezing",
}
"""Kind folders by the name of what is chosen in them; the one place where a low room names a high one."""


def kinds(folder: str) -> tuple[str, ...]:
    """Return the names of all kinds in a folder, sorted, without importing any.

    Raises:
        ConfigError: An entry point has the name of a file.
    """
    files = _files(folder)
    others = {point.name for point in entry_points(group=f"regraft.{folder}")}
    if clash := sorted(files & others):
        raise ConfigError(
            f"an installed package adds the {folder} {clash[0]!r}, which regraft has already. "
            "Uninstall it or rename its entry point.",
            where=f"entry point regraft.{folder}",
        )
    return tuple(sorted(files | others))


def load(folder: str, kind: str) -> ModuleType:
    """Import the file of a kind.

    Raises:
        ConfigError: There is no such kind; the message names the nearest.
    """
    known = kinds(folder)
    if kind not in known:
        raise ConfigError(f"unknown {folder} {kind!r}.{did_you_mean(kind, known)}")
    for point in entry_points(group=f"regraft.{folder}"):
        if point.name == kind:
            module: ModuleType = point.load()
            return module
    return importlib.import_module(f"{FOLDERS[folder]}.{kind}")


def kind_spec(folder: str, value: str | dict[str, Any], *, where: str) -> Any:
    """Check the value of a kind-valued key and return its file's ``Spec``.

    Args:
        folder: Which folder the kind is looked up in.
        value: ``{"kind": "lora", "rank": 8}``, or just ``"lora"``.
        where: The key, for the message.

    Raises:
        ConfigError: No kind is named, it is unknown, or one of its settings is.
    """
    data = {"kind": value} if isinstance(value, str) else dict(value)
    name = data.get("kind")
    if not isinstance(name, str):
        raise ConfigError(
            f"name a kind, for example {{kind: {kinds(folder)[0]}}} (it is {value!r}).", where=where
        )
    spec: type[Spec] = load(folder, name).Spec
    return validate_data(spec, data, where=where)


@cache
def _package_path(folder: str) -> list[str]:
    found = importlib.util.find_spec(FOLDERS[folder])
    if found is None or found.submodule_search_locations is None:
        raise AssertionError(f"{FOLDERS[folder]} is not a package")
    return found.submodule_search_locations  # type: ignore[return-value]


def _files(folder: str) -> set[str]:
    return {
        module.name
        for module in pkgutil.iter_modules(_package_path(folder))
        if not module.ispkg and not module.name.startswith("_")
    }
