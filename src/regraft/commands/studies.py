"""Commands that make a study: run, demo, plan, inspect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regraft.commands.options import (
    AllowBad,
    Backbones,
    Budget,
    ClassWeights,
    Data,
    Group,
    Home,
    Input,
    Json,
    Label,
    LabelBudget,
    LabelBudgets,
    Memory,
    Metric,
    OneBackbone,
    Protocols,
    Quiet,
    Report,
    ReportBy,
    Robustness,
    Seeds,
    Source,
    Target,
    Time,
    Trust,
)
from regraft.commands.showing import check_form, finish, out, print_json, say
from regraft.errors import ConfigError

if TYPE_CHECKING:
    from regraft.study import Study

_SMALL_SIDE = 32


def run(
    data: Data,
    backbone: Backbones = None,
    metric: Metric = None,
    target: Target = None,
    budget: Budget = None,
    protocol: Protocols = None,
    seed: Annotated[int | None, typer.Option(help="Seed of splits and runs.")] = None,
    seeds: Seeds = None,
    label: Label = None,
    input_: Input = None,
    group: Group = None,
    time: Time = None,
    report_by: ReportBy = None,
    class_weights: ClassWeights = None,
    label_budget: LabelBudget = None,
    label_budgets: LabelBudgets = None,
    robustness: Robustness = False,
    source: Source = None,
    name: Annotated[str | None, typer.Option(help="A name to find the study by.")] = None,
    report: Report = None,
    allow_bad: AllowBad = False,
    trust_remote_code: Trust = False,
    memory: Memory = None,
    home: Home = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find, prove and keep the best protocol. Again is resume.

    What is given here goes before what a study file says.

    Example: regraft run photos/ --backbone facebook/dinov2-small --target "macro_f1>=0.9"
    """
    task = {
        "metric": metric,
        "target": target,
        "label": label,
        "input": input_,
        "group": group,
        "time": time,
        "report_by": report_by,
        "class_weights": class_weights,
        "allow_bad": allow_bad or None,
    }
    given = {
        "backbones": backbone,
        "budget": budget,
        "protocols": protocol,
        "seed": seed,
        "seeds": seeds,
        "label_budget": label_budget,
        "label_budgets": _numbers(label_budgets),
        "robustness": robustness or None,
        "source": source,
        "name": name,
    }
    check_form(report)
    study = _study(data, given, task, home, trusted=trust_remote_code, memory=memory)
    finish(study, report=report, as_json=as_json, quiet=quiet)


def demo(
    report: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("demo.html"),
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the report.")] = True,
    home: Home = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the whole job on embedded data; nothing is downloaded.

    Example: regraft demo --no-open
    """
    from regraft.demo import demo_study

    check_form(report)
    study = demo_study(home=home)
    opens = open_ and not as_json
    finish(study, report=report, as_json=as_json, quiet=quiet, open_report=opens)


def plan(
    data: Data,
    backbone: Backbones = None,
    metric: Metric = None,
    budget: Budget = None,
    protocol: Protocols = None,
    label: Label = None,
    input_: Input = None,
    group: Group = None,
    time: Time = None,
    label_budget: LabelBudget = None,
    robustness: Robustness = False,
    allow_bad: AllowBad = False,
    trust_remote_code: Trust = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what a study would run, why, and at what cost; train nothing.

    Example: regraft plan study.yaml
    """
    from regraft.evidence.task_card import detectable
    from regraft.report.facts import detectable_fact
    from regraft.terminal import table
    from regraft.verbs import plan_study

    task = {
        "metric": metric,
        "label": label,
        "input": input_,
        "group": group,
        "time": time,
        "allow_bad": allow_bad or None,
    }
    given = {
        "backbones": backbone,
        "budget": budget,
        "protocols": protocol,
        "label_budget": label_budget,
        "robustness": robustness or None,
    }
    study = _study(data, given, task, home, trusted=trust_remote_code)
    shows = detectable(len(study.pool.sealed), n_seeds=study.spec.seeds)
    rows = plan_study(study)
    if as_json:
        print_json({"plan": rows, "detectable": shows})
        return
    heads = ("protocol", "rates", "about", "memory", "why")
    out.print(table("Plan", heads, (_plan_cells(row) for row in rows)))
    if (fact := detectable_fact(shows)) is not None:
        say(f"{fact.name}: {fact.value} ({fact.note})")


def _plan_cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return what the plan shows of one row; what follows the ladder has no learning rates."""
    from regraft.report.words import size
    from regraft.terminal import duration

    if not row["runs"]:
        return (row["title"], "skip", "", "", row["reason"])
    rates, memory = row["learning_rates"] or "", size(row["peak_memory_bytes"])
    return (row["title"], str(rates), duration(row["seconds"]), memory, row["reason"])


def inspect(
    data: Data,
    backbone: OneBackbone = None,
    metric: Metric = None,
    label: Label = None,
    input_: Input = None,
    group: Group = None,
    time: Time = None,
    allow_bad: AllowBad = False,
    trust_remote_code: Trust = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Look at the data: sizes, duplicates, leakage, label noise, and warn of what is hardly meant.

    Label noise and diversity are estimated, and labels at chance found, with a backbone only.

    Example: regraft inspect reviews.csv --label stars
    """
    from regraft.report.card import task_markdown
    from regraft.tasks.task import Task
    from regraft.verbs import inspect_data

    task = Task.read(
        data,
        metric=metric or "macro_f1",
        label=label,
        input=input_,
        group=group,
        time=time,
        allow_bad=allow_bad,
    )
    card = inspect_data(task, backbone, home=home, trust_remote_code=trust_remote_code)
    if as_json:
        print_json(card)
    else:
        out.print(task_markdown(card), markup=False, highlight=False)


def _study(
    data: str,
    given: dict[str, Any],
    task: dict[str, Any],
    home: Path | None,
    *,
    trusted: bool,
    memory: str | None = None,
) -> Study:
    """Return the study of a file, or of what was given on the command line.

    Args:
        data: The study file, or the data.
        given: What was asked of the study, by the key of a study file; None where nothing was.
        task: What was asked of its task, likewise.
        home: The ledger's folder.
        trusted: Whether a hub model may bring code that is then run.
        memory: What the process may hold, as text.
    """
    from regraft.config.loading import validate_data
    from regraft.config.protocol import SUFFIXES
    from regraft.config.spec import resolved
    from regraft.config.study import StudySpec, located, read_study
    from regraft.study import Sitting, Study

    said = {key: value for key, value in given.items() if value is not None}
    said_of_task = {key: value for key, value in task.items() if value is not None}
    if data.endswith(SUFFIXES):
        asked = resolved(read_study(Path(data)))
        if asked.get("robustness"):  # the file says how; the option only whether
            said.pop("robustness", None)
    else:
        asked = {"task": {"data": data}}
        if "backbones" not in said:
            said["backbones"] = _proposed_backbone({"data": data, **said_of_task})
    asked |= {**said, "task": {**asked["task"], **said_of_task}}
    sitting = Sitting(memory_bytes=_bytes(memory), trust_remote_code=trusted)
    spec = located(validate_data(StudySpec, asked, where="command line"), Path.cwd())
    return Study.from_spec(spec, home=home, sitting=sitting)


def _bytes(text: str | None) -> int | None:
    from regraft.config.spec import bytes_of

    try:
        return None if text is None else bytes_of(text)
    except ValueError as error:
        raise ConfigError(f"{error}.", where="--memory") from error


def _proposed_backbone(asked: dict[str, Any]) -> list[str]:
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


def _numbers(text: str | None) -> list[int] | None:
    try:
        return [int(part) for part in text.split(",")] if text else None
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is not a list of numbers such as 1,2,5,10.", where="--label-budgets"
        ) from error
