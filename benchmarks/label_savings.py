"""How many labels does transfer save on real photographs?

    python benchmarks/label_savings.py --work FOLDER
    python benchmarks/label_savings.py --work FOLDER --budgets 2 5 10 --seeds 2 --budget 5m

One study of flowers5 (40 labelled photographs of each of 5 classes for the ladder, 200 sealed) with
SqueezeNet 1.0 of ImageNet on 64 x 64 pixels: the controls, and one cheap candidate that trains the
uppermost blocks on kept prefixes from the linear probe on. The best arm of each kind is then run at
every label budget with several draws of labels. Prints the label curves, the ratio of labels saved
against each control without transfer with its 95 % interval, and what the power laws predict for
the target. From scratch gets one rate and --scratch-epochs, decided before: two CPU cores give it
no more in a quarter of an hour, so it is no fair control here; raw pixels are.

Data and weights are read from --data, else $REGRAFT_DATA, else ``../shared/data``. Writes
record.json and report.html into the work folder; the same command goes on from where it stopped.
"""

from __future__ import annotations

import argparse
import os
import runpy
import time
from pathlib import Path
from typing import Any

from regraft.config.loading import validate_data
from regraft.config.study import StudySpec
from regraft.report.page import write_any
from regraft.search.advisor import Admission
from regraft.study import Study

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("REGRAFT_DATA") or ROOT.parent / "shared" / "data")
CHEAP = """\
name: top-blocks
title: Uppermost blocks, from the probe
head: {kind: linear, start: probe}
train: {from_depth: 0.8}
rate: {kind: cosine, peak: 3e-4}
fit: {epochs: 8, patience: 8, least_steps: 1}
"""


def unpacked(data: Path, folder: Path) -> Path:
    """Write flowers5 as a folder per class, once."""
    if not folder.exists():
        part = folder.with_suffix(".part")
        runpy.run_path(str(data / "load.py"))["unpack"]("flowers5", part)
        part.rename(folder)
    return folder


def study(asked: argparse.Namespace) -> Study:
    """Return the study."""
    weights = asked.data.resolve() / "squeezenet1_0_imagenet" / "squeezenet1_0.safetensors"
    protocol = asked.work / "top-blocks.yaml"
    protocol.write_text(CHEAP, encoding="utf-8")
    spec = {
        "task": {
            "data": str(unpacked(asked.data, asked.work / "flowers5")),
            "metric": "macro_f1",
            "target": f"macro_f1>={asked.target}",
        },
        "backbones": [f"python:{ROOT}/benchmarks/small_squeezenet.py:squeezenet_64@{weights}"],
        "budget": asked.budget,
        "protocols": [str(protocol)],
        "seeds": asked.seeds,
        "label_budget": asked.ladder,
        "label_budgets": asked.budgets,
        "precision": "fp32",
    }
    found = Study.from_spec(validate_data(StudySpec, spec, where="flowers5"), home=asked.work)
    found.register()
    why = f"{asked.scratch_epochs} epochs at one rate, decided before: no fair control"
    terms = Admission(True, why, n_rates=1, epochs=asked.scratch_epochs, estimated_seconds=60.0)
    found.ledger.decisions.decide(found.id, "arm/scratch", terms.to_json)
    return found


def show(record: dict[str, Any]) -> None:
    """Print the ladder, the label curves and what was saved."""
    print(record["verdict"]["sentence"])
    for arm in record["arms"]:
        print(f"  {arm['title']}: {arm['status']}; {arm['reason']}")
    curves = (record["label_efficiency"] or {"arms": []})["arms"]
    counts = sorted({one["labels_per_class"] for arm in curves for one in arm["points"]})
    print(f"\n| macro-F1 at labels per class | {' | '.join(map(str, counts))} |")
    print("|---" * (1 + len(counts)) + "|")
    for arm in curves:
        points = {one["labels_per_class"]: one for one in arm["points"]}
        cells = (
            f"{points[n]['value']:.3f} [{points[n]['low']:.3f}, {points[n]['high']:.3f}]"
            if n in points
            else "–"
            for n in counts
        )
        print(f"| {arm['title']} | {' | '.join(cells)} |")
    print()
    for question in (one for one in record["questions"] if one["key"] in ("labels", "moved")):
        print(question["question"])
        for one in question["answers"]:
            ends = "" if one.get("high") is None else f" [{one['low']:.2f}, {one['high']:.2f}]"
            print(f"  {one['name']}: {one['text']}{ends}")


def arguments() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "label_savings")
    parser.add_argument("--budgets", type=int, nargs="+", default=[2, 5, 10, 20, 40])
    parser.add_argument("--ladder", type=int, default=40, help="labels per class of the ladder")
    parser.add_argument("--scratch-epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3, help="draws of labels")
    parser.add_argument("--target", type=float, default=0.9, help="macro-F1 to predict labels for")
    parser.add_argument("--budget", default="20m")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    asked.work.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    result = study(asked).run()
    for name in ("record.json", "report.html"):
        write_any(result.record, asked.work / name)
    show(result.record)
    print(f"\n{time.perf_counter() - begun:.0f} s in this sitting")


if __name__ == "__main__":
    main()
