"""YAML in, and what is said of YAML that is wrong."""

from __future__ import annotations

from contextlib import suppress
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from regraft.config.loading import parse_yaml, read_yaml, validate, validate_data
from regraft.config.protocol import DataSpec, FitSpec, LadderEntry, ProtocolSpec, TrainSpec
from regraft.config.spec import Duration, Spec, bytes_of, resolved, seconds_of
from regraft.config.study import StudySpec, TaskSpec
from regraft.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SPECS = (DataSpec, FitSpec, LadderEntry, ProtocolSpec, StudySpec, TaskSpec, TrainSpec)


class Inner(Spec):
    rank: int = Field(8, ge=1)
    on: Literal["auto", "attention"] = "auto"


class Outer(Spec):
    name: str
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    either: float | Literal["none"] = "none"
    switch: bool = False
    wait: Duration = 1.0


def value_of(text: str) -> Any:
    return parse_yaml(f"x: {text}", where="x.yaml").data["x"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("3.0e-4", 3e-4),
        ("1e5", 1e5),
        ("1E+5", 1e5),
        ("-.5", -0.5),
        ("1.", 1.0),
        (".inf", float("inf")),
        ("12", 12),
        ("010", 10),
        ("-3", -3),
        ("true", True),
        ("False", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("on", "on"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("2024-01-31", "2024-01-31"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("'3e-4'", "3e-4"),
        ("<<", "<<"),
    ],
)
def test_scalars_read_as_in_yaml_1_2(text: str, value: object) -> None:
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


@given(st.floats(allow_nan=False))
def test_every_float_that_python_prints_is_read_back(number: float) -> None:
    text = repr(number).replace("inf", ".inf")
    assert value_of(text) == number
    assert isinstance(value_of(text), float)


@given(st.integers(-(10**30), 10**30))
def test_every_integer_is_read_back(number: int) -> None:
    assert value_of(str(number)) == number


def test_keys_are_text_whatever_they_look_like() -> None:
    data = parse_yaml("on: 1\n2: 3\nno: {true: 1, ~: 2}\n", where="x.yaml").data
    assert data == {"on": 1, "2": 3, "no": {"true": 1, "~": 2}}


def test_a_document_knows_the_lines_of_its_keys() -> None:
    document = parse_yaml(
        "a: 1\nb:\n  - x: 1\n    y: 2\n  - 5\nc: {d: 1,\n  e: 2}\n", where="s.yaml"
    )
    assert document.line_of(("a",)) == 1
    assert document.line_of(("b", 0, "y")) == 4
    assert document.line_of(("b", 1)) == 5
    assert document.line_of(("c", "e")) == 7
    assert document.line_of(("b", 0, "absent", "deeper")) == 3
    assert document.line_of(("absent",)) is None
    assert document.place(("b", 0, "y")) == "s.yaml, line 4"
    assert document.place(()) == "s.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"s\.yaml, line 3: key 'a' stands twice\. Remove one\."),
        ("a: {b: 1,\n c: 2, b: 3}\n", r"line 2: key 'b' stands twice"),
        ("1: a\n'1': b\n", r"line 2: key '1' stands twice"),
        ("a: [1, 2\nb: 3\n", r"s\.yaml, line \d: not YAML: "),
        ("a: &x 1\nb: *x\n", r"line 2: not YAML: aliases \(\*name\) are not read"),
        ("a: !!python/object/apply:os.system [ls]\n", r"line 1: tag '.*os\.system' is not read"),
        ("a: !!timestamp 2024-01-31\n", r"line 1: tag '.*timestamp' is not read"),
        ("[a, b]: 1\n", r"line 1: a key must be text"),
        ("- 1\n- 2\n", r"s\.yaml: expected a mapping"),
        ("just text", r"s\.yaml: expected a mapping"),
        ("", r"s\.yaml: expected a mapping"),
        ("a: 1\n---\nb: 2\n", r"s\.yaml, line 2: not YAML"),
        ("a: \x00", r"s\.yaml: not YAML: unacceptable character"),
        ("a: " + "[" * 3000, r"s\.yaml: not a configuration: nested too deeply"),
        ("a: " + "9" * 5000, r"s\.yaml: not YAML: Exceeds the limit"),
    ],
)
def test_text_that_is_no_configuration_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, where="s.yaml")


def test_aliases_that_would_unfold_to_gigabytes_are_refused_at_once() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    with pytest.raises(ConfigError, match=r"line 2: .*aliases"):
        parse_yaml("\n".join(rows), where="bomb.yaml")


@given(st.text(max_size=60))
def test_any_text_is_a_document_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        assert isinstance(parse_yaml(text, where="any.yaml").data, dict)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: there is no such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="this is a folder"):
        read_yaml(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: Müller\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: byte 7 is not UTF-8"):
        read_yaml(latin)
    with pytest.raises(ConfigError, match=r"cannot be read \(Not a directory\)"):
        read_yaml(latin / "below.yaml")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: x\n")
    assert read_yaml(path).data == {"name": "x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\ninnr: {}\n", r"s\.yaml, line 2: unknown key 'innr'\. Did you mean 'inner'\?"),
        ("name: x\ninner:\n  rnk: 1\n", r"line 3: unknown key 'rnk'\. Did you mean 'rank'\?"),
        ("name: x\nmany: [{},\n {rnak: 1}]\n", r"line 3: unknown key 'rnak'\. Did you mean 'rank'"),
        (
            "name: x\nzzz: 1\n",
            r"unknown key 'zzz'\. Known: either, inner, many, name, switch, wait\.",
        ),
        ("nmae: x\n", r"line 1: unknown key 'nmae'\. Did you mean 'name'\?"),
        ("inner: {}\n", r"s\.yaml: 'name' is missing\. Add it\."),
        ("name: 3\n", r"line 1: name should be text \(it is 3\)\."),
        (
            "name: x\ninner: 3\n",
            r"line 2: inner should be a mapping of names to values \(it is 3\)",
        ),
        ("name: x\ninner: {rank: 0}\n", r"inner\.rank should be greater than or equal to 1"),
        ("name: x\ninner: {rank: 2.5}\n", r"inner\.rank should be a whole number \(it is 2\.5\)"),
        (
            "name: x\ninner: {rank: many}\n",
            r"inner\.rank should be a whole number \(it is 'many'\)",
        ),
        ("name: x\ninner: {rank: true}\n", r"inner\.rank: a number is expected, not true or false"),
        ("name: x\nmany: [{rank: x}]\n", r"many\.0\.rank should be a whole number"),
        ("name: x\nmany: {}\n", r"many should be a list \(it is \{\}\)"),
        ("name: x\ninner: {on: atention}\n", r"\(it is 'atention'\)\. Did you mean 'attention'\?"),
        (
            "name: x\ninner: {on: q}\n",
            r"inner\.on should be 'auto' or 'attention' \(it is 'q'\)\.$",
        ),
        ("name: x\neither: some\n", r"either should be a number or 'none' \(it is 'some'\)"),
        ("name: x\neither: .nan\n", r"either should be a finite number or 'none' \(it is nan\)"),
        ("name: x\nswitch: maybe\n", r"switch should be true or false \(it is 'maybe'\)"),
        (
            "name: x\nwait: soon\n",
            r"wait: not a duration; write 90s, 30m or 1h30m \(it is 'soon'\)",
        ),
    ],
)
def test_what_is_wrong_is_said_with_file_line_key_and_value(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(Outer, parse_yaml(text, where="s.yaml"))


def test_a_long_value_is_shown_cut() -> None:
    with pytest.raises(ConfigError) as caught:
        validate_data(Outer, {"name": ["x" * 500]}, where="study")
    assert len(str(caught.value)) < 160


def test_data_from_python_is_checked_the_same_way() -> None:
    assert validate_data(Outer, {"name": "x"}, where="study") == Outer(name="x")
    with pytest.raises(ConfigError, match=r"study: unknown key 'nam'\. Did you mean 'name'\?"):
        validate_data(Outer, {"name": "x", "nam": 1}, where="study")
    with pytest.raises(ConfigError, match=r"study: this should be a mapping"):
        validate_data(Outer, 3, where="study")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30m", 1800.0),
        ("90s", 90.0),
        ("1h30m", 5400.0),
        ("1H 30M", 5400.0),
        ("0.5h", 1800.0),
        ("1h2m3s", 3723.0),
        ("45", 45.0),
        (45, 45.0),
        (0.5, 0.5),
    ],
)
def test_durations_are_seconds(value: object, seconds: float) -> None:
    assert seconds_of(value) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1e3", "30 days", "-5", "1:30"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration; write 90s, 30m or 1h30m"):
        seconds_of(text)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_a_duration_is_the_sum_of_its_parts(hours: int, minutes: int, seconds: int) -> None:
    assert seconds_of(f"{hours}h{minutes}m{seconds}s") == 3600 * hours + 60 * minutes + seconds


def _required(spec: type[Spec]) -> dict[str, Any]:
    """Return the least data that a spec takes."""
    least = {
        LadderEntry: {"protocol": "lora", "role": "candidate"},
        ProtocolSpec: {"name": "x"},
        StudySpec: {"task": {"data": "x"}, "backbones": ["b"]},
        TaskSpec: {"data": "x"},
    }
    return least.get(spec, {})


def likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, other, one).ratio()


@given(st.data())
def test_an_unknown_key_always_names_the_nearest(data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from(SPECS))
    known = sorted(spec.model_fields)
    key = data.draw(st.sampled_from([name for name in known if len(name) >= 4]))
    place = data.draw(st.integers(0, len(key) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz_"))
    edits = [key[:place] + key[place + 1 :], key[:place] + letter + key[place:]]
    edits.append(key[:place] + letter + key[place + 1 :])
    typo = data.draw(st.sampled_from([edit for edit in edits if edit not in known]))
    with pytest.raises(ConfigError, match=f"unknown key '{typo}'. Did you mean '") as caught:
        validate_data(spec, {**_required(spec), typo: 1}, where="x.yaml")
    named = str(caught.value).rsplit("'", 2)[1]
    assert named in known
    assert likeness(typo, named) >= likeness(typo, key)


@given(st.text(min_size=1, max_size=12), st.sampled_from(SPECS))
def test_an_unknown_key_names_the_nearest_or_all(key: str, spec: type[Spec]) -> None:
    if key in spec.model_fields:
        return
    with pytest.raises(ConfigError, match=r"unknown key .*(Did you mean|Known: )"):
        validate_data(spec, {**_required(spec), key: 1}, where="x.yaml")


@pytest.mark.parametrize("spec", SPECS)
def test_specs_are_frozen_and_resolve_to_themselves(spec: type[Spec]) -> None:
    made = spec.model_validate(_required(spec))
    assert spec.model_validate(resolved(made)) == made
    with pytest.raises(ValueError, match="frozen"):
        setattr(made, next(iter(spec.model_fields)), 1)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 << 30), ("4 GiB", 4 << 30), ("512mb", 512 << 20), ("1.5k", 1536), ("2T", 2 << 40)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "4", "G", "0G", "-1G", "4 giga", "nanG"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size; write 800M, 4G"):
        bytes_of(text)
