"""Bad input ends in one sentence and exit code 2, and leaves nothing half-written."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import bad_inputs as bad
from bad_inputs import GLYPHS
from regraft.config.study import read_study
from regraft.events import Done
from regraft.ledger.grafts import Graft, write_graft
from regraft.ledger.ledger import Ledger
from regraft.study import Study
from small_backbones import save_vision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bad_inputs import Arguments
    from conftest import Regraft, Shown

Write = "Callable[[Path], Arguments]"


def said(shown: Shown) -> dict[str, Any]:
    """Check the form of a refusal; return what it says."""
    assert shown.code == 2, shown.err
    assert shown.err.startswith("regraft: ")
    assert shown.err.count("\n") == 1, shown.err
    assert shown.err.endswith((".\n", "?\n"))
    (line,) = shown.out.splitlines()
    told: dict[str, Any] = json.loads(line)
    assert set(told) == {"error"}
    assert set(told["error"]) == {"kind", "message", "where"}
    where = told["error"]["where"]
    whole = f"{where}: {told['error']['message']}" if where else told["error"]["message"]
    assert shown.err == f"regraft: {whole}\n"
    return {**told["error"], "whole": whole}


def check_nothing_left(home: Path) -> None:
    """Check that neither the ledger nor the folder of the command holds anything new."""
    assert os.listdir() == []  # noqa: PTH208
    if home.exists():
        ledger = Ledger.open(home)
        assert ledger.studies.all() == []
        ledger.close()
        assert not (home / "grafts").exists()
        assert list(home.rglob("*.part")) == []


def run_on(make: Callable[[Path], Path], *more: object) -> Callable[[Path], Arguments]:
    """Return what writes data and names them to `regraft run`, with the embedded backbone."""
    return lambda folder: ["run", make(folder / "data"), *GLYPHS, *more]


def run_table(make: Callable[[Path], Path], *more: object) -> Callable[[Path], Arguments]:
    return lambda folder: ["run", make(folder / "t.csv"), *GLYPHS, *more]


def digits(*more: object) -> Callable[[Path], Arguments]:
    return lambda _: ["run", "zoo:digits", *GLYPHS, *more]


def with_protocol(text: str) -> Callable[[Path], Arguments]:
    def write(folder: Path) -> Arguments:
        path = bad.protocol(folder / "mine.yaml", text)
        return ["run", "zoo:digits", *GLYPHS, "--protocol", path]

    return write


def study_of(*lines: str) -> Callable[[Path], Arguments]:
    return lambda folder: ["run", bad.study(folder / "study.yaml", *lines)]


@pytest.mark.parametrize(
    ("write", "kind", "sentence"),
    [
        pytest.param(
            lambda folder: ["run", folder / "gone", *GLYPHS],
            "DataError",
            r"gone: there is no such file or folder",
            id="missing-path",
        ),
        pytest.param(
            lambda folder: ["run", folder, *GLYPHS],
            "DataError",
            r"the folder is empty",
            id="empty-folder",
        ),
        pytest.param(
            run_on(lambda path: bad.photos(path, {"ants": 9})),
            "DataError",
            r"only one class \('ants'\)",
            id="one-class",
        ),
        pytest.param(
            run_on(lambda path: bad.photos(path, {"ants": 9, "bees": 1})),
            "DataError",
            r"class 'bees' has 1 item",
            id="class-of-one",
        ),
        pytest.param(
            run_on(lambda path: bad.spoilt_photos(path, lambda _: b"no image"), "--allow-bad"),
            "DataError",
            r"none of its 20 items can be used; the first is ants/0\.png",
            id="unreadable-images",
        ),
        pytest.param(
            run_on(lambda path: bad.spoilt_photos(path, lambda data: data[:60])),
            "DataError",
            r"the first is ants/0\.png: the image is damaged",
            id="truncated-images",
        ),
        pytest.param(
            run_on(lambda path: bad.spoilt_photos(path, lambda _: b"")),
            "DataError",
            r"the first is ants/0\.png: the file is empty",
            id="empty-images",
        ),
        pytest.param(
            run_on(lambda path: bad.spoilt_photos(path, lambda _: b"", n_bad=1)),
            "DataError",
            r"1 of 20 items cannot be used \(more than 1 %\).*--allow-bad",
            id="one-in-twenty",
        ),
        pytest.param(
            run_on(bad.poster),
            "DataError",
            r"ants/poster\.png: 900,?000,?000 pixels are too many",
            id="poster",
        ),
        pytest.param(
            run_table(lambda path: bad.table(path, "text,label", "café,a", encoding="latin-1")),
            "DataError",
            r"t\.csv: byte 14 is not UTF-8",
            id="not-utf8",
        ),
        pytest.param(
            run_table(lambda path: bad.table(path, "text,label", "fine,a", "one,two,b")),
            "DataError",
            r"t\.csv, line 3: 3 fields instead of 2",
            id="ragged",
        ),
        pytest.param(
            run_table(lambda path: bad.texts(path, lambda i: "" if i == 4 else "ab"[i % 2])),
            "DataError",
            r"t\.csv, line 6, column 'label': 1 of 40 labels is missing",
            id="missing-label",
        ),
        pytest.param(
            run_table(lambda path: bad.texts(path, lambda i: f"id-{i}")),
            "DataError",
            r"column 'label': every row has a label of its own",
            id="unique-labels",
        ),
        pytest.param(
            run_table(lambda path: bad.texts(path, lambda i: i // 2, n=4400)),
            "DataError",
            r"column 'label': 2200 different numbers: this is a quantity, not a class",
            id="numeric-labels",
        ),
        pytest.param(
            run_on(lambda path: bad.parts(path, "dgo")),
            "DataError",
            r"the test part has the class 'dgo'.*Did you mean 'dog'",
            id="test-labels-differ",
        ),
        pytest.param(
            run_table(bad.sound_texts, "--label", "lable"),
            "DataError",
            r"t\.csv: there is no column 'lable'.*Did you mean 'label'",
            id="unknown-column",
        ),
        pytest.param(
            run_table(bad.sound_texts),
            "BackboneError",
            r"zoo:glyphs: it takes 'image' inputs, the data are of kind 'text'",
            id="texts-for-an-image-backbone",
        ),
        pytest.param(
            lambda folder: ["run", bad.sound_texts(folder / "t.csv")],
            "ConfigError",
            r"--backbone: name a pretrained model",
            id="no-backbone",
        ),
        pytest.param(
            lambda folder: ["run", "zoo:digits", "--backbone", folder / "gone"],
            "BackboneError",
            r"gone: there is no such folder",
            id="missing-backbone",
        ),
        pytest.param(
            lambda folder: ["run", "zoo:digits", "--backbone", bad.python_backbone(folder)],
            "BackboneError",
            r"theirs\.py has no function 'net'",
            id="python-without-its-factory",
        ),
        pytest.param(
            with_protocol("train: {from_depth: 77}"),
            "ConfigError",
            r"protocol mine: train\.from_depth: depth 77 is beyond the backbone's \d+ blocks",
            id="depth-beyond-the-backbone",
        ),
        pytest.param(
            with_protocol("modules: [{kind: loar}]"),
            "ConfigError",
            r"mine\.yaml, line 2: .*'loar'. Did you mean 'lora'",
            id="unknown-kind",
        ),
        pytest.param(
            digits("--protocol", "lorra"),
            "ConfigError",
            r"unknown protocol 'lorra'. Did you mean 'lora'",
            id="unknown-protocol",
        ),
        pytest.param(
            digits("--protocol", "gone.yaml"),
            "ConfigError",
            r"there is no protocol file '/.*/gone\.yaml'",
            id="missing-protocol-file",
        ),
        pytest.param(
            digits("--metric", "acuracy"),
            "ConfigError",
            r"unknown metric 'acuracy'. Did you mean 'accuracy'",
            id="unknown-metric",
        ),
        pytest.param(
            digits("--target", "accuracy>9x"), "ConfigError", r"target: ", id="unknown-target"
        ),
        pytest.param(
            digits("--target", "acuracy>=0.9"),
            "ConfigError",
            r"acuracy'. Did you mean 'accuracy'",
            id="target-of-an-unknown-metric",
        ),
        pytest.param(
            digits("--budget", "soon"),
            "ConfigError",
            r"budget: not a duration; write 90s",
            id="budget-that-is-none",
        ),
        pytest.param(
            digits("--budget", "0"),
            "ConfigError",
            r"budget should be greater than 0",
            id="no-budget",
        ),
        pytest.param(
            digits("--memory", "much"),
            "ConfigError",
            r"--memory: 'much' is not a size; write 800M",
            id="memory-that-is-none",
        ),
        pytest.param(
            digits("--cache", "20"),
            "ConfigError",
            r"--cache: '20' is not a size; write 800M",
            id="cache-that-is-none",
        ),
        pytest.param(
            digits("--label-budgets", "1,few"),
            "ConfigError",
            r"--label-budgets: '1,few' is not a list of numbers",
            id="label-budgets-that-are-none",
        ),
        pytest.param(
            digits("--report", "card.pdf"),
            "ConfigError",
            r"card\.pdf: a report cannot be written as '\.pdf'",
            id="report-of-unknown-form",
        ),
        pytest.param(
            study_of("budgte: 3m"),
            "ConfigError",
            r"study\.yaml, line 3: .*'budgte'.*Did you mean 'budget'",
            id="unknown-key",
        ),
        pytest.param(
            study_of("seeds: [1"), "ConfigError", r"study\.yaml, line \d+: not YAML", id="no-yaml"
        ),
        pytest.param(
            lambda folder: ["run", folder / "gone.yaml"],
            "ConfigError",
            r"gone\.yaml: there is no such file",
            id="missing-study",
        ),
        pytest.param(
            lambda folder: ["inspect", folder / "gone"],
            "DataError",
            r"there is no such file",
            id="inspect-nothing",
        ),
        pytest.param(
            lambda folder: ["plan", folder / "gone", *GLYPHS],
            "DataError",
            r"there is no such file",
            id="plan-nothing",
        ),
        pytest.param(
            lambda _: ["runs", "nosuch"], "ConfigError", r"there is no such study", id="runs"
        ),
        pytest.param(
            lambda _: ["verify", "nosuch"], "ConfigError", r"there is no such run", id="verify"
        ),
        pytest.param(
            lambda _: ["compare", "nosuch", "other"],
            "ConfigError",
            r"there is no such run",
            id="compare",
        ),
        pytest.param(
            lambda _: ["rnu", "photos"],
            "UsageError",
            r"No such command 'rnu'",
            id="unknown-command",
        ),
        pytest.param(
            digits("--bakbone", "x"),
            "UsageError",
            r"No such option: --bakbone.*--backbone",
            id="unknown-option",
        ),
        pytest.param(
            digits("--seeds", "many"),
            "UsageError",
            r"--seeds.*integer",
            id="option-of-another-kind",
        ),
        pytest.param(lambda _: ["run"], "UsageError", r"Missing argument 'data'", id="no-argument"),
    ],
)
def test_bad_input_ends_in_one_sentence(
    write: Callable[[Path], Arguments], kind: str, sentence: str, regraft: Regraft, tmp_path: Path
) -> None:
    folder, home = tmp_path / "given", tmp_path / "home"
    folder.mkdir()
    arguments = write(folder)
    if arguments[0] != "rnu":
        arguments += ["--home", home]
    told = said(regraft(*arguments, "--json"))
    assert told["kind"] == kind
    assert_matches(sentence, told["whole"])
    check_nothing_left(home)


def assert_matches(sentence: str, whole: str) -> None:
    assert re.search(sentence, whole), whole


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_vision(tmp_path_factory.mktemp("backbones") / "vit", "vit"))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (bad.no_weights, r"/backbone: .*a configuration but no weights"),
        (bad.misfit, r"/backbone: .*has shape \(24.*needs \(40"),
        (bad.pickled, r"/backbone.*hold more than plain tensors"),
    ],
)
def test_a_spoilt_backbone(
    spoil: Callable[[Path], object], sentence: str, vit: str, regraft: Regraft, tmp_path: Path
) -> None:
    arguments = bad.spoilt_backbone(tmp_path, vit, spoil)
    told = said(regraft(*arguments, "--home", tmp_path / "home", "--json"))
    assert told["kind"] == "BackboneError"
    assert_matches(sentence, told["whole"])
    assert list(tmp_path.rglob("ran")) == []
    check_nothing_left(tmp_path / "home")


def test_without_json_there_is_only_the_sentence(regraft: Regraft, tmp_path: Path) -> None:
    shown = regraft("run", tmp_path / "gone", *GLYPHS)
    assert (shown.code, shown.out) == (2, "")
    assert_matches(
        r"^regraft: /.*gone: there is no such file or folder\. Check the path\.\n$", shown.err
    )


def test_bad_items_that_are_allowed_are_counted(regraft: Regraft, tmp_path: Path) -> None:
    data = bad.spoilt_photos(tmp_path / "data", lambda _: b"", n_bad=1)
    assert said(regraft("inspect", data, "--json"))["where"] == str(data)
    shown = regraft("inspect", data, "--allow-bad", "--json")
    assert shown.code == 0, shown.err
    assert "ants/0.png" in shown.out
    assert regraft("inspect", data, "--allow-bad").out.count("1 unreadable") == 1


# grafts


def write_small_graft(folder: Path, **changes: Any) -> Path:
    """Write a graft that predicts the majority class."""
    values: dict[str, Any] = {
        "backbone": "zoo:glyphs",
        "backbone_digest": "0" * 64,
        "kind": "image",
        "classes": ("ants", "bees"),
        "preprocess": {},
        "protocol": {"predictor": {"kind": "majority"}, "modules": []},
        "state": {"predictor.log_frequency": torch.zeros(2)},
    }
    return write_graft(folder, Graft(**{**values, **changes}))


def flip_last_byte(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def nothing(graft: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "changes", "more", "sentence"),
    [
        (nothing, {}, [], r"graft: it was made on zoo:glyphs \(digest 000000000000…\)"),
        (
            lambda graft: flip_last_byte(graft / "head.safetensors"),
            {},
            [],
            r"graft/head\.safetensors: .*(changed|digest)",
        ),
        (
            lambda graft: (graft / "head.safetensors").unlink(),
            {},
            [],
            r"graft/head\.safetensors: .*missing",
        ),
        (lambda graft: (graft / "graft.json").unlink(), {}, [], r"there is no graft"),
        (
            nothing,
            {"backbone": "zoo:nothing"},
            [],
            r"zoo:nothing: unknown embedded backbone.*Did you mean|Known: glyphs",
        ),
        (nothing, {}, ["--backbone", "zoo:nothing"], r"unknown embedded backbone"),
    ],
    ids=["other-weights", "tampered", "incomplete", "no-graft", "lost-backbone", "no-backbone"],
)
def test_a_graft_that_cannot_be_attached(
    spoil: Callable[[Path], object],
    changes: dict[str, Any],
    more: list[str],
    sentence: str,
    regraft: Regraft,
    tmp_path: Path,
) -> None:
    graft = write_small_graft(tmp_path / "graft", **changes)
    spoil(graft)
    data = bad.photos(tmp_path / "data", {"new": 2})
    told = said(regraft("predict", graft, data, *more, "-o", "out.csv", "--json"))
    assert_matches(sentence, told["whole"])
    assert os.listdir() == []  # noqa: PTH208


def test_a_graft_that_names_python_runs_nothing(regraft: Regraft, tmp_path: Path) -> None:
    graft = write_small_graft(tmp_path / "graft", backbone=bad.python_backbone(tmp_path))
    data = bad.photos(tmp_path / "data", {"new": 2})
    told = said(regraft("predict", graft, data, "--json"))
    assert told["kind"] == "GraftError"
    assert_matches(r"its backbone is Python code \(python:.*\), which is run only", told["whole"])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("spelling", ["python:", " Python:"])
def test_a_ledger_from_elsewhere_that_names_python_runs_nothing(
    spelling: str, regraft: Regraft, tmp_path: Path
) -> None:
    reference = bad.python_backbone(tmp_path).replace("python:", spelling)
    ledger = Ledger.open(tmp_path / "home")
    study = {"task": {"data": "zoo:digits"}, "backbones": [reference]}
    ledger.studies.create("study", name="theirs", configuration=study)
    configuration = {"backbone": reference, "labels": 9, "protocol": {}, "seed": 0}
    ledger.runs.add(
        "study", "run", protocol="lora", role="candidate", reason="", configuration=configuration
    )
    arrays = {"logits": torch.zeros(2, 2).numpy()}
    ledger.runs.save_result(Done("run", {"stages": []}, {}, arrays))
    ledger.close()
    told = said(regraft("verify", "run", "--home", tmp_path / "home", "--json"))
    assert_matches(
        r"run run: its backbone is Python code .* give it with --backbone", told["whole"]
    )
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("gone/out.csv", r"out\.csv: cannot be written \(No such file"), (".", r"cannot be written")],
)
def test_predictions_that_cannot_be_written(
    name: str, sentence: str, regraft: Regraft, tmp_path: Path
) -> None:
    from regraft.backbones.loading import load_backbone

    digest = load_backbone("zoo:glyphs").digest
    protocol = {"predictor": {"kind": "majority"}, "modules": []}
    graft = write_small_graft(tmp_path / "graft", backbone_digest=digest, protocol=protocol)
    data = bad.photos(tmp_path / "data", {"new": 2})
    shown = regraft("predict", graft, data, "-o", name)
    assert shown.code == 2
    assert_matches(sentence, shown.err)
    assert os.listdir() == []  # noqa: PTH208


# ledgers


def newer(home: Path) -> None:
    Ledger.open(home).close()
    with closing(sqlite3.connect(home / "ledger.db")) as database, database:
        database.execute("UPDATE schema_version SET version = 99")


def corrupt(home: Path) -> None:
    home.mkdir()
    (home / "ledger.db").write_bytes(b"no database at all\n" * 300)


def a_file(home: Path) -> None:
    home.write_text("in the way", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (newer, r"ledger\.db: the ledger has schema version 99.*Update regraft"),
        (corrupt, r"ledger\.db: the ledger is damaged"),
        (a_file, r"home: the folder cannot be made"),
    ],
)
@pytest.mark.parametrize("command", [["studies"], ["run", "zoo:digits", *GLYPHS], ["clean"]])
def test_a_ledger_that_cannot_be_used(
    spoil: Callable[[Path], None],
    sentence: str,
    command: Arguments,
    regraft: Regraft,
    tmp_path: Path,
) -> None:
    spoil(tmp_path / "home")
    told = said(regraft(*command, "--home", tmp_path / "home", "--json"))
    assert told["kind"] == "LedgerError"
    assert_matches(sentence, told["whole"])


@contextmanager
def as_nobody() -> Iterator[None]:
    """Act as a user who may write nowhere, where this process may become one."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_a_ledger_that_is_read_only(regraft: Regraft, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="regraft-read-only-") as name:
        home = Path(name)  # pytest's own folders are closed to other users
        ledger = Ledger.open(home)
        ledger.studies.create("study", name="bees", configuration={})
        ledger.close()
        monkeypatch.chdir(home)
        command = ("run", "zoo:digits", *GLYPHS, "--home", home, "--json")
        regraft("run", "zoo:digits", *GLYPHS, "--home", home / "gone", "--metric", "x")  # imports
        for path in (home / "ledger.db", home):
            path.chmod(0o555)
        before = (home / "ledger.db").read_bytes()
        with as_nobody():
            told = said(regraft(*command))
        home.chmod(0o755)
        assert (home / "ledger.db").read_bytes() == before
    assert_matches(r"ledger\.db: the ledger cannot be written. Make its folder", told["whole"])


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: the write fails, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        (20_000, r"ledger\.db: .*the disk is full or fails. Free space there"),
        (400_000, r"cache: the cache cannot be written \(File too large\). Free space there"),
    ],
)
def test_a_full_disk(size: int, sentence: str, regraft: Regraft, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with files_of_at_most(size):
        told = said(regraft("run", "zoo:digits", *GLYPHS, "--home", home, "--json"))
    assert told["kind"] == "LedgerError"
    assert_matches(sentence, told["whole"])
    assert os.listdir() == []  # noqa: PTH208
    assert not (home / "grafts").exists()
    assert list(home.rglob("*.part")) == []


# studies


def test_a_budget_that_does_not_hold_the_controls(regraft: Regraft, tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = ("run", "zoo:digits", *GLYPHS, "--budget", "0.05s", "--home", home, "--json")
    told = said(regraft(*command))
    assert told["kind"] == "BudgetError"
    assert_matches(r"^budget: .* controls must always run\. Raise the budget", told["whole"])
    ledger = Ledger.open(home)
    (study,) = ledger.studies.all()
    assert study.verdict is None
    assert [one.status for one in ledger.runs.of(study.id)] == []
    ledger.close()
    assert os.listdir() == []  # noqa: PTH208


def test_a_second_process_on_the_same_study(regraft: Regraft, tmp_path: Path) -> None:
    path, home = bad.study(tmp_path / "study.yaml", "budget: 1m"), tmp_path / "home"
    study = Study.from_spec(read_study(path), home=home)
    with study.ledger.lock(study.id):
        told = said(regraft("run", path, "--home", home, "--json"))
    assert told["kind"] == "LockedError"
    process = rf"another process \(process {os.getpid()}\) is running this study"
    assert_matches(rf"^study {study.id}: {process}\. Wait for it, or stop it\.$", told["whole"])
    assert study.ledger.runs.of(study.id) == []
    study.ledger.close()
