"""The style of the house, held by a test: layers, sizes, words, and what an import costs."""

from __future__ import annotations

import ast
import doctest
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from regraft.config.registry import FOLDERS, kinds

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "regraft"
DOCS = ROOT / "docs"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
MOST_PUBLIC_METHODS = 12

HEAVY = (
    "datasets",
    "pandas",
    "peft",
    "plotly",
    "pyarrow",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "torch",
    "transformers",
)
LIGHT = (
    "regraft",
    "regraft.errors",
    "regraft.events",
    "regraft.hashing",
    "regraft.seeds",
    *(f"regraft.config.{path.stem}" for path in sorted((PACKAGE / "config").glob("[a-z]*.py"))),
)
IMPORT_NAMES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}
COMES_WITH = {"pydantic_core": "pydantic"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Named = Function | ast.ClassDef

has_cli = pytest.mark.skipif(
    find_spec("regraft.cli") is None, reason="there is no command line yet"
)
has_docs = pytest.mark.skipif(not DOCS.is_dir(), reason="there are no docs yet")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def nodes_of(path: Path, kind: Any) -> list[Any]:
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, kind)]


def project_settings() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages_in(requirements: Iterable[str]) -> set[str]:
    """Return the names of packages, in the one spelling that pip compares."""
    names = [re.split(r"[<>=!~;\[ ]", one)[0] for one in requirements]
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def loaded_by(code: str) -> set[str]:
    """Return which heavy packages a fresh interpreter has loaded after running the code."""
    ending = f"import sys, json; print(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{ending}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_a_room_imports_only_rooms_below_it() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-logo", "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_are_short() -> None:
    lengths = {name_of(path): path.read_bytes().count(b"\n") for path in SOURCES}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES_OF_A_FILE} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{name_of(path)}: {one.name}": (one.end_lineno or 0) - one.lineno + 1
        for path in SOURCES
        for one in nodes_of(path, Function)
    }
    assert {name: n for name, n in lengths.items() if n > MOST_LINES_OF_A_FUNCTION} == {}


def test_classes_have_few_public_methods() -> None:
    counts = {
        f"{name_of(path)}: {one.name}": sum(map(is_public_method, one.body))
        for path in SOURCES
        for one in nodes_of(path, ast.ClassDef)
    }
    assert {name: n for name, n in counts.items() if n > MOST_PUBLIC_METHODS} == {}


def is_public_method(node: ast.stmt) -> bool:
    """Return whether a statement of a class is a public method; properties are not."""
    if not isinstance(node, Function) or node.name.startswith("_"):
        return False
    return not any("property" in ast.unparse(one) for one in node.decorator_list)


def undocumented(owner: ast.Module | ast.ClassDef, prefix: str) -> list[str]:
    """Return the public names of a module or class that say nothing of themselves, itself too."""
    bare = [] if ast.get_docstring(owner) else [prefix]
    for node in owner.body:
        if not isinstance(node, Named) or node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            bare += undocumented(node, f"{prefix}: {node.name}")
        elif not ast.get_docstring(node):
            bare.append(f"{prefix}: {node.name}")
    return bare


def test_public_names_are_documented() -> None:
    assert [one for path in SOURCES for one in undocumented(tree_of(path), name_of(path))] == []


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


@pytest.mark.parametrize(
    "module", [module_of(path) for path in SOURCES if ">>>" in path.read_text(encoding="utf-8")]
)
def test_examples_in_docstrings_hold(module: str) -> None:
    assert doctest.testmod(import_module(module)).failed == 0


def test_nothing_is_printed() -> None:
    calls = [(path, node.func) for path in SOURCES for node in nodes_of(path, ast.Call)]
    prints = [(path, one) for path, one in calls if isinstance(one, ast.Name) and one.id == "print"]
    assert [f"{name_of(path)}:{one.lineno}" for path, one in prints] == []


def test_package_folders_hold_a_docstring_and_nothing_else() -> None:
    lazy = (PACKAGE, PACKAGE / "measure")  # whose names are reached through the room itself
    inner = [p for p in SOURCES if p.name == "__init__.py" and p.parent not in lazy]
    assert [name_of(path) for path in inner if len(tree_of(path).body) != 1] == []


def test_files_are_named_by_a_noun() -> None:
    nameless = {"util", "utils", "common", "helper", "helpers", "misc"}
    assert [name_of(path) for path in [*SOURCES, *TESTS] if path.stem in nameless] == []


def test_every_package_folder_has_its_docstring() -> None:
    folders = {path.parent for path in SOURCES}
    assert [name_of(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_public_names_have_a_home_and_are_sorted() -> None:
    package = import_module("regraft")
    assert package.__all__ == sorted(package.__all__)
    assert [name for name in package.__all__ if getattr(package, name).__name__ != name] == []
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'Tsak'"):
        _ = package.Tsak


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_kind_folder_exists_and_holds_kinds(folder: str) -> None:
    assert find_spec(FOLDERS[folder]) is not None
    assert kinds(folder)


def third_party_imports() -> set[str]:
    """Return the top-level names imported in the package that are neither ours nor Python's."""
    plain = [
        alias.name for path in SOURCES for n in nodes_of(path, ast.Import) for alias in n.names
    ]
    taken = [n.module or "" for path in SOURCES for n in nodes_of(path, ast.ImportFrom)]
    names = {name.partition(".")[0] for name in (*plain, *taken)}
    return names - set(sys.stdlib_module_names) - {"regraft", ""}


def declared() -> set[str]:
    """Return the packages that the project says it needs to run."""
    project = project_settings()["project"]
    extras = project["optional-dependencies"].values()
    return packages_in([*project["dependencies"], *chain.from_iterable(extras)])


def test_what_is_imported_is_declared() -> None:
    importable = {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in declared()}
    assert {COMES_WITH.get(name, name) for name in third_party_imports()} - importable == set()


def test_what_is_declared_is_pinned_once() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[0-9][0-9a-z.]*", pin)] == []
    assert len(packages_in(pins)) == len(pins)
    tools = packages_in(project_settings()["dependency-groups"]["dev"])
    assert (declared() | tools) - packages_in(pins) == set()


def test_test_files_have_unique_names() -> None:
    names = Counter(path.name for path in TESTS if path.name != "conftest.py")
    assert {name for name, n in names.items() if n > 1} == set()


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    assert loaded_by(f"import {module}") == set()


def test_reading_a_study_loads_nothing_heavy(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("task: {data: x}\nbackbones: [zoo:glyphs]\nprotocols: [ladder, lora]\n")
    code = (
        "from pathlib import Path\n"
        "from regraft.config.study import read_study\n"
        "from regraft.config.protocol import load_ladder, load_protocol, templates\n"
        f"read_study(Path({str(path)!r})); load_ladder('default')\n"
        "[load_protocol(name) for name in templates()]"
    )
    assert loaded_by(code) == set()


COMMANDS = """
import contextlib, io
from typer.main import get_command
from regraft.cli import app
group = get_command(app)
for arguments in ([], *([name] for name in group.commands)):
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        group([*arguments, "--help"], standalone_mode=False)
    assert "Usage" in shown.getvalue(), arguments
"""


@has_cli
def test_help_loads_nothing_heavy() -> None:
    assert loaded_by(COMMANDS) == set()


@has_cli
def test_every_command_has_help_with_an_example() -> None:
    from typer.main import get_command

    from regraft.cli import app

    group = get_command(app)
    helps = {name: command.help or "" for name, command in group.commands.items()}
    assert helps
    assert [name for name, text in helps.items() if f"Example: regraft {name}" not in text] == []


@has_cli
def test_every_argument_and_option_has_help() -> None:
    from typer.main import get_command

    from regraft.cli import app

    bare = [
        f"{name} {parameter.name}"
        for name, command in get_command(app).commands.items()
        for parameter in command.params
        if not parameter.help
    ]
    assert bare == []


def docs_text() -> str:
    pages = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


@has_docs
@has_cli
def test_every_command_is_in_the_docs() -> None:
    from typer.main import get_command

    from regraft.cli import app

    text = docs_text()
    assert [name for name in get_command(app).commands if f"regraft {name}" not in text] == []


@has_docs
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_kind_is_in_the_docs(folder: str) -> None:
    text = docs_text()
    assert [kind for kind in kinds(folder) if f"`{kind}`" not in text] == []
