"""What a command line asks: its options over what a study file says.

All commands that read labelled data read it here, so that one seed seals the same items in each.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.config.study import StudySpec
    from regraft.study import Study
    from regraft.tasks.task import Task

_SMALL_SIDE = 32

OF_TASK = {
    "metric": "metric",
    "target": "target",
    "label": "label",
    "input_": "input",
    "group": "group",
    "time": "time",
    "report_by": "report_by",
    "class_weights": "class_weights",
    "allow_bad": "allow_bad",
}
"""Arguments of commands that ask something of the task, with their keys in a study file."""

OF_STUDY = {
    "backbone": "backbones",
    "budget": "budget",
    "protocol": "protocols",
    "seed": "seed",
    "seeds": "seeds",
    "label_budget": "label_budget",
    "label_budgets": "label_budgets",
    "robustness": "robustness",
    "source": "source",
    "name": "name",
}
"""Arguments of commands that ask something of the study, likewise; its id depends on all."""


def study_of(arguments: Mapping[str, Any]) -> Study:
    """Return the study of a file, or of what was given on the command line.

    Args:
        arguments: Those of the command, by name. None, and a flag that is off, ask nothing.

    Raises:
        ConfigError: An argument or the study file is wrong, or there is no backbone to propose.
        DataError: The data cannot be used.
    """
    from regraft.config.study import located
    from regraft.study import Sitting, Study

    asked = _asked(arguments)
    if "backbones" not in asked:
        asked["backbones"] = _proposed_backbone(asked["task"])
    sitting = Sitting(
        memory_bytes=_bytes(arguments, "memory"),
        cache_bytes=_bytes(arguments, "cache"),
        trust_remote_code=arguments["trust_remote_code"],
    )
    spec = located(_checked(asked), Path.cwd())
    return Study.from_spec(spec, home=arguments["home"], sitting=sitting)


def task_of(arguments: Mapping[str, Any]) -> tuple[Task, StudySpec]:
    """Return the task that a study of the same data and seed has, and what else is asked of it.

    Args:
        arguments: Those of the command, by name.

    Returns:
        The task, and a study without backbones of its own.

    Raises:
        ConfigError: An argument or the study file is wrong.
        DataError: The data cannot be used.
    """
    from regraft.tasks.task import read_task

    spec = _checked({**_asked(arguments), "backbones": ["none"]})
    return read_task(spec.task, seed=spec.seed), spec


def _asked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is asked in the form of a study file; the command line goes first."""
    from regraft.config.protocol import SUFFIXES
    from regraft.config.spec import resolved
    from regraft.config.study import read_study

    data = str(arguments["data"])
    is_file = data.endswith(SUFFIXES)
    asked = resolved(read_study(Path(data))) if is_file else {"task": {"data": data}}
    said, said_of_task = _said(arguments, OF_STUDY), _said(arguments, OF_TASK)
    if "label_budgets" in said:
        said["label_budgets"] = _numbers(said["label_budgets"])
    if asked.get("robustness"):  # the file says how; the option only whether
        said.pop("robustness", None)
    return {**asked, **said, "task": {**asked["task"], **said_of_task}}


def _said(arguments: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    """Return what of the arguments asks something, by the key of a study file."""
    given = {key: arguments.get(name) for name, key in keys.items()}
    return {key: value for key, value in given.items() if value is not None and value is not False}


def _checked(asked: Mapping[str, Any]) -> StudySpec:
    from regraft.config.loading import validate_data
    from regraft.config.study import StudySpec

    return validate_data(StudySpec, asked, where="command line")


def _bytes(arguments: Mapping[str, Any], name: str) -> int | None:
    from regraft.config.spec import bytes_of

    text: str | None = arguments.get(name)
    try:
        return None if text is None else bytes_of(text)
    except ValueError as error:
        raise ConfigError(f"{error}.", where=f"--{name}") from error


def _proposed_backbone(asked: Mapping[str, Any]) -> list[str]:
    """Return the embedded backbone for small images; else say what to give."""
    from regraft.tasks.task import Task

    task = Task.read(**asked)
    size = task.intake.largest_side
    if task.kind == "image" and size is not None and size <= _SMALL_SIDE:
        return ["zoo:glyphs"]
    examples = {"text": "sentence-transformers/all-MiniLM-L6-v2", "image": "facebook/dinov2-small"}
    example = examples.get(task.kind, "python:model.py:build@weights.safetensors")
    raise ConfigError(
        f"name a pretrained model: --backbone {example}, or a local folder.", where="--backbone"
    )


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is not a list of numbers such as 1,2,5,10.", where="--label-budgets"
        ) from error
