from __future__ import annotations

from runpy import run_path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    AutoModel,
    BertConfig,
    BertTokenizer,
    ConvNextConfig,
    ConvNextImageProcessorPil,
    ResNetConfig,
)

from regraft.backbones.loading import load_backbone

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.backbones.backbone import Backbone

WORDS = ["the", "a", "one", "two", "three", "four", "film", "was", "good", "bad", "and", "very"]

NETS = """
import torch
from torch import nn


class Maps(nn.Module):
    blocks = ["parts.1", "parts.2", "parts.3", "parts.4"]
    preprocess = {"size": [12, 12], "mean": [0.5] * 3, "std": [0.25] * 3}

    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            nn.MaxPool2d(2),
            nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            nn.Conv2d(16, 20, 1),
        )

    def forward(self, images):
        return self.parts(images)


class Tokens(nn.Module):
    blocks = ["encoder.layers.0", "encoder.layers.1"]
    preprocess = {"size": [12, 12], "mean": [0.5] * 3, "std": [0.25] * 3}

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, images):
        return self.encoder(self.patches(images).flatten(2).transpose(1, 2))
"""


def save_bert(folder: Path, n_layers: int = 3) -> Path:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS) + 5,
        hidden_size=16,
        num_hidden_layers=n_layers,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    AutoModel.from_config(config).save_pretrained(folder)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    BertTokenizer(vocab=vocabulary, model_max_length=32).save_pretrained(folder)
    return folder


def save_vision(folder: Path, config: ResNetConfig | ConvNextConfig) -> Path:
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    ConvNextImageProcessorPil(size={"shortest_edge": 32}).save_pretrained(folder)
    return folder


def save_net(folder: Path, name: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nets.py").write_text(NETS, encoding="utf-8")
    torch.manual_seed(0)
    save_file(
        run_path(str(folder / "nets.py"))[name]().state_dict(), folder / f"{name}.safetensors"
    )
    return f"python:{folder}/nets.py:{name}@{folder}/{name}.safetensors"


@pytest.fixture(scope="session")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    """Return a small random backbone of each sort of block; tests change copies only."""
    root = tmp_path_factory.mktemp("protocols")
    sizes = {"hidden_sizes": [8, 12, 16], "depths": [1, 2, 1]}
    references = {
        "bert": str(save_bert(root / "bert")),
        "resnet": str(
            save_vision(
                root / "resnet", ResNetConfig(embedding_size=8, layer_type="basic", **sizes)
            )
        ),
        "convnext": str(save_vision(root / "convnext", ConvNextConfig(num_stages=3, **sizes))),
        "maps": save_net(root / "nets", "Maps"),
        "tokens": save_net(root / "nets", "Tokens"),
    }
    return {family: load_backbone(reference) for family, reference in references.items()}
