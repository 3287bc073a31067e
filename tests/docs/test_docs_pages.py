"""Every block of code in the documents is run, checked, or at least parsed."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from regraft.cli import app
from regraft.config.loading import parse_yaml, validate
from regraft.config.protocol import ProtocolSpec
from regraft.config.study import StudySpec
from regraft.study import Study
from short_scratch import with_few_epochs_from_scratch

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KNOWN = {"python", "console", "yaml"}


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def named(page: Path) -> str:
    return page.name


with_python = [page for page in PAGES if blocks(page, "python") and page.name != "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", with_python, ids=named)
def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    names: dict[str, Any] = {"__name__": "page"}
    for number, text in enumerate(blocks(page, "python")):
        exec(compile(text, f"{page.name}, block {number}", "exec"), names)
        if isinstance(names.get("study"), Study):
            with_few_epochs_from_scratch(names["study"])
    capsys.readouterr()


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "yaml")], ids=named)
def test_the_yaml_of_a_page_is_a_study_or_a_protocol(page: Path) -> None:
    for text in blocks(page, "yaml"):
        document = parse_yaml(text, where=page.name)
        model = StudySpec if "task" in document.data else ProtocolSpec
        assert validate(model, document)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "console")], ids=named)
def test_the_commands_of_a_page_exist_with_their_options(page: Path) -> None:
    group: Any = get_command(app)
    for line in "\n".join(blocks(page, "console")).splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] == "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
            continue
        assert words[0] == "regraft", line
        command = group.commands[words[1]]
        with command.make_context(words[1], words[2:], resilient_parsing=False):
            pass


def test_blocks_are_of_a_kind_that_is_checked() -> None:
    found = {kind for page in PAGES for kind, _ in BLOCK.findall(page.read_text("utf-8"))}
    assert found <= KNOWN


def test_the_page_of_commands_is_that_of_the_program() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "generate_cli.py"))["page"]()
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == page, "run python docs/generate_cli.py"


def test_links_lead_to_files() -> None:
    missing = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []


USE = """
import sys
from pathlib import Path
import regraft
from regraft.config.protocol import load_protocol, templates
from regraft.estimator import TransferClassifier
from regraft.tasks.task import Task

assert str(Path(regraft.__file__)).startswith(sys.argv[1]), regraft.__file__
assert "lora-narrow" in templates()
assert load_protocol("lora-narrow").modules[0]["rank"] == 2
task = Task.read("zoo:digits")
images, labels = [task.development.read(i) for i in range(60)], task.development.labels[:60] > 4
for protocol in ("lora-narrow", "in-steps.yaml"):
    fitted = TransferClassifier("zoo:glyphs", protocol, epochs=1).fit(images, labels)
    assert fitted.graft_.protocol["modules"][0]["rank"] == 2
assert fitted.graft_.protocol["rate"]["kind"] == "step"
"""


def test_contributing_adds_a_protocol_and_a_method_in_one_file_each(tmp_path: Path) -> None:
    page = ROOT / "CONTRIBUTING.md"
    text = page.read_text("utf-8")
    (places,) = {tuple(re.findall(r"`(src/regraft/protocols/\w+/[\w-]+\.\w+)`", text))}
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    protocol, using = blocks(page, "yaml")
    contents = {".yaml": protocol, ".py": blocks(page, "python")[0]}
    for place in places:
        assert not (ROOT / place).exists()
        (tmp_path / place).write_text(contents[Path(place).suffix], encoding="utf-8")
    (tmp_path / "in-steps.yaml").write_text(using, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", USE, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
