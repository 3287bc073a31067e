"""Graft a pretrained model onto your task: find the best way to adapt it, and prove it.

    import regraft as rg

    task = rg.Task.read("photos/", metric="macro_f1")
    result = rg.Study(task, backbones=["facebook/dinov2-small"], budget="30m").run()

Names are imported when they are first used, so that ``import regraft`` loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regraft import measure as measure
    from regraft.api import Backbone, Protocol
    from regraft.errors import RegraftError
    from regraft.estimator import TransferClassifier
    from regraft.study import Result, Study, StudyOptions
    from regraft.tasks.task import Task

_HOMES = {
    "Backbone": "regraft.api",
    "Protocol": "regraft.api",
    "RegraftError": "regraft.errors",
    "Result": "regraft.study",
    "Study": "regraft.study",
    "StudyOptions": "regraft.study",
    "Task": "regraft.tasks.task",
    "TransferClassifier": "regraft.estimator",
}

_ROOMS = ("measure",)
"""Rooms whose names are reached through them, as in ``rg.measure.ece``."""

__all__ = [
    "Backbone",
    "Protocol",
    "RegraftError",
    "Result",
    "Study",
    "StudyOptions",
    "Task",
    "TransferClassifier",
]


_ROOMS = ("measure",)
"""Rooms whose functions are reached through them: ``rg.measure.logme``."""


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first used (PEP 562)."""
    if name in _ROOMS:
        return import_module(f"regraft.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'regraft' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, *_ROOMS]
