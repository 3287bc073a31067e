"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None,
    typer.Option(help="Folder of the ledger.", envvar="REGRAFT_HOME", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress table.")]
Backbones = Annotated[
    list[str] | None,
    typer.Option(
        "--backbone",
        "-b",
        help="Hub id[@revision], local folder, zoo:glyphs, python:FILE.py:FACTORY@w.safetensors.",
    ),
]
OneBackbone = Annotated[
    str | None, typer.Option("--backbone", "-b", help="The backbone, as `regraft run` takes it.")
]
Budget = Annotated[str | None, typer.Option(help="Wall time: 90s, 30m, 1h30m. 30m if not given.")]
Metric = Annotated[
    str | None,
    typer.Option(help="What early stopping and the verdict go by. macro_f1 if not given."),
]
Protocols = Annotated[
    list[str] | None,
    typer.Option("--protocol", help="ladder, ladder:quick, a template, or a file."),
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="What the process may hold, in training and in solving heads on features: 800M, 4G. "
        "Features stay on the disk and are read in blocks. 60 % of what is free if not given."
    ),
]
CacheBudget = Annotated[
    str | None,
    typer.Option(
        "--cache",
        help="What features and activations may take on the disk: 20GB. A fifth of what is free, "
        "20 GB at most, if not given. The activations at one depth are kept up to a quarter of "
        "it, for a study as it was in its first sitting.",
    ),
]
Report = Annotated[Path | None, typer.Option(help="Where the report goes: .html, .md or .json.")]
LabelBudget = Annotated[int | None, typer.Option(help="Labels per class that the ladder may use.")]
LabelBudgets = Annotated[
    str | None, typer.Option(help="Labels per class of the efficiency curve: 1,2,5,10.")
]
ClassWeights = Annotated[
    str | None, typer.Option(help="'balanced': each class counts the same in the loss.")
]
Robustness = Annotated[
    bool, typer.Option("--robustness", help="Test it on corrupted inputs and on outliers too.")
]
Source = Annotated[
    str | None,
    typer.Option(help="Labelled items of the source domain: what adaptation forgets of it."),
]
Name = Annotated[str | None, typer.Option(help="A name to find the study by.")]
Label = Annotated[str | None, typer.Option(help="Column of the labels.")]
Input = Annotated[str | None, typer.Option("--input", help="Column of the texts or image paths.")]
Group = Annotated[str | None, typer.Option(help="Column whose values must not straddle parts.")]
ReportBy = Annotated[
    list[str] | None,
    typer.Option("--report-by", help="Column whose groups results are reported by: sex, site."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        help="Seed of splits, draws and runs: the same one seals the same items. 0 if not given."
    ),
]
Seeds = Annotated[
    int | None, typer.Option(help="Seeds of what ties with the best. 3 if not given.")
]
Target = Annotated[
    str | None,
    typer.Option(help="Such as 'macro_f1>=0.9 and worst_group(sex).recall>=0.8'."),
]
Time = Annotated[str | None, typer.Option(help="Column to split by: the newest is tested.")]
AllowBad = Annotated[
    bool, typer.Option("--allow-bad", help="Go on when over 1 % of the items are unreadable.")
]
Trust = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that a hub model brings.")
]
Data = Annotated[
    str, typer.Argument(help="Folder, CSV/TSV/Parquet/JSONL file, zoo:digits, or study.yaml.")
]
StudyId = Annotated[str, typer.Argument(help="Id or name of a study, or how the id begins.")]
