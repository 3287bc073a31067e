"""A small random backbone of every family, saved on the spot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import (
    AutoModel,
    BertConfig,
    BitImageProcessorPil,
    ConvNextConfig,
    ConvNextImageProcessorPil,
    Dinov2Config,
    ResNetConfig,
    ViTConfig,
    ViTImageProcessorPil,
)

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedConfig

WORDS = [
    "the",
    "a",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "film",
    "was",
    "good",
    "bad",
    "and",
    "very",
]

PLAIN = """
import torch
from torch import nn


class Net(nn.Module):
    blocks = ["parts.2", "parts.3", "parts.4", "parts.5"]
    preprocess = {"size": [12, 12], "mean": [0.5] * 3, "std": [0.25] * 3}

    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Dropout(0.5)),
            nn.Conv2d(8, 10, 1),
        )

    def forward(self, images):
        return torch.relu(self.parts(images))


def net():
    return Net()


def needs_an_argument(width):
    return Net()


def not_a_module():
    return 3
"""


def bert_config(n_layers: int = 3) -> BertConfig:
    return BertConfig(
        vocab_size=len(WORDS) + 5,
        hidden_size=16,
        num_hidden_layers=n_layers,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
    )


def vision_config(family: str) -> PreTrainedConfig:
    transformer = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "patch_size": 4,
        "image_size": 16,
    }
    if family == "vit":
        return ViTConfig(intermediate_size=24, **transformer)
    if family == "dinov2":
        return Dinov2Config(mlp_ratio=2, **transformer)
    if family == "resnet":
        return ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 12, 16],
            depths=[1, 2, 1],
            layer_type="basic",
        )
    return ConvNextConfig(hidden_sizes=[8, 12, 16], depths=[1, 2, 1], num_stages=3)


def save_text(folder: Path, config: PreTrainedConfig) -> Path:
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_tokenizer(folder: Path) -> None:
    from transformers import BertTokenizer

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    BertTokenizer(vocab=vocabulary, model_max_length=32).save_pretrained(folder)


def save_vision(folder: Path, family: str) -> Path:
    torch.manual_seed(0)
    AutoModel.from_config(vision_config(family)).save_pretrained(folder)
    processors = {
        "vit": ViTImageProcessorPil(size={"height": 16, "width": 16}),
        "dinov2": BitImageProcessorPil(
            size={"shortest_edge": 20}, crop_size={"height": 16, "width": 16}
        ),
        "resnet": ConvNextImageProcessorPil(size={"shortest_edge": 32}),
        "convnext": ConvNextImageProcessorPil(size={"shortest_edge": 32}),
    }
    processors[family].save_pretrained(folder)
    return folder


def save_plain(folder: Path) -> str:
    """Return a reference to a plain torch module with its weights beside it."""
    from runpy import run_path

    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.py").write_text(PLAIN, encoding="utf-8")
    torch.manual_seed(0)
    save_file(run_path(str(folder / "net.py"))["net"]().state_dict(), folder / "net.safetensors")
    return f"python:{folder}/net.py:net@{folder}/net.safetensors"


def save_all(root: Path) -> dict[str, str]:
    """Save a small random backbone of every family; return their references by family."""
    found = {"bert": str(save_text(root / "bert", bert_config()))}
    for family in ("vit", "dinov2", "resnet", "convnext"):
        found[family] = str(save_vision(root / family, family))
    found["plain"] = save_plain(root / "plain")
    return found
