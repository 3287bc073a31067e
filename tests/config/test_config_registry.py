"""The folder is the registry."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from regraft.config.loading import parse_yaml
from regraft.config.registry import FOLDERS, kind_spec, kind_spec_at, kinds, load
from regraft.config.spec import Spec, resolved
from regraft.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

ALL_KINDS = [(folder, kind) for folder in FOLDERS for kind in kinds(folder)]


def outcome(code: str, *, path: Path | None = None) -> dict[str, object]:
    """Return what a fresh interpreter prints as JSON, with `path` in front of its search path."""
    lead = (
        f"import json, sys; sys.path.insert(0, {str(path)!r})\n" if path else "import json, sys\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", lead + code], capture_output=True, text=True, check=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def installed(folder: Path, *, group: str, name: str, value: str) -> None:
    """Lay a package with one entry point and the module `extra_kinds` into a folder."""
    info = folder / f"{name.replace('-', '_')}_{value.count('.')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {info.name[:-14]}\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    (folder / "extra_kinds.py").write_text(
        "from typing import Literal\n"
        "from regraft.config.spec import Spec as Base\n"
        "class Spec(Base):\n"
        "    '''A rate from elsewhere.'''\n"
        "    kind: Literal['sawtooth'] = 'sawtooth'\n"
        "    teeth: int = 3\n"
    )


def test_a_kind_is_a_file_in_its_folder() -> None:
    assert {"lora", "bottleneck"} <= set(kinds("module"))
    assert {"constant", "cosine", "linear", "slanted_triangular"} <= set(kinds("rate"))
    assert kinds("rate") == tuple(sorted(kinds("rate")))


def test_listing_kinds_imports_none_of_them() -> None:
    found = outcome(
        "from regraft.config.registry import FOLDERS, kinds\n"
        "names = {f'{FOLDERS[f]}.{k}' for f in FOLDERS for k in kinds(f)}\n"
        "print(json.dumps({'n': len(names), 'loaded': sorted(names & set(sys.modules))}))"
    )
    assert found["loaded"] == []
    assert found["n"] == len(ALL_KINDS)


def test_loading_a_kind_does_not_load_its_neighbours() -> None:
    found = outcome(
        "from regraft.config.registry import kind_spec\n"
        "kind_spec('rate', 'cosine', where='rate')\n"
        "print(json.dumps({'loaded': [m for m in sys.modules if '.rates.' in m]}))"
    )
    assert found["loaded"] == ["regraft.protocols.rates.cosine"]


@pytest.mark.parametrize(("folder", "kind"), ALL_KINDS)
def test_every_kind_has_a_closed_spec_that_names_it(folder: str, kind: str) -> None:
    spec = load(folder, kind).Spec
    assert issubclass(spec, Spec)
    assert spec.model_fields["kind"].default == kind
    assert spec.__doc__
    made = kind_spec(folder, kind, where=folder)
    assert kind_spec(folder, resolved(made), where=folder) == made


def test_a_plain_name_stands_for_the_kind_with_its_defaults() -> None:
    assert kind_spec("rate", "cosine", where="rate") == kind_spec(
        "rate", {"kind": "cosine"}, where="rate"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("loar", r"modules\.0: unknown module 'loar'\. Did you mean 'lora'\?"),
        ({"kind": "zzzz"}, r"unknown module 'zzzz'\. Known: bottleneck, lora"),
        ({"rank": 8}, r"modules\.0: name a kind of module, for example \{kind: bottleneck\}"),
        ({"kind": 3}, r"name a kind of module"),
        ({"kind": "lora", "rnk": 8}, r"modules\.0: unknown key 'rnk'\. Did you mean 'rank'\?"),
        ({"kind": "lora", "rank": 0}, r"modules\.0: rank should be greater than or equal to 1"),
        ({"kind": "../heads/linear"}, r"unknown module '\.\./heads/linear'"),
    ],
)
def test_a_wrong_kind_or_setting_is_named_with_the_nearest(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind_spec("module", value, where="modules.0")  # type: ignore[arg-type]


def test_a_wrong_setting_is_placed_on_its_line() -> None:
    document = parse_yaml("kind: lora\nrank: 8\ndropot: 0\n", where="m.yaml")
    with pytest.raises(ConfigError, match=r"m\.yaml, line 3: .*Did you mean 'dropout'"):
        kind_spec_at("module", document.data, place=document.place)


def test_loading_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown rate 'cosin'\. Did you mean 'cosine'\?"):
        load("rate", "cosin")


def test_a_package_adds_a_kind_by_entry_point(tmp_path: Path) -> None:
    installed(tmp_path, group="regraft.rate", name="sawtooth", value="extra_kinds")
    found = outcome(
        "from regraft.config.registry import kind_spec, kinds\n"
        "listed = 'sawtooth' in kinds('rate'); imported = 'extra_kinds' in sys.modules\n"
        "spec = kind_spec('rate', {'kind': 'sawtooth', 'teeth': 5}, where='rate')\n"
        "print(json.dumps({'listed': listed, 'imported': imported, 'teeth': spec.teeth}))",
        path=tmp_path,
    )
    assert found == {"listed": True, "imported": False, "teeth": 5}


def message_of(code: str, path: Path) -> str:
    found = outcome(
        "from regraft.config.registry import kinds, load\n"
        "from regraft.errors import ConfigError\n"
        f"try:\n    {code}; said = ''\nexcept ConfigError as error:\n    said = str(error)\n"
        "print(json.dumps({'said': said}))",
        path=path,
    )
    return str(found["said"])


def test_a_package_may_not_take_the_name_of_a_kind(tmp_path: Path) -> None:
    installed(tmp_path, group="regraft.rate", name="cosine", value="extra_kinds")
    said = message_of("kinds('rate')", tmp_path)
    assert said.startswith("entry points regraft.rate: an installed package adds the rate 'cosine'")


def test_two_packages_may_not_add_the_same_kind(tmp_path: Path) -> None:
    installed(tmp_path, group="regraft.rate", name="sawtooth", value="extra_kinds")
    installed(tmp_path, group="regraft.rate", name="sawtooth", value="other.kinds")
    assert "'sawtooth', which there is already" in message_of("kinds('rate')", tmp_path)


def test_a_package_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    installed(tmp_path, group="regraft.rate", name="sawtooth", value="no_such_module")
    said = message_of("load('rate', 'sawtooth')", tmp_path)
    assert said.startswith("entry point no_such_module: the installed package behind the rate")
