"""Study files: their paths, their defaults, their schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.config.loading import parse_yaml, validate
from regraft.config.registry import FOLDERS, kinds
from regraft.config.spec import resolved
from regraft.config.study import StudySpec, protocol_schema, read_study, study_schema
from regraft.errors import ConfigError
from regraft.hashing import canonical_json

if TYPE_CHECKING:
    from pathlib import Path

words = st.text("abcdefgh0123 _-éß", min_size=1, max_size=12)
shares = st.floats(0.01, 0.99)
tasks = st.fixed_dictionaries(
    {"data": words},
    optional={
        "kind": st.sampled_from(["image", "text", "array", None]),
        "label": st.none() | words,
        "splits": st.sampled_from(["auto", "given", "stratified", "grouped", "time"]),
        "validation": shares,
        "target": st.none() | words | st.floats(0.0, 1.0),
        "class_weights": st.none() | st.just("balanced") | st.dictionaries(words, shares),
        "costs": st.none() | st.dictionaries(words, st.dictionaries(words, shares)),
        "allow_bad": st.booleans(),
    },
)
studies = st.fixed_dictionaries(
    {"task": tasks, "backbones": st.lists(words, min_size=1, max_size=3, unique=True)},
    optional={
        "budget": st.floats(1e-3, 1e6) | st.sampled_from(["30m", "1h30m", "90s"]),
        "protocols": st.lists(words, min_size=1, max_size=3),
        "seed": st.integers(0, 2**63 - 1),
        "label_budgets": st.sets(st.integers(1, 1000)).map(sorted),
        "precision": st.sampled_from(["auto", "fp32", "bf16"]),
        "name": words,
    },
)


@given(studies)
def test_yaml_to_spec_to_resolved_json_to_spec_is_the_identity(data: dict[str, Any]) -> None:
    spec = validate(StudySpec, parse_yaml(json.dumps(data, ensure_ascii=False), where="s.yaml"))
    plain = json.loads(canonical_json(resolved(spec)))
    assert StudySpec.model_validate(plain) == spec
    assert resolved(StudySpec.model_validate(plain)) == plain


def write(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_small_study_gets_its_defaults(tmp_path: Path) -> None:
    spec = read_study(write(tmp_path, "task: {data: photos}\nbackbones: [zoo:glyphs]\n"))
    assert spec.budget == 1800.0
    assert spec.protocols == ["ladder"]
    assert (spec.seed, spec.seeds, spec.precision) == (0, 3, "auto")
    assert spec.task.metric == "macro_f1"
    assert spec.task.splits == "auto"


def test_paths_are_relative_to_the_study_file(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    path = write(
        tmp_path,
        "task: {data: photos/}\nprotocols: [ladder, lora, mine.yaml]\n"
        "backbones: [local, ./other, facebook/dinov2-small, facebook/dinov2-small@main,\n"
        "  zoo:glyphs, 'python:nets/a.py:build@w.safetensors',\n"
        "  'python:package.nets:build@w/w.safetensors']\n",
    )
    spec = read_study(path)
    assert spec.task.data == str(tmp_path / "photos")
    assert spec.protocols == ["ladder", "lora", str(tmp_path / "mine.yaml")]
    assert spec.backbones == [
        str(tmp_path / "local"),
        str(tmp_path / "other"),
        "facebook/dinov2-small",
        "facebook/dinov2-small@main",
        "zoo:glyphs",
        f"python:{tmp_path}/nets/a.py:build@{tmp_path}/w.safetensors",
        f"python:package.nets:build@{tmp_path}/w/w.safetensors",
    ]


def test_an_absolute_path_stays(tmp_path: Path) -> None:
    path = write(tmp_path, "task: {data: /data/photos}\nbackbones: [/models/x]\n")
    spec = read_study(path)
    assert (spec.task.data, spec.backbones) == ("/data/photos", ["/models/x"])


HEAD = "task: {data: x}\nbackbones: [zoo:glyphs]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task:\n  data: x\n  metrc: f1\n", r"line 3: unknown key 'metrc'\. Did you mean 'metric'"),
        ("task: {data: x}\nbackbone: [a]\n", r"line 2: unknown key 'backbone'\. .*'backbones'"),
        ("task: {data: x}\n", r"study\.yaml: 'backbones' is missing"),
        ("task: {}\nbackbones: [a]\n", r"line 1: 'task\.data' is missing\. Add it\."),
        ("task: {data: x}\nbackbones: []\n", r"line 2: backbones needs at least 1 of them"),
        ("task: {data: x}\nbackbones: [a, a]\n", r"a backbone is named twice"),
        ("task: {data: ''}\nbackbones: [a]\n", r"task\.data: string should have at least 1"),
        ("task: {data: x, test: 1}\nbackbones: [a]\n", r"task\.test should be less than 1"),
        (
            "task: {data: x, splits: straified}\nbackbones: [a]\n",
            r"task\.splits should be .* \(it is 'straified'\)\. Did you mean 'stratified'\?",
        ),
        (
            "task:\n  data: x\n  class_weights: {1: 2, 7: heavy}\nbackbones: [a]\n",
            r"line 3: task\.class_weights\.7 should be a number \(it is 'heavy'\)",
        ),
        (HEAD + "budget: 0\n", r"line 3: budget should be greater than 0"),
        (HEAD + "budget: 1:30\n", r"line 3: budget: not a duration; write 90s, 30m or 1h30m"),
        (HEAD + "label_budgets: [5, 2]\n", r"label budgets must be positive and increasing"),
        (HEAD + "label_budgets: [0, 2]\n", r"label budgets must be positive and increasing"),
        (HEAD + "seed: -1\n", r"seed should be greater than or equal to 0"),
        (HEAD + "protocols: [ladder,\n  lpft]\n", r"line 4: unknown protocol 'lpft'\. .*'lp-ft'"),
        (HEAD + "protocols: [ladder:quik]\n", r"line 3: unknown protocol .*'ladder:quick'"),
        (HEAD + "protocols: [mine.yaml]\n", r"line 3: there is no protocol file '.*mine\.yaml'"),
    ],
)
def test_a_wrong_study_file_is_refused_with_its_line(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_study(write(tmp_path, text))


def references(schema: object) -> set[str]:
    if isinstance(schema, dict):
        own = {schema["$ref"]} if isinstance(schema.get("$ref"), str) else set()
        return own.union(*(references(value) for value in schema.values()))
    if isinstance(schema, list):
        return set().union(*(references(value) for value in schema))
    return set()


@pytest.mark.parametrize("make", [study_schema, protocol_schema])
def test_a_schema_is_plain_closed_and_complete(make: Any) -> None:
    schema = make()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["additionalProperties"] is False
    assert {f"#/$defs/{name}" for name in schema["$defs"]} >= references(schema)


def test_the_protocol_schema_spells_out_every_kind() -> None:
    definitions = protocol_schema()["$defs"]
    for folder in FOLDERS:
        for kind in kinds(folder):
            inner = definitions[f"{folder}-{kind}"]
            assert inner["properties"]["kind"]["const"] == kind
            assert inner["additionalProperties"] is False
        choices = {choice.get("$ref") for choice in definitions[folder]["oneOf"]} - {None}
        assert choices == {f"#/$defs/{folder}-{kind}" for kind in kinds(folder)}


def test_the_study_schema_takes_durations_as_text() -> None:
    budget = study_schema()["properties"]["budget"]
    assert {"type": "string"} in budget["anyOf"]


def test_what_is_off_is_no_part_of_a_study_that_was_written_before_it_existed() -> None:
    plain = {"task": {"data": "x"}, "backbones": ["zoo:glyphs"]}
    written = resolved(StudySpec.model_validate(plain))
    assert not {"robustness", "source"} & set(written)
    assert "report_by" not in written["task"]
    asked = {**plain, "task": {"data": "x", "report_by": ["sex"]}}
    assert resolved(StudySpec.model_validate(asked))["task"]["report_by"] == ["sex"]
