from __future__ import annotations

import json
import pickle
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, Wav2Vec2Config, Wav2Vec2Model

from regraft.backbones.loading import load_backbone
from regraft.errors import BackboneError

if TYPE_CHECKING:
    from collections.abc import Mapping


def copied(reference: str, folder: Path) -> Path:
    return Path(copytree(reference, folder / "copy"))


def change(path: Path, **settings: Any) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(value | settings), encoding="utf-8")


def refused(reference: str | Path, match: str) -> None:
    """Check that loading ends in one sentence that names the backbone."""
    with pytest.raises(BackboneError, match=match) as caught:
        load_backbone(str(reference))
    assert "\n" not in str(caught.value)
    assert caught.value.where


class RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran.txt"),))


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", r"there is no such folder")


def test_a_folder_without_configuration(tmp_path: Path) -> None:
    refused(tmp_path, r"has no config.json")


def test_a_folder_without_weights(references: Mapping[str, str], tmp_path: Path) -> None:
    folder = copied(references["bert"], tmp_path)
    (folder / "model.safetensors").unlink()
    refused(folder, r"a configuration but no weights")


def test_weights_whose_shapes_do_not_fit(references: Mapping[str, str], tmp_path: Path) -> None:
    folder = copied(references["bert"], tmp_path)
    change(folder / "config.json", intermediate_size=40)
    refused(folder, r"intermediate.dense.\w+ has shape \(24.*configuration needs \(40")


def test_weights_that_lack_a_tensor(references: Mapping[str, str], tmp_path: Path) -> None:
    folder = copied(references["vit"], tmp_path)
    state = load_file(folder / "model.safetensors")
    del state[next(name for name in state if "layernorm_before" in name)]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, r"1 tensors are missing .*layernorm_before.* partly be random")


def test_weights_that_are_damaged(references: Mapping[str, str], tmp_path: Path) -> None:
    folder = copied(references["vit"], tmp_path)
    (folder / "model.safetensors").write_bytes(b"not what it should be")
    refused(folder, r"weights cannot be read")


def test_a_pickle_that_would_run_code_is_not_run(
    references: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = copied(references["bert"], tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings.weight": RunsCode()}, folder / "pytorch_model.bin")
    refused(folder, r"hold more than plain tensors")
    assert not (tmp_path / "ran.txt").exists()


def test_plain_pickled_weights_load(references: Mapping[str, str], tmp_path: Path) -> None:
    folder = copied(references["bert"], tmp_path)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    assert load_backbone(str(folder)).digest == load_backbone(references["bert"]).digest


def test_a_model_with_code_of_its_own(references: Mapping[str, str], tmp_path: Path) -> None:
    folder = copied(references["bert"], tmp_path)
    change(
        folder / "config.json",
        model_type="their_own",
        auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"},
    )
    (folder / "own.py").write_text("raise SystemExit('it ran')", encoding="utf-8")
    refused(folder, r"needs code that comes with it.*trust_remote_code")


def test_a_model_of_unknown_type(references: Mapping[str, str], tmp_path: Path) -> None:
    folder = copied(references["bert"], tmp_path)
    change(folder / "config.json", model_type="no_such_type")
    refused(folder, r"no_such_type")


def test_a_configuration_that_is_not_json(references: Mapping[str, str], tmp_path: Path) -> None:
    folder = copied(references["bert"], tmp_path)
    (folder / "config.json").write_text("{", encoding="utf-8")
    refused(folder, r"cannot be loaded")


def test_a_folder_without_tokenizer(references: Mapping[str, str], tmp_path: Path) -> None:
    folder = copied(references["bert"], tmp_path)
    for file in folder.glob("*token*"):
        file.unlink()
    refused(folder, r"its tokenizer cannot be loaded: it has no words")


def test_a_tokenizer_of_another_model(references: Mapping[str, str], tmp_path: Path) -> None:
    folder = copied(references["bert"], tmp_path)
    config = BertConfig.from_pretrained(folder, vocab_size=9)
    BertModel(config).save_pretrained(folder)
    refused(folder, r"its tokenizer has 23 tokens, the model 9")


def test_a_model_of_sounds(tmp_path: Path) -> None:
    config = Wav2Vec2Config(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        conv_dim=[8, 8],
        conv_stride=[2, 2],
        conv_kernel=[3, 3],
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2Model(config).save_pretrained(tmp_path)
    refused(tmp_path, r"takes 'input_values'; texts and images")


def test_a_hub_id_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    refused("nobody/no-such-model", r"the hub cannot be reached. Give a local folder")


def test_neither_folder_nor_hub_id() -> None:
    refused("what is this?", r"neither a folder nor a hub id")


def test_an_unknown_embedded_backbone() -> None:
    refused("zoo:nothing", r"unknown embedded backbone")


def test_python_that_the_user_did_not_name(references: Mapping[str, str]) -> None:
    with pytest.raises(BackboneError, match=r"that you did not name yourself.*--backbone"):
        load_backbone(references["plain"], allow_python=False)


@pytest.fixture
def plain(references: Mapping[str, str]) -> tuple[str, str]:
    """Return the path of the plain module's file and of its weights."""
    code, _, weights = references["plain"].removeprefix("python:").partition("@")
    return code.removesuffix(":net"), weights


def test_a_python_reference_without_weights(plain: tuple[str, str]) -> None:
    refused(f"python:{plain[0]}:net", r"incomplete. Write python:")


def test_a_python_file_that_does_not_exist(plain: tuple[str, str]) -> None:
    refused(f"python:{plain[0]}x.py:net@{plain[1]}", r"there is no such file")


def test_a_python_file_that_cannot_be_imported(plain: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def net(:", encoding="utf-8")
    refused(f"python:{tmp_path}/bad.py:net@{plain[1]}", r"cannot be imported: ")


def test_a_module_that_does_not_exist(plain: tuple[str, str]) -> None:
    refused(f"python:no_such_package.net:net@{plain[1]}", r"cannot be imported: No module named")


def test_a_factory_that_does_not_exist(plain: tuple[str, str]) -> None:
    refused(f"python:{plain[0]}:nett@{plain[1]}", r"has no function 'nett'. Did you mean 'net'?")


def test_a_factory_with_arguments(plain: tuple[str, str]) -> None:
    refused(f"python:{plain[0]}:needs_an_argument@{plain[1]}", r"must take no arguments")


def test_a_factory_of_something_else(plain: tuple[str, str]) -> None:
    refused(f"python:{plain[0]}:not_a_module@{plain[1]}", r"returned int, not a torch module")


def test_weights_that_do_not_exist(plain: tuple[str, str]) -> None:
    refused(f"python:{plain[0]}:net@{plain[1]}x", r"there is no such weights file")


def test_weights_of_another_module(plain: tuple[str, str], tmp_path: Path) -> None:
    state = load_file(plain[1])
    short = {n: t for n, t in state.items() if not n.startswith("parts.5")}
    save_file(short, tmp_path / "short.safetensors")
    refused(
        f"python:{plain[0]}:net@{tmp_path}/short.safetensors",
        r"2 of \d+ tensors are missing \(parts.5.weight, parts.5.bias\)",
    )
    save_file(state | {"parts.5.weight": torch.zeros(3, 8, 1, 1)}, tmp_path / "odd.safetensors")
    refused(
        f"python:{plain[0]}:net@{tmp_path}/odd.safetensors",
        r"parts.5.weight has shape \(3, 8, 1, 1\), the module needs \(10, 8, 1, 1\)",
    )


def test_weights_that_are_no_weights(plain: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"x" * 20)
    refused(f"python:{plain[0]}:net@{tmp_path}/w.safetensors", r"not a readable safetensors file")
    torch.save([1, 2], tmp_path / "list.pt")
    refused(f"python:{plain[0]}:net@{tmp_path}/list.pt", r"a dictionary of tensors by name")
    (tmp_path / "w.pt").write_bytes(pickle.dumps(RunsCode()))
    refused(f"python:{plain[0]}:net@{tmp_path}/w.pt", r"could run foreign code")


@pytest.mark.parametrize(
    ("declared", "match"),
    [
        ("preprocess = {'sice': 8}", r"unknown key 'sice' in 'preprocess'. Did you mean 'size'"),
        ("preprocess = {'resample': 'cubic'}", r"'preprocess' has a wrong 'resample'"),
        ("preprocess = {'mean': [0.5]}", r"1 values of 'mean' for 3 channels"),
        ("preprocess = {'std': [1, 0, 1]}", r"needs sizes and deviations above 0"),
        ("preprocess = {'size': 0}", r"needs sizes and deviations above 0"),
        ("preprocess = {'kind': 'sound'}", r"has kind 'sound'. Known: image, array"),
        ("preprocess = {'kind': 'array', 'shap': 3}", r"unknown key 'shap'"),
        ("preprocess = {'channels': 1}", r"does not take inputs of shape \(2, 1, 224, 224\)"),
        ("blocks = ['parts.2', 'part.3']", r"names 'part.3', which is not a submodule"),
        ("blocks = ['parts.2', 'parts.2']", r"names 'parts.2' twice"),
        ("blocks = ['parts.4', 'parts.4.0']", r"names 'parts.4.0' inside 'parts.4'"),
    ],
)
def test_wrong_declarations(
    plain: tuple[str, str], tmp_path: Path, declared: str, match: str
) -> None:
    source = Path(plain[0]).read_text(encoding="utf-8")
    name = declared.partition(" ")[0]
    lines = [
        f"    {declared}" if line.startswith(f"    {name} =") else line
        for line in source.splitlines()
    ]
    (tmp_path / "net.py").write_text("\n".join(lines), encoding="utf-8")
    refused(f"python:{tmp_path}/net.py:net@{plain[1]}", match)


def test_two_factories_of_one_file_are_two_backbones_and_inherit_declarations(
    plain: tuple[str, str], tmp_path: Path
) -> None:
    source = Path(plain[0]).read_text(encoding="utf-8")
    twice = """
class Twice(Net):
    def forward(self, images):
        return 2 * super().forward(images)
"""
    (tmp_path / "nets.py").write_text(source + twice, encoding="utf-8")
    one, two = (
        load_backbone(f"python:{tmp_path}/nets.py:{f}@{plain[1]}") for f in ("net", "Twice")
    )
    assert one.digest == two.digest  # the weights are the same
    assert one.identity != two.identity  # what is computed of them is not
    assert two.blocks == one.blocks
    assert two.preprocess.spec == one.preprocess.spec


def test_a_module_without_parts(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("from torch.nn import Flatten\n", encoding="utf-8")
    save_file({}, tmp_path / "one.safetensors")
    refused(
        f"python:{tmp_path}/one.py:Flatten@{tmp_path}/one.safetensors", r"Flatten has no submodules"
    )


def test_a_module_whose_inputs_cannot_be_guessed(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.GRU(2, 2), nn.ReLU())\n",
        encoding="utf-8",
    )
    state = torch.nn.Sequential(torch.nn.GRU(2, 2), torch.nn.ReLU()).state_dict()
    save_file(state, tmp_path / "net.safetensors")
    refused(f"python:{tmp_path}/net.py:net@{tmp_path}/net.safetensors", r"takes cannot be guessed")
