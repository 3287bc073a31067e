"""Are the usual mistakes of transfer learning noticed? A drill of injected faults.

    python benchmarks/faults.py --out faults.json
    python benchmarks/faults.py --only dead-head,padding-unmasked

Each fault is planted in a small real situation: scikit-learn's digits, small backbones pretrained
on the spot or of random weights, real runs and studies. Its twin is the same situation without the
fault, and must stay silent. An alarm is what the program itself says: a problem or a warning of
pre-flight, a run that fails with its reason, a warning or leakage of the task card (`inspect`), a
warning of the report, a verdict against transfer or one that the sealed part does not confirm, a
second opening of that part, a refusal (exit 2), or a run that `verify` does not repeat (exit 5).
One process, one thread, seeded. Exits with 1 where a twin raises an alarm.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faulty_nets
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizer
from transformers.utils import logging

from regraft.backbones.loading import load_backbone
from regraft.config.loading import validate_data
from regraft.config.protocol import ProtocolSpec, resolve_protocol
from regraft.config.study import StudySpec
from regraft.deploy.predictor import GraftPredictor
from regraft.engine import fit, run
from regraft.engine.adapted import build
from regraft.engine.job import Job
from regraft.engine.objective import Objective
from regraft.engine.optimiser import Optimiser
from regraft.errors import RegraftError
from regraft.events import Failed, Preflight
from regraft.features.store import Cache
from regraft.protocols.heads import linear
from regraft.protocols.modules import lora
from regraft.search.bench import Bench
from regraft.study import Result, Study
from regraft.tasks.task import Task
from regraft.verbs import inspect_data, verify_run

Alarms = list[tuple[str, str]]
"""Where an alarm was raised, and its words."""

SOURCE = 1000  # digits that pretrain; the others are the task
CARD, REPORT, PRE, RUN, REFUSED, VERIFY = (
    "inspect",
    "report",
    "pre-flight",
    "run failed",
    "refused",
    "verify",
)
PROTOCOL = """\
name: fine-tuning
head: {{kind: linear, start: probe}}
train: {{from_depth: 0.5}}
rate: {{kind: cosine, peak: {peak}}}
fit: {{epochs: 5, patience: 5, least_steps: 1, batch_size: 16}}
"""
LORA = {"modules": [{"kind": "lora", "rank": 4}]}
UPPER = {"train": {"from_depth": 0.5}}
TOKENS = ["the", "film", "was", "good", "bad", "and", "very", "long", "short", "dull", "bright"]


@cache
def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return images (1797, 8, 8, 3) uint8 and labels, shuffled."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    grey = (found.images[order] * 15.9).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3), found.target[order]


def task_of(rows: slice = slice(SOURCE, None), **asked: Any) -> Task:
    """Return the task of some digits."""
    images, labels = digits()
    names = [f"digit {label}" for label in labels[rows]]
    return Task.read((list(images[rows]), names), kind="image", **asked)


def reference(work: Path, factory: str = "Net", *, trained: bool = False) -> str:
    """Save weights for a factory of `faulty_nets`; return how a study names it."""
    weights = work / f"{factory}{'-trained' if trained else ''}.safetensors"
    if not weights.exists():
        torch.manual_seed(0)
        net: nn.Module = vars(faulty_nets)[factory]()
        if trained:
            pretrain(net)
        save_file(net.state_dict(), weights)
    return f"python:{faulty_nets.__file__}:{factory}@{weights}"


def pretrain(net: nn.Module) -> None:
    """Train a backbone on the labelled digits that are not the task's, for 400 steps."""
    images, labels = digits()
    grey = torch.from_numpy(images[:SOURCE, ..., 0]).float()[:, None] / 255
    x, y = (grey - faulty_nets.MEAN) / faulty_nets.STD, torch.from_numpy(labels[:SOURCE]).long()
    head = nn.Linear(faulty_nets.WIDTH, 10)
    adam = torch.optim.AdamW([*net.parameters(), *head.parameters()], lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        rows = torch.randint(0, SOURCE, (64,), generator=generator)
        nn.functional.cross_entropy(head(net(x[rows])), y[rows]).backward()
        adam.step()
        adam.zero_grad()


@contextmanager
def replaced(owner: Any, name: str, value: Any, *, when: bool) -> Iterator[None]:
    """Replace one step of the program while the fault is in; the twin keeps it."""
    before = getattr(owner, name)
    if when:
        setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def run_alarms(work: Path, backbone: str, protocol: dict[str, Any], task: Task) -> Alarms:
    """Run a protocol; return what pre-flight and the run say."""
    short = {"epochs": 2, "least_steps": 1, "batch_size": 16}
    spec = ProtocolSpec.model_validate({"name": "drilled", "fit": short, **protocol})
    loaded = load_backbone(backbone)
    data = Bench(task.development, loaded, Cache(work / "cache")).run_data(task)
    job = Job(run="run", protocol=resolve_protocol(spec), backbone=loaded, data=data, seed=3)
    found: Alarms = []
    for event in run.execute(job):
        if isinstance(event, Preflight):
            found += [(PRE, one) for one in (*event.problems, *event.warnings)]
        if isinstance(event, Failed) and not found:
            found.append((RUN, event.reason))
    return found


def card_alarms(task: Task, backbone: str | None, work: Path) -> Alarms:
    """Return what `regraft inspect` warns of."""
    card = inspect_data(task, backbone, home=work / "home")
    return [(CARD, one) for one in (*card["warnings"], *card["leakage"])]


def report_alarms(record: dict[str, Any]) -> Alarms:
    """Return what the report of a study warns of."""
    verdict, task = record["verdict"], record["task"]
    found = [*record["warnings"], *task["warnings"], *task["leakage"]]
    found += [f"{one['title']} failed: {one['reason']}" for one in record["arms"]
              if one["status"] == "failed"]  # fmt: skip
    if verdict["kind"] == "do_not_transfer" or verdict["confirmed"] is False:
        found.append(verdict["sentence"])
    if record["test_openings"] > 1:
        found.append(f"test openings: {record['test_openings']} studies read it")
    return [(REPORT, one) for one in found]


def refusal(act: Callable[[], Any]) -> Alarms:
    """Return the sentence with which the program refuses, if it does."""
    try:
        act()
    except RegraftError as error:
        return [(REFUSED, str(error))]
    return []


def digit_folder(work: Path, *, shifted: bool = False) -> Path:
    """Write the task's digits as PNG files, train and test apart; perhaps the test's labels + 1."""
    images, labels = digits()
    root = work / f"digits{'-shifted' if shifted else ''}"
    for i in range(SOURCE, len(labels)):
        part = "test" if i % 2 else "train"
        label = (labels[i] + (part == "test" and shifted)) % 10
        folder = root / part / f"digit {label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[i]).save(folder / f"{i}.png")
    return root


def study_of(
    work: Path, backbone: str, *, name: str, data: Path | None = None, peak: float = 3e-3
) -> Result:
    """Run a study at 20 labels per class in a ledger of its own."""
    (work / name).mkdir(parents=True, exist_ok=True)
    (work / name / "protocol.yaml").write_text(PROTOCOL.format(peak=peak), encoding="utf-8")
    asked = {
        "task": {"data": str(data or digit_folder(work)), "metric": "accuracy"},
        "backbones": [backbone],
        "budget": 1e6,
        "protocols": [str(work / name / "protocol.yaml")],
        "seeds": 1,
        "label_budget": 20,
        "precision": "fp32",
    }
    spec = validate_data(StudySpec, asked, where="drill")
    return Study.from_spec(spec, home=work / name / "home").run()


@cache
def clean_study(work: Path) -> Result:
    """Return the study without a fault, twin of every faulty one."""
    return study_of(work, reference(work, trained=True), name="clean")


# What a programming error in a run would be. -----------------------------------------------------


def dead_head(work: Path, faulty: bool) -> Alarms:
    """The head's weights are cut off the graph."""

    class Dead(nn.Linear):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(features, self.weight.detach(), self.bias.detach())

    def dead(*arguments: Any, **settings: Any) -> nn.Linear:
        head = made(*arguments, **settings)
        head.__class__ = Dead
        return head

    made = linear.build
    with replaced(linear, "build", dead, when=faulty):
        return run_alarms(work, reference(work), UPPER, task_of())


def adapter_on_few_layers(work: Path, faulty: bool) -> Alarms:
    """LoRA by default finds attention in one block of fourteen."""
    backbone = reference(work, "hybrid" if faulty else "attentive")
    return run_alarms(work, backbone, LORA, task_of())


def zero_lora(work: Path, faulty: bool) -> Alarms:
    """Both factors of LoRA start at zero, so that neither ever moves."""

    def zeroed(spec: Any, backbone: Any, **settings: Any) -> Any:
        inserted = insert(spec, backbone, **settings)
        with torch.no_grad():
            for name in inserted.parameter_names:
                backbone.module.get_parameter(name).zero_()
        return inserted

    insert = lora.insert
    with replaced(lora, "insert", zeroed, when=faulty):
        return run_alarms(work, reference(work), LORA, task_of())


def other_parameters(work: Path, faulty: bool) -> Alarms:
    """The optimiser holds the parameters of another copy of the model."""

    def misled(self: Optimiser, job: Job, stage: Any, model: Any, total: int) -> None:
        del model
        make(self, job, stage, build(job, stage), total)

    make = Optimiser.__init__
    with replaced(Optimiser, "__init__", misled, when=faulty):
        return run_alarms(work, reference(work), UPPER, task_of())


def frozen_moves(work: Path, faulty: bool) -> Alarms:
    """A frozen weight moves while the blocks above it train."""
    return run_alarms(work, reference(work, "Restless" if faulty else "Net"), UPPER, task_of())


def statistics_move(work: Path, faulty: bool) -> Alarms:
    """Batch normalisation is left in training mode."""
    backbone = reference(work, "Unfrozen" if faulty else "Normed")
    return run_alarms(work, backbone, UPPER, task_of())


def seeded_late(work: Path, faulty: bool) -> Alarms:
    """The adapter is initialised before the run's seed is set."""

    def unseeded(spec: Any, backbone: Any, *, from_depth: int, seed: int) -> Any:
        return insert(spec, backbone, from_depth=from_depth, seed=seed + next(state))

    insert, state = lora.insert, count(1)
    with replaced(lora, "insert", unseeded, when=faulty):
        return run_alarms(work, reference(work), LORA, task_of())


def padding_unmasked(work: Path, faulty: bool) -> Alarms:
    """The model attends to padding, so that an item's features hang on its batch."""

    def unmasked(self: BertModel, **given: Any) -> Any:
        given["attention_mask"] = torch.ones_like(given["attention_mask"])
        return forward(self, **given)

    rng = np.random.default_rng(0)
    texts = [
        " ".join([("good", "bad")[i % 2], *rng.choice(TOKENS, rng.integers(1, 24)), str(i)])
        for i in range(120)
    ]
    task = Task.read((texts, [("praise", "blame")[i % 2] for i in range(120)]), kind="text")
    forward = BertModel.forward
    with replaced(BertModel, "forward", unmasked, when=faulty):
        return run_alarms(work / f"text-{faulty}", bert(work), UPPER, task)


def bert(work: Path) -> str:
    """Save a small BERT of random weights with its tokenizer; return its folder."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TOKENS]
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(work / "bert")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    BertTokenizer(vocab=vocabulary, model_max_length=40).save_pretrained(work / "bert")
    return str(work / "bert")


def logits_as_probabilities(work: Path, faulty: bool) -> Alarms:
    """Metrics are computed from logits."""
    with (
        replaced(fit, "softmax", np.asarray, when=faulty),
        replaced(run, "softmax", np.asarray, when=faulty),
    ):
        return run_alarms(work, reference(work), UPPER, task_of())


def softmax_twice(work: Path, faulty: bool) -> Alarms:
    """The loss takes a softmax of probabilities."""

    def twice(self: Objective, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return loss(self, logits.softmax(1), labels)

    loss = Objective.loss
    with replaced(Objective, "loss", twice, when=faulty):
        return run_alarms(work, reference(work), UPPER, task_of())


# What a user, or the backbone that a user brings, may do wrong. -----------------------------------


def rate_too_high(work: Path, faulty: bool) -> Alarms:
    """The learning rate is a thousand times too high."""
    backbone = reference(work, trained=True)
    found = study_of(work, backbone, name="rate", peak=3.0) if faulty else clean_study(work)
    return report_alarms(found.record)


def noise_without_seed(work: Path, faulty: bool) -> Alarms:
    """A layer draws its noise from a generator that no seed reaches."""
    backbone = reference(work, "Noisy" if faulty else "Net", trained=True)
    found = study_of(work, backbone, name="noisy") if faulty else clean_study(work)
    home = work / ("noisy" if faulty else "clean") / "home"
    trained = next(arm for arm in found.record["arms"] if arm["role"] == "candidate")
    events = verify_run(trained["run"], backbone=backbone, home=home)
    while True:
        try:
            next(events)
        except StopIteration as stop:
            words = f"differs by up to {stop.value.largest_difference:.3g}"
            return [] if stop.value.same else [(VERIFY, words)]


def random_weights(work: Path, faulty: bool) -> Alarms:
    """The weights under a pretrained name are random."""
    backbone = reference(work)
    found = study_of(work, backbone, name="random") if faulty else clean_study(work)
    return report_alarms(found.record)


def other_order_of_classes(work: Path, faulty: bool) -> Alarms:
    """The test part counts its classes from one, training from zero."""
    shifted = digit_folder(work, shifted=True) if faulty else None
    backbone = reference(work, trained=True)
    if not faulty:
        return report_alarms(clean_study(work).record)
    return report_alarms(study_of(work, backbone, name="shifted", data=shifted).record)


def opened_before(work: Path, faulty: bool) -> Alarms:
    """A second study, chosen by the first one's test score, opens the same sealed part."""
    clean = clean_study(work)
    if not faulty:
        return report_alarms(clean.record)
    again = study_of(work, reference(work, trained=True), name="clean", peak=1e-3)
    return report_alarms(again.record)


def graft_on_other_weights(work: Path, faulty: bool) -> Alarms:
    """A graft is attached to a backbone of the same shape and other weights."""
    graft = clean_study(work).record["best"]["graft"]
    backbone = reference(work, trained=not faulty)
    return refusal(lambda: GraftPredictor.load(graft, backbone=backbone))


def partial_weights(work: Path, faulty: bool) -> Alarms:
    """A weights file lacks the tensors of the last block."""
    whole = reference(work)
    state = load_file(whole.partition("@")[2])
    if faulty:
        state = {name: one for name, one in state.items() if not name.startswith("parts.3")}
    save_file(state, work / "part.safetensors")
    return refusal(lambda: load_backbone(f"{whole.partition('@')[0]}@{work / 'part.safetensors'}"))


def normalised_twice(work: Path, faulty: bool) -> Alarms:
    """The backbone normalises what was normalised already."""
    sound = reference(work, trained=True)
    backbone = sound.replace(":Net@", ":Twice@") if faulty else sound
    return run_alarms(work, backbone, UPPER, task_of()) + card_alarms(task_of(), backbone, work)


def dead_units(work: Path, faulty: bool) -> Alarms:
    """The backbone's last layer is dead for every input."""
    return card_alarms(task_of(), reference(work, "Dead" if faulty else "Net"), work)


def ends_in_softmax(work: Path, faulty: bool) -> Alarms:
    """The backbone gives class probabilities where features are expected."""
    return card_alarms(task_of(), reference(work, "Probabilities" if faulty else "Net"), work)


def labels_a_row_off(work: Path, faulty: bool) -> Alarms:
    """Every label belongs to the item before."""
    images, labels = digits()
    names = np.array([f"digit {label}" for label in np.roll(labels, int(faulty))[SOURCE:]])
    task = Task.read((list(images[SOURCE:]), names.tolist()), kind="image")
    return card_alarms(task, reference(work, trained=True), work)


def not_a_number(work: Path, faulty: bool) -> Alarms:
    """An item holds a missing number."""
    del work
    images, labels = digits()
    rows = [one.ravel()[:64].astype(np.float32) for one in images[SOURCE:]]
    rows[7][3] = np.nan if faulty else 0.0
    names = [f"digit {label}" for label in labels[SOURCE:]]
    return refusal(lambda: Task.read((rows, names), kind="array"))


def test_in_training(work: Path, faulty: bool) -> Alarms:
    """Forty test items are among those that training is chosen by."""
    images, labels = digits()
    names = [f"digit {label}" for label in labels]
    train = list(range(SOURCE, 1400)) + (list(range(1400, 1440)) if faulty else [])
    parts = {"train": train, "test": list(range(1400, len(names)))}
    data = {part: ([images[i] for i in rows], [names[i] for i in rows])
            for part, rows in parts.items()}  # fmt: skip
    return card_alarms(Task.read(data, kind="image"), None, work)


def accuracy_of_the_rare(work: Path, faulty: bool) -> Alarms:
    """A class of 1 % is judged by accuracy; the twin takes macro-F1."""
    images, labels = digits()
    eights, others = np.flatnonzero(labels == 8)[:8], np.flatnonzero(labels != 8)[:792]
    rows = [*eights, *others]
    names = ["eight"] * len(eights) + ["other"] * len(others)
    metric = "accuracy" if faulty else "macro_f1"
    task = Task.read(([images[i] for i in rows], names), kind="image", metric=metric)
    return card_alarms(task, reference(work, trained=True), work)


FAULTS: tuple[Callable[[Path, bool], Alarms], ...] = (
    dead_head,
    adapter_on_few_layers,
    zero_lora,
    other_parameters,
    frozen_moves,
    statistics_move,
    seeded_late,
    padding_unmasked,
    logits_as_probabilities,
    softmax_twice,
    rate_too_high,
    noise_without_seed,
    random_weights,
    other_order_of_classes,
    opened_before,
    graft_on_other_weights,
    partial_weights,
    normalised_twice,
    dead_units,
    ends_in_softmax,
    labels_a_row_off,
    not_a_number,
    test_in_training,
    accuracy_of_the_rare,
)


def drilled(fault: Callable[[Path, bool], Alarms], work: Path) -> dict[str, Any]:
    """Return a row of the table; the twin goes first, so that nothing of the fault is cached."""
    began = time.perf_counter()
    twin, found = fault(work, False), fault(work, True)
    return {
        "fault": fault.__name__.replace("_", "-"),
        "what": (fault.__doc__ or "").strip(),
        "caught_by": list(dict.fromkeys(room for room, _ in found)),
        "words": [words for _, words in found],
        "twin": [words for _, words in twin],
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    """Run the drill, print its table, write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", help="some faults, by name, with commas")
    parser.add_argument("--out", type=Path, help="JSON file")
    given = parser.parse_args()
    named = {one.__name__.replace("_", "-"): one for one in FAULTS}
    chosen = given.only.split(",") if given.only else list(named)
    if unknown := sorted(set(chosen) - set(named)):
        parser.error(f"unknown fault {unknown[0]!r}; known: {', '.join(named)}")
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    began, rows = time.perf_counter(), []
    with TemporaryDirectory(prefix="regraft-faults-") as folder:
        for name in chosen:
            row = drilled(named[name], Path(folder))
            rows.append(row)
            by = ", ".join(row["caught_by"]) or "NOT CAUGHT"
            twin = "TWIN: " + "; ".join(row["twin"]) if row["twin"] else "twin silent"
            print(f"{name:24} {by:12} {row['seconds']:6.1f} s  {twin}", flush=True)
            for words in row["words"][:1]:
                print(f"    {words}", flush=True)
    caught = sum(bool(row["caught_by"]) for row in rows)
    silent = sum(not row["twin"] for row in rows)
    seconds = time.perf_counter() - began
    print(f"{caught} of {len(rows)} caught, {silent} twins silent, {seconds:.0f} s")
    if given.out is not None:
        given.out.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", "utf-8")
    raise SystemExit(0 if silent == len(rows) else 1)


if __name__ == "__main__":
    main()
