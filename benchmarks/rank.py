"""Do transferability estimators order real backbones as fine-tuning does?

    python benchmarks/rank.py --work FOLDER
    python benchmarks/rank.py --work FOLDER --only digits --models glyphs resnet20 --train 100

Ten backbones (SqueezeNet 1.0, ResNet-20/32/56 of CIFAR, the embedded glyphs, and a twin of each
with random weights) on eight data sets (flowers5, hymenoptera, cifar10_small, digits, and the four
domains of pacs_small), each cut to 500 training items by a stratified draw. Every backbone is
fine-tuned by one protocol at one rate with two seeds and tested on the set's own test part (of
digits, on the other half); `rank` sees the training items only. Prints, for each estimator,
weighted Kendall's tau and regret (in points of accuracy) on every data set and on average, beside
three baselines: a static order (mean rank on the other data sets), the linear probe, and chance
(mean of 1,000 orders).

Data and weights are read from --data, else $REGRAFT_DATA, else ``../shared/data``. Writes rank.json
into the work folder after each fit; the same command goes on from there. The training part of
cifar10_small was seen by the CIFAR ResNets, its test part was not.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.stats import rankdata
from sklearn.datasets import load_digits

from regraft.backbones.loading import load_backbone
from regraft.estimator import TransferClassifier
from regraft.evidence.ranking import Candidate, rank
from regraft.features.store import Cache
from regraft.measure.transferability.judging import (
    judge,
    random_order,
    regret,
    static_order,
    weighted_tau,
)
from regraft.measure.transferability.neighbours import stratified
from regraft.search.bench import Bench
from regraft.tasks.items import items_from

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("REGRAFT_DATA") or ROOT.parent / "shared" / "data")
DOMAINS = ("photo", "art_painting", "cartoon", "sketch")
SETS = ("flowers5", "hymenoptera", "cifar10_small", "digits", *(f"pacs_{d}" for d in DOMAINS))
PRETRAINED = ("squeezenet", "resnet20", "resnet32", "resnet56", "glyphs")
MODELS = (*PRETRAINED, *(f"{name}-random" for name in PRETRAINED))
TWIN_SEED = 0
ORDERS_OF_CHANCE = 1000

Images = list[np.ndarray[Any, Any]]
Labels = np.ndarray[Any, Any]


def reference(model: str, data: Path, work: Path) -> str:
    """Return what a backbone is loaded by; a twin's random weights are written once."""
    name = model.removesuffix("-random")
    if name == "glyphs":
        factory, weights = "regraft.backbones.zoo.glyphs:build", None
    elif name == "squeezenet":
        factory = f"{ROOT}/benchmarks/small_squeezenet.py:squeezenet_96"
        weights = data / "squeezenet1_0_imagenet" / "squeezenet1_0.safetensors"
    else:
        factory = f"{ROOT}/benchmarks/cifar_resnets.py:{name}"
        weights = data / "resnet_cifar10" / f"{name}.safetensors"
    given = f"python:{factory}@{weights}" if weights else "zoo:glyphs"
    if name == model:
        return given
    twin = work / "twins" / f"{name}.safetensors"
    if not twin.exists():
        twin.parent.mkdir(parents=True, exist_ok=True)
        state = load_backbone(given).randomised(TWIN_SEED).module.state_dict()
        part = twin.with_suffix(".part")
        save_file({key: one.contiguous() for key, one in state.items()}, part)
        part.rename(twin)
    return f"python:{factory}@{twin}"


def read(name: str, data: Path) -> tuple[Images, Labels, np.ndarray[Any, Any]]:
    """Return images, labels, and which items are the test part."""
    if name == "digits":
        pixels, labels = load_digits(return_X_y=True)
        images = list((pixels.reshape(-1, 8, 8) * 15.9).astype(np.uint8))
        is_test = np.random.default_rng(0).permutation(len(images)) >= len(images) // 2
        return images, labels, is_test
    pack = np.load(data / folder_of(name) / "images.npz", allow_pickle=False)
    keep = np.ones(len(pack["label"]), bool)
    if name.startswith("pacs_"):
        keep = pack["domain"] == name.removeprefix("pacs_")
    blob, cuts = pack["data"], pack["offsets"]
    rows = np.flatnonzero(keep)
    images = [
        np.asarray(Image.open(io.BytesIO(blob[cuts[i] : cuts[i + 1]].tobytes())).convert("RGB"))
        for i in rows
    ]
    return images, pack["label"][rows].astype(np.int64), pack["split"][rows] != "train"


def folder_of(name: str) -> str:
    return "pacs_small" if name.startswith("pacs_") else name


def drawn(
    images: Images, labels: Labels, rows: np.ndarray[Any, Any], most: int
) -> tuple[Images, Labels]:
    """Return a stratified draw of about `most` of some rows, the same each time."""
    _, classes = np.unique(labels[rows], return_inverse=True)
    chosen = rows[stratified(classes, most, np.random.default_rng(0))]
    return [images[i] for i in chosen], labels[chosen]


def ranked(
    train: tuple[Images, Labels], models: dict[str, str], cache: Cache, half_samples: int
) -> dict[str, Any]:
    """Return the ranking of the backbones by their features of the training items."""
    images, labels = train
    items = items_from(images, "image")
    begun = time.perf_counter()
    benches = {name: Bench(items, load_backbone(one), cache) for name, one in models.items()}
    candidates = [Candidate(name, one.features, one.source) for name, one in benches.items()]
    passed = time.perf_counter()
    found = rank(candidates, labels, half_samples=half_samples).to_json()
    seconds = {"features": passed - begun, "estimators": time.perf_counter() - passed}
    return {**found, "seconds": seconds}


def fine_tuned(
    model: str, train: tuple[Images, Labels], test: tuple[Images, Labels], seed: int, asked: Any
) -> dict[str, float]:
    """Return the test accuracy of a fit, and the seconds that it took."""
    begun = time.perf_counter()
    fitted = TransferClassifier(
        model,
        asked.protocol,
        learning_rate=asked.rate,
        epochs=asked.epochs,
        metric="accuracy",
        random_state=seed,
    ).fit(*train)
    accuracy = float((fitted.predict(test[0]) == test[1]).mean())
    return {"accuracy": accuracy, "seconds": time.perf_counter() - begun}


def scores_of(ranking: dict[str, Any], models: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the score of each model by estimator; the whole order as minus the mean rank.

    A model without a source head has nan from those that need one.
    """
    found = {
        view["name"]: np.array([view["scores"].get(name, np.nan) for name in models])
        for view in ranking["estimators"]
        if view["scores"]
    }
    means = {place["name"]: place["mean_rank"] for place in ranking["places"]}
    return {"all, mean rank": np.array([-means[name] for name in models]), **found}


def judged(results: dict[str, Any], models: list[str]) -> dict[str, dict[str, Any]]:
    """Return tau and regret by estimator and data set, baselines among them."""
    accuracies = {
        name: np.array(
            [np.mean([fit["accuracy"] for fit in one["fits"][m].values()]) for m in models]
        )
        for name, one in results.items()
    }
    rows: dict[str, dict[str, Any]] = {}
    for name, one in results.items():
        reached, scores = accuracies[name], scores_of(one["ranking"], models)
        others = [accuracies[other] for other in results if other != name]
        if others:
            scores["static order"] = static_order(np.stack(others))
            both = [rankdata(scores["static order"]), rankdata(scores["logme"])]
            scores["static order + logme"] = np.sum(both, axis=0)
        for estimator, given in scores.items():
            known = ~np.isnan(given)
            judgement = judge(given[known], reached[known], k=3)
            rows.setdefault(estimator, {})[name] = {
                **judgement.to_json(),
                "models": [
                    model for model, is_known in zip(models, known, strict=True) if is_known
                ],
            }
        chance = [random_order(len(models), seed=seed) for seed in range(ORDERS_OF_CHANCE)]
        rows.setdefault("chance", {})[name] = {
            "weighted_tau": {"value": float(np.mean([weighted_tau(o, reached) for o in chance]))},
            "regret": {"value": float(np.mean([regret(o, reached) for o in chance]))},
        }
    return rows


def show(rows: dict[str, dict[str, Any]], sets: list[str]) -> None:
    """Print tau and, in brackets, regret in points, least mean regret first.

    The means over sets stand with the means of the ends of their intervals, bootstraps of models.
    """

    def mean(one: dict[str, Any], what: str, which: str = "value") -> float:
        return float(np.mean([one[name][what][which] for name in sets]))

    def summary(one: dict[str, Any]) -> list[str]:
        tau, lost = f"{mean(one, 'weighted_tau'):.2f}", f"{100 * mean(one, 'regret'):.2f}"
        if "rel_at_k" not in one[sets[0]]:
            return [tau, "", lost]
        low, high = (mean(one, "weighted_tau", end) for end in ("low", "high"))
        most = 100 * mean(one, "regret", "high")
        share = f"{mean(one, 'rel_at_k'):.3f}"
        return [f"{tau} [{low:.2f}, {high:.2f}]", share, f"{lost} [≤ {most:.1f}]"]

    needed = {name: one[sets[0]].get("models") for name, one in rows.items()}
    most = max(len(models) for models in needed.values() if models)
    for name, models in needed.items():
        if models and len(models) < most:
            print(f"{name}: of the {len(models)} models that bring a source head")
    print(f"\n| estimator | mean τ | mean rel@3 | mean regret | {' | '.join(sets)} |")
    print("|---" * (4 + len(sets)) + "|")

    def place(row: tuple[str, dict[str, Any]]) -> tuple[float, float]:
        return mean(row[1], "regret"), -mean(row[1], "weighted_tau")

    for name, one in sorted(rows.items(), key=place):
        cells = (
            f"{one[s]['weighted_tau']['value']:.2f} ({100 * one[s]['regret']['value']:.1f})"
            for s in sets
        )
        print(f"| {' | '.join([name, *summary(one), *cells])} |")


def arguments() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "rank")
    parser.add_argument("--only", choices=SETS, nargs="+", default=list(SETS))
    parser.add_argument("--models", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--train", type=int, default=500, help="training items")
    parser.add_argument("--test", type=int, default=500, help="most test items")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--protocol", default=str(ROOT / "benchmarks" / "rank.yaml"))
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch")
    parser.add_argument("--halves", type=int, default=10, help="half-samples of the ranking")
    return parser.parse_args()


def begun(asked: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """Return the file and what it holds of an earlier sitting with the same settings."""
    asked.work.mkdir(parents=True, exist_ok=True)
    path = asked.work / "rank.json"
    names = ("train", "test", "protocol", "rate", "epochs", "halves", "models", "threads")
    settings = {name: getattr(asked, name) for name in names}
    if not path.exists():
        return path, {"settings": settings, "sets": {}}
    state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if state["settings"] != settings:
        raise SystemExit(f"{path} has other settings: {state['settings']}. Name another --work.")
    return path, state


def save(path: Path, state: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def main() -> None:
    asked = arguments()
    torch.set_num_threads(asked.threads)
    path, state = begun(asked)
    models = {name: reference(name, asked.data.resolve(), asked.work) for name in asked.models}
    cache = Cache(asked.work / "cache")
    for name in asked.only:
        images, labels, is_test = read(name, asked.data)
        train = drawn(images, labels, np.flatnonzero(~is_test), asked.train)
        test = drawn(images, labels, np.flatnonzero(is_test), asked.test)
        one = state["sets"].setdefault(name, {"n_train": len(train[1]), "n_test": len(test[1])})
        if "ranking" not in one:
            one["ranking"] = ranked(train, models, cache, asked.halves)
            save(path, state)
        print(f"{name}: {one['ranking']['sentence']}", flush=True)
        for model, where in models.items():
            fits = one.setdefault("fits", {}).setdefault(model, {})
            for seed in (seed for seed in asked.seeds if str(seed) not in fits):
                fits[str(seed)] = fine_tuned(where, train, test, seed, asked)
                save(path, state)
            reached = ", ".join(f"{fit['accuracy']:.3f}" for fit in fits.values())
            print(f"  {model}: {reached}", flush=True)
    done = {name: state["sets"][name] for name in asked.only}
    state["judged"] = judged(done, list(models))
    save(path, state)
    show(state["judged"], list(asked.only))


if __name__ == "__main__":
    main()
