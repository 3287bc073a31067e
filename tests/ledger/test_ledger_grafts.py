"""A graft comes back bit for bit, or not at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModel, BertConfig

from regraft.backbones.loading import load_backbone
from regraft.errors import GraftError, LedgerError
from regraft.hashing import digest_bytes, digest_json
from regraft.ledger.grafts import Graft, check_trusted, read_graft, write_graft
from regraft.protocols.modules import lora

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from regraft.backbones.backbone import Backbone

PLAIN = {"modules": [], "head": {"kind": "linear"}}
FIELDS = (
    "backbone", "backbone_digest", "kind", "classes", "preprocess", "protocol", "metrics",
    "temperature", "card",
)  # fmt: skip


def graft(**changes: Any) -> Graft:
    values: dict[str, Any] = {
        "backbone": "zoo:glyphs",
        "backbone_digest": "d" * 64,
        "kind": "image",
        "classes": ("ant", "bée"),
        "preprocess": {"size": [8, 8], "mean": [0.5, 1e-7]},
        "protocol": PLAIN,
        "state": {
            "head.weight": torch.tensor([[1.0, -0.0]]),
            "head.bias": torch.zeros(1),
            "backbone.stem.weight": torch.arange(6).reshape(2, 3).T,
        },
        "metrics": {"test": {"accuracy": {"value": 0.1 + 0.2, "low": None}}},
        "temperature": 1.25,
        "card": "# Proved\n\n.912 [.894, .929]\n",
    }
    return Graft(**{**values, **changes})


def assert_same(first: Graft, second: Graft) -> None:
    for name in FIELDS:
        assert getattr(first, name) == getattr(second, name), name
    assert set(first.state) == set(second.state)
    for name, tensor in first.state.items():
        assert tensor.dtype == second.state[name].dtype
        assert torch.equal(tensor, second.state[name])


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
PLAIN_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40)
@given(
    classes=st.lists(st.text(), min_size=2, max_size=4).map(tuple),
    metrics=st.dictionaries(st.text(), PLAIN_VALUES, max_size=3),
    preprocess=st.dictionaries(st.text(), PLAIN_VALUES, max_size=3),
    temperature=st.floats(1e-3, 1e3),
    shape=st.lists(st.integers(0, 3), max_size=3),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool]),
    names=st.sets(st.sampled_from(["head.weight", "predictor.x", "backbone.a.b", "module.c"])),
)
def test_a_graft_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    classes: tuple[str, ...],
    metrics: dict[str, Any],
    preprocess: dict[str, Any],
    temperature: float,
    shape: list[int],
    dtype: torch.dtype,
    names: set[str],
) -> None:
    written = graft(
        classes=classes,
        metrics=metrics,
        preprocess=preprocess,
        temperature=temperature,
        state={name: torch.randn(shape).to(dtype) for name in names},
    )
    folder = write_graft(tmp_path_factory.mktemp("grafts") / "new" / "graft", written)
    assert_same(written, read_graft(folder))


def test_a_graft_is_the_files_that_it_needs(tmp_path: Path) -> None:
    with_delta = write_graft(tmp_path / "delta", graft())
    only_head = {"head.weight": torch.ones(2, 2)}
    head_alone = write_graft(tmp_path / "head", graft(state=only_head))
    files = {"graft.json", "head.safetensors", "card.md"}
    assert {one.name for one in with_delta.iterdir()} == files | {"delta.safetensors"}
    assert {one.name for one in head_alone.iterdir()} == files
    plain = json.loads((head_alone / "graft.json").read_text(encoding="utf-8"))
    assert plain["schema"] == 1
    assert plain["classes"] == ["ant", "bée"]
    assert plain["files"]["card.md"] == digest_bytes((head_alone / "card.md").read_bytes())
    assert plain["digest"] == digest_json({k: v for k, v in plain.items() if k != "digest"})


def test_a_graft_can_be_read_by_others_than_its_writer(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    folder = write_graft(tmp_path / "graft", graft())
    assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_graft_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    folder = write_graft(tmp_path / "graft", graft())
    (tmp_path / ".graft.part").mkdir()
    (tmp_path / ".graft.part" / "head.safetensors").write_bytes(b"of a killed process")
    (tmp_path / ".graft.before").mkdir()
    write_graft(folder, graft(card="second", state={"head.weight": torch.ones(1)}))
    assert read_graft(folder).card == "second"
    assert set(read_graft(folder).state) == {"head.weight"}
    assert [path.name for path in tmp_path.iterdir()] == ["graft"]


def test_an_empty_folder_is_taken_and_a_foreign_one_left_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert read_graft(write_graft(tmp_path / "empty", graft())).temperature == 1.25
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    for name in ("photos", "file"):
        with pytest.raises(GraftError, match=rf"{name}: it holds something that is not a graft"):
            write_graft(tmp_path / name, graft())
    assert (tmp_path / "photos" / "1.jpg").read_bytes() == b"x"
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_graft_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(LedgerError, match=r"graft: the graft cannot be written \(Not a directory"):
        write_graft(tmp_path / "file" / "graft", graft())


@pytest.mark.parametrize("name", ["head.safetensors", "delta.safetensors", "card.md"])
def test_a_file_that_was_changed_is_named(tmp_path: Path, name: str) -> None:
    folder = write_graft(tmp_path / "graft", graft())
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(GraftError, match=rf"graft/{name}: it was changed or damaged after it was"):
        read_graft(folder)
    (folder / name).unlink()
    with pytest.raises(GraftError, match=rf"graft/{name}: it is missing \(No such file"):
        read_graft(folder)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object], *, sign: bool) -> None:
    path = folder / "graft.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    change(plain)
    if sign:
        del plain["digest"]
        plain["digest"] = digest_json(plain)
    path.write_text(json.dumps(plain), encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain.update(classes=["bee", "ant"]),
        lambda plain: plain.update(temperature=9.0),
        lambda plain: plain["protocol"].update(modules=["x"]),
        lambda plain: plain.update(backbone="python:evil:factory"),
        lambda plain: plain.pop("digest"),
    ],
)
def test_a_manifest_that_was_changed_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    folder = write_graft(tmp_path / "graft", graft())
    rewrite(folder, change, sign=False)
    with pytest.raises(GraftError, match=r"graft\.json: it was changed after it was written"):
        read_graft(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(schema=2), r"it has schema version 2, this regraft knows 1\. Update"),
        (lambda p: p.update(schema="1"), r"it has schema version '1', this regraft"),
        (lambda p: p.pop("schema"), r"not a graft's manifest\. Get the graft again"),
        (lambda p: p.pop("classes"), r"it does not hold what a graft's manifest holds"),
        (lambda p: p.update(extra=1), r"it does not hold what a graft's manifest holds"),
        (lambda p: p.update(temperature=0), r"it does not hold what a graft's manifest holds"),
        (lambda p: p.update(files=["a"]), r"it does not hold what a graft's manifest holds"),
        (
            lambda p: p["files"].update({"../x": "a"}),
            r"it names '\.\./x', which is no file of a graft",
        ),
        (lambda p: p["files"].update({"/etc/passwd": "a"}), r"it names '/etc/passwd', which is no"),
        (lambda p: p["files"].update({"a\\b": "a"}), r"it names 'a\\\\b', which is no file"),
        (
            lambda p: p["files"].update({"model.bin": "a"}),
            r"it names 'model\.bin', which is no file",
        ),
    ],
)
def test_a_manifest_that_is_none_is_refused_even_with_its_digest(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = write_graft(tmp_path / "graft", graft())
    rewrite(folder, change, sign=True)
    with pytest.raises(GraftError, match=rf"graft\.json: {message}"):
        read_graft(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", '"x"', "{", "\xff", "[" * 100_000, "NaN"])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "graft.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(GraftError, match=r"graft\.json: not a graft's manifest"):
        read_graft(tmp_path)


def test_tensors_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    folder = write_graft(tmp_path / "graft", graft())
    (folder / "head.safetensors").write_bytes(b"\x80\x04pickle")
    digest = digest_bytes(b"\x80\x04pickle")
    rewrite(folder, lambda p: p["files"].update({"head.safetensors": digest}), sign=True)
    with pytest.raises(GraftError, match=r"head\.safetensors: not a safetensors file"):
        read_graft(folder)


def test_a_folder_without_graft_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(GraftError, match=r"there is no graft \(graft\.json\) in it\. Check"):
            read_graft(folder)


@pytest.mark.parametrize("reference", ["python:a.py:f@w.safetensors", " Python:a:b"])
def test_python_backbones_are_taken_only_from_the_user(reference: str) -> None:
    with pytest.raises(GraftError, match=r"its backbone is Python code .* give it with --backbone"):
        check_trusted(graft(backbone=reference), supplied_backbone=False)
    check_trusted(graft(backbone=reference), supplied_backbone=True)
    check_trusted(graft(), supplied_backbone=False)


# peft 0.21 asks transformers 5 for an attribute that it calls deprecated.
peft_warning = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    from transformers import BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=9,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        initializer_range=0.3,
    )
    AutoModel.from_config(config).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "the"]
    BertTokenizer(vocab={w: i for i, w in enumerate(words)}, model_max_length=16).save_pretrained(
        folder
    )
    return load_backbone(str(folder))


def hidden(module: torch.nn.Module, backbone: Backbone) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = module.eval()(**backbone.probe_batch())[0]
    return found


def lora_graft(bert: Backbone, **changes: Any) -> tuple[Graft, Backbone]:
    backbone = bert.copy()
    spec = lora.Spec(rank=2, alpha=6.0)
    inserted = lora.insert(spec, backbone, from_depth=0, seed=0)
    named = dict(backbone.module.named_parameters())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name in inserted.parameter_names:
            named[name].normal_(std=0.3, generator=generator)
    state = {f"module.{name}": named[name].detach() for name in inserted.parameter_names}
    values = {
        "backbone": bert.reference,
        "kind": "text",
        "protocol": {"modules": [spec.model_dump(mode="json")]},
        "state": {"head.weight": torch.ones(2, 16), **state},
    }
    return graft(**{**values, **changes}), backbone


@peft_warning
def test_a_graft_of_lora_alone_loads_in_plain_peft(bert: Backbone, tmp_path: Path) -> None:
    written, adapted = lora_graft(bert)
    folder = write_graft(tmp_path / "graft", written)
    assert not (folder / "delta.safetensors").exists()
    assert_same(written, read_graft(folder))
    theirs = PeftModel.from_pretrained(AutoModel.from_pretrained(bert.reference), folder)
    assert torch.equal(hidden(theirs, bert), hidden(adapted.module, bert))


def test_a_graft_of_lora_and_more_is_a_delta(bert: Backbone, tmp_path: Path) -> None:
    written, _ = lora_graft(bert)
    more = {**written.state, "backbone.encoder.layer.1.output.LayerNorm.bias": torch.ones(16)}
    written, _ = lora_graft(bert, state=more)
    folder = write_graft(tmp_path / "graft", written)
    assert (folder / "delta.safetensors").exists()
    assert not (folder / "adapter_model.safetensors").exists()
    assert_same(written, read_graft(folder))


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_an_adapter_that_was_changed_or_left_out_is_named(
    bert: Backbone, tmp_path: Path, name: str
) -> None:
    written, _ = lora_graft(bert)
    folder = write_graft(tmp_path / "graft", written)
    rewrite(folder, lambda plain: plain["files"].pop("adapter_config.json"), sign=True)
    with pytest.raises(GraftError, match=r"not a LoRA folder of peft \(KeyError"):
        read_graft(folder)
    write_graft(folder, written)
    (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"#")
    with pytest.raises(GraftError, match=rf"graft/{name}: it was changed or damaged"):
        read_graft(folder)


@peft_warning
def test_a_plain_peft_folder_reads_as_a_graft_without_head(bert: Backbone, tmp_path: Path) -> None:
    settings = LoraConfig(
        r=3, lora_alpha=4, target_modules=["query"], base_model_name_or_path=bert.reference
    )
    theirs = get_peft_model(AutoModel.from_pretrained(bert.reference), settings)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3, generator=generator)
    theirs.save_pretrained(tmp_path)
    found = read_graft(tmp_path)
    assert (found.backbone, found.backbone_digest, found.kind, found.classes) == (
        bert.reference, "", "", (),
    )  # fmt: skip
    assert not found.has_head
    assert found.protocol["modules"][0]["rank"] == 3
    backbone = bert.copy()
    spec = lora.Spec(**found.protocol["modules"][0])
    lora.insert(spec, backbone, from_depth=0, seed=0)
    values = {name.removeprefix("module."): one for name, one in found.state.items()}
    assert backbone.module.load_state_dict(values, strict=False).unexpected_keys == []
    torch.testing.assert_close(hidden(backbone.module, bert), hidden(theirs, bert))


FACTORS = {f"base_model.model.a.lora_{one}.weight": torch.zeros(2, 2) for one in "AB"}
LORA = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        ({**LORA, "peft_type": "LOHA"}, FACTORS, r"its peft_type is 'LOHA'; only LORA can be read"),
        ({"peft_type": "LORA"}, FACTORS, r"not a LoRA folder of peft \(KeyError: 'r'\)"),
        ({**LORA, "r": None}, FACTORS, r"not a LoRA folder of peft \(TypeError"),
        ({**LORA, "r": 10**6}, FACTORS, r"not a LoRA folder of peft \("),
        ([1], FACTORS, r"not a LoRA folder of peft \(AttributeError"),
        (LORA, {"x": torch.zeros(1)}, r"'x' is not a LoRA factor"),
        (LORA, None, r"it has adapter_config\.json but no adapter_model\.safetensors\. Save the"),
    ],
)
def test_adapters_that_cannot_be_read_are_refused(
    tmp_path: Path, config: Any, tensors: dict[str, torch.Tensor] | None, message: str
) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    if tensors is None:
        (tmp_path / "adapter_model.bin").write_bytes(b"\x80\x04")
    else:
        save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(GraftError, match=message):
        read_graft(tmp_path)
