"""The recipes of the embedded backbones, committed so that anyone can make their weights again."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from regraft.backbones.zoo.glyphs import Glyphs, build
from regraft.errors import ConfigError
from regraft.hashing import digest_arrays
from regraft.seeds import derive

logger = logging.getLogger(__name__)

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_FONT_PREFIXES = ("DejaVuSans", "DejaVuSerif", "STIXGeneral", "cmr10", "cmtt10", "cmss10", "cmb10")
_NOT_LETTERS = ("Display",)
_CANVAS = 64
_GLYPH_SIZE = 40
_FINE = 32
_SIDE = 8


@dataclass(frozen=True, slots=True)
class GlyphRecipe:
    """Settings of ``regraft pretrain glyphs``; the shipped weights were made with the defaults."""

    seed: int = 0
    steps: int = 2000
    batch_size: int = 128
    peak_rate: float = 3e-3
    weight_decay: float = 0.05
    rotation_degrees: float = 15.0
    shear: float = 0.35
    stretch: float = 0.25
    label_smoothing: float = 0.05


def pretrain_named(name: str, output: Path, *, steps: int | None = None) -> dict[str, Any]:
    """Make the weights of an embedded backbone and write them; return what was done.

    Raises:
        ConfigError: There is no recipe of that name, or matplotlib is not installed.
    """
    if name != "glyphs":
        raise ConfigError(f"there is no recipe for {name!r}. Known: glyphs.", where="pretrain")
    recipe = GlyphRecipe() if steps is None else GlyphRecipe(steps=steps)
    model, losses = pretrain_glyphs(recipe)
    state = {n: t.detach().contiguous() for n, t in model.state_dict().items()}
    save_file(state, output)
    info = {
        "recipe": asdict(recipe),
        "digest": digest_arrays({n: t.numpy() for n, t in state.items()}),
        "final_loss": round(float(np.mean(losses[-50:])), 4),
        "torch": torch.__version__,
    }
    output.with_suffix(".json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
    return info


def pretrain_glyphs(recipe: GlyphRecipe) -> tuple[Glyphs, list[float]]:
    """Train the glyph backbone with a 62-way head; return it and the loss of every step."""
    masks = rendered_glyphs()  # (fonts, 62, canvas, canvas)
    draw = torch.Generator().manual_seed(derive(recipe.seed, "glyphs", "draw"))
    outer = torch.get_rng_state()
    torch.default_generator.manual_seed(derive(recipe.seed, "glyphs", "weights"))
    try:
        model, head = build(), nn.Linear(128, len(CHARACTERS))
    finally:
        torch.set_rng_state(outer)
    parameters = [*model.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.peak_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.peak_rate, total_steps=recipe.steps + 1
    )
    losses = []
    for step in range(recipe.steps):
        images, labels = glyph_batch(masks, recipe, draw)
        features = model(normalised(images)).mean(dim=(2, 3))
        loss = functional.cross_entropy(
            head(features), labels, label_smoothing=recipe.label_smoothing
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 200 == 0:
            logger.info("step %d of %d: loss %.3f", step, recipe.steps, losses[-1])
    return model.eval(), losses


def glyph_batch(
    masks: torch.Tensor, recipe: GlyphRecipe, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch as UCI made its digits: images (B, 1, 8, 8) in [0, 1] and labels (B,).

    A glyph of a random font is turned, sheared, thinned or thickened, cut to its box, scaled to
    32 × 32 with a random stretch, made black and white, and counted in 4 × 4 cells.
    """
    n = recipe.batch_size
    fonts = torch.randint(len(masks), (n,), generator=draw)
    labels = torch.randint(len(CHARACTERS), (n,), generator=draw)
    glyphs = masks[fonts, labels][:, None]  # (B, 1, canvas, canvas)
    angle = _between(draw, n, recipe.rotation_degrees) * np.pi / 180
    shear = _between(draw, n, recipe.shear)
    turned = _warp(glyphs, _turning(angle, shear), _CANVAS)
    boxed = _warp(turned, _box(turned, 1.0 + _between(draw, n, recipe.stretch)), _FINE)
    threshold = 0.5 + 0.3 * _between(draw, n, 1.0)[:, None, None, None]
    ink = (boxed > threshold).float()
    return functional.avg_pool2d(ink, _FINE // _SIDE), labels


def rendered_glyphs() -> torch.Tensor:
    """Return every character in every font that matplotlib ships.

    Shape (fonts, 62, canvas, canvas), in [0, 1].

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ConfigError(
            "it draws with the fonts of matplotlib. Install regraft[glyphs].", where="pretrain"
        ) from error
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    files = sorted(
        file
        for file in folder.glob("*.ttf")
        if file.stem.startswith(_FONT_PREFIXES) and not any(w in file.stem for w in _NOT_LETTERS)
    )
    drawn = [[_draw(ImageFont.truetype(str(f), _GLYPH_SIZE), c) for c in CHARACTERS] for f in files]
    return torch.from_numpy(np.array(drawn, np.float32))


def normalised(images: torch.Tensor) -> torch.Tensor:
    """Return images as the backbone's own preprocessing hands them over."""
    plain: dict[str, Any] = Glyphs.preprocess
    mean, std = float(plain["mean"][0]), float(plain["std"][0])
    return (images - mean) / std


def _draw(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray[Any, Any]:
    image = Image.new("L", (_CANVAS, _CANVAS))
    centre = (_CANVAS // 2, _CANVAS // 2)
    ImageDraw.Draw(image).text(centre, character, fill=255, font=font, anchor="mm")
    return np.asarray(image, np.float32) / 255.0


def _between(draw: torch.Generator, n: int, limit: float) -> torch.Tensor:
    """Return n numbers, uniform in [−limit, limit]."""
    return (torch.rand(n, generator=draw) * 2 - 1) * limit


def _turning(angle: torch.Tensor, shear: torch.Tensor) -> torch.Tensor:
    """Return affine maps (B, 2, 3) that rotate and shear about the centre."""
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    first = torch.stack([cosine, shear * cosine - sine, zero], dim=1)
    second = torch.stack([sine, shear * sine + cosine, zero], dim=1)
    return torch.stack([first, second], dim=1)


def _box(images: torch.Tensor, stretch: torch.Tensor) -> torch.Tensor:
    """Return affine maps (B, 2, 3) that blow the ink's box up to the frame, stretched a little."""
    ink = images[:, 0] > 0.3
    x0, x1 = _extent(ink.any(dim=1))
    y0, y1 = _extent(ink.any(dim=2))
    width, height = (x1 - x0).clamp(min=0.05) * stretch, (y1 - y0).clamp(min=0.05)
    half = torch.maximum(width, height) / 2
    zero = torch.zeros_like(half)
    first = torch.stack([half / stretch, zero, (x0 + x1) / 2], dim=1)
    second = torch.stack([zero, half, (y0 + y1) / 2], dim=1)
    return torch.stack([first, second], dim=1)


def _extent(marked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return first and last marked position of each row (B, n), as coordinates in [−1, 1]."""
    n = marked.shape[1]
    first = marked.int().argmax(dim=1).float()
    last = n - marked.flip(1).int().argmax(dim=1).float()
    return first / n * 2 - 1, last / n * 2 - 1


def _warp(images: torch.Tensor, maps: torch.Tensor, side: int) -> torch.Tensor:
    grid = functional.affine_grid(maps, [len(images), 1, side, side], align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)
