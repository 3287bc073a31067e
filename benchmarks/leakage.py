"""A leakage drill: planted leaks that are found, and clean sets that raise no alarm.

    python benchmarks/leakage.py --out out/leakage.json

Every leak is planted in real items and read by `Task.read`, as a user's data is; what it says or
takes out is what counts. Seeds begin at 1,000; while the detectors were written, 0 to 4 were used.
Duplicates: changed copies of test items are added to training; found is a copy that does not train.
Groups, columns, marks: found is a sentence that names them. At strengths marked * everything should
be found. Data is read from --data, else $REGRAFT_DATA, else ``../shared/data``; sets that are not
there are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import re
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from regraft.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATA = Path(os.environ.get("REGRAFT_DATA") or Path(__file__).resolve().parents[2] / "shared/data")
FIRST_SEED = 1000
IMAGE_SETS = {"hymenoptera": 390, "flowers5": 390, "pacs_small": 400, "cifar10_small": 500}
TEXT_SETS = ("sst2", "ag_news_small", "amazon_4domains")
TEXTS, COPIES = 450, 8
MARKS = [(size, opacity, 1.0) for size in (0.03, 0.06, 0.12) for opacity in (0.25, 0.5, 1.0)] + [
    (size, opacity, share) for size, opacity in ((0.06, 0.5), (0.12, 1.0)) for share in (0.25, 0.5)
]

Pair = tuple[list[Any], list[str]]
Found = dict[tuple[str, str], list[int]]


# ---- data


def images(data: Path, name: str, *, domain: str | None = None) -> Pair:
    """Return all pixels and labels of a set."""
    module = importlib.util.spec_from_file_location("load", data / "load.py")
    load = importlib.util.module_from_spec(module)  # type: ignore[arg-type]
    module.loader.exec_module(load)  # type: ignore[union-attr]
    found = list(load.images(name, domain=domain))
    pixels = [np.asarray(image.convert("RGB")) for image, *_ in found]
    return pixels, [str(label) for _, label, *_ in found]


def glyphs(data: Path, name: str) -> Pair:
    """Return MNIST or USPS."""
    pack = np.load(data / "digits_mnist_usps" / f"{name}.npz")
    pixels = np.concatenate([pack["x_train"], pack["x_test"]]).astype(np.float64)
    side = int(np.sqrt(np.prod(pixels.shape[1:])))
    pixels = np.round(pixels.reshape(-1, side, side) * (1 if pixels.max() > 1 else 255))
    labels = np.concatenate([pack["y_train"], pack["y_test"]]).astype(int)
    return list(pixels.astype(np.uint8)), [str(label) for label in labels]


def sounds(data: Path) -> Pair:
    """Return spoken digits as mean and spread of 32 bands of their log spectrum, float (64,)."""
    pack = np.load(data / "fsdd" / "audio.npz")
    cuts, features = pack["offsets"], []
    for start, end in pairwise(cuts):
        wave = np.zeros(max(end - start, 512))
        wave[: end - start] = pack["data"][start:end]
        frames = np.lib.stride_tricks.sliding_window_view(wave, 256)[::128] * np.hanning(256)
        power = np.log1p(np.abs(np.fft.rfft(frames))[:, 1:]).reshape(len(frames), 32, 4).mean(2)
        features.append(np.concatenate([power.mean(0), power.std(0)]).astype(np.float32))
    return features, [str(label) for label in pack["label"]]


def table(data: Path, name: str) -> pd.DataFrame:
    """Return a table of texts, labels and whatever else the set has."""
    if name == "adult":
        frame = pd.read_csv(data / "adult" / "adult.csv.gz")
        texts = frame.astype(str).agg(" ".join, axis=1) + " " + frame.index.astype(str)
        return frame.rename(columns={frame.columns[-1]: "label"}).assign(text=texts)
    if name == "amazon_4domains":
        frame = pd.read_json(data / name / "reviews.jsonl.gz", lines=True)
        return frame.drop(columns="split")
    parts = [pd.read_json(path, lines=True) for path in sorted((data / name).glob("*.jsonl"))]
    frame = pd.concat(parts, ignore_index=True)
    text = next(c for c in ("text", "sentence") if c in frame)
    return frame.rename(columns={text: "text"})


def some(pair: Pair, n: int, seed: int) -> Pair:
    rows = np.random.default_rng(seed).permutation(len(pair[0]))[:n]
    return [pair[0][i] for i in rows], [pair[1][i] for i in rows]


def read_table(frame: pd.DataFrame, **options: Any) -> Task:
    with tempfile.TemporaryDirectory() as folder:
        frame.to_csv(Path(folder) / "items.csv", index=False)
        return Task.read(Path(folder) / "items.csv", input="text", label="label", **options)


# ---- changes


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def cropped(image: Image.Image, share: float, random: np.random.Generator) -> Image.Image:
    """Cut a share off each side's length, at a random place."""
    width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
    left = int(random.integers(image.width - width + 1))
    top = int(random.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def scaled(image: Image.Image, factor: float) -> Image.Image:
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return image.resize(size, Image.Resampling.BICUBIC)


def image_changes(name: str) -> Iterator[tuple[str, str, Callable[[Image.Image, Any], Any]]]:
    """Yield kind, strength and change. What is below 30 pixels is compared exactly only."""
    is_small = name == "cifar10_small"
    of = "32 px image" if is_small else "image"
    yield f"{of}: exact", "copy *", lambda image, _: image
    for q in (90, 70, 50, 30, 10):
        star = " *" * (q >= 50)
        yield f"{of}: saved as JPEG", f"quality {q}{star}", lambda image, _, q=q: as_jpeg(image, q)
    for share in (0.01, 0.02, 0.04, 0.06):
        star = " *" * (share <= 0.02)
        change = lambda image, random, share=share: cropped(image, share, random)  # noqa: E731
        yield f"{of}: cropped", f"{share:.0%}{star}", change
    for factor in (0.25, 0.5, 0.75, 1.5, 2.0):
        star = " *" * (factor >= (1 if is_small else 0.5))
        change = lambda image, _, factor=factor: scaled(image, factor)  # noqa: E731
        yield f"{of}: rescaled", f"× {factor:g}{star}", change
    yield (
        f"{of}: all three",
        "2 %, × 0.5, quality 50",
        lambda image, random: as_jpeg(scaled(cropped(image, 0.02, random), 0.5), 50),
    )


def without_signs(text: str) -> str:
    """Drop punctuation, but not within numbers: 1.5 and 15 are no copies."""
    return re.sub(r"(?<!\d)[^\w\s$+<=>|~^`]|[^\w\s$+<=>|~^`](?!\d)", "", text)


def one_word_less(text: str, random: np.random.Generator) -> str:
    words = text.split()
    del words[int(random.integers(len(words)))]
    return " ".join(words) or "nothing"


TEXT_CHANGES: list[tuple[str, str, Callable[[str, np.random.Generator], str]]] = [
    ("text: exact", "copy *", lambda text, _: text),
    ("text: re-cased", "upper *", lambda text, _: text.upper()),
    ("text: re-cased", "title *", lambda text, _: text.title()),
    (
        "text: re-cased",
        "each letter by chance *",
        lambda text, random: "".join(c.upper() if random.random() < 0.5 else c for c in text),
    ),
    ("text: re-spaced", "doubled, line breaks *", lambda text, _: " \n ".join(text.split())),
    (
        "text: re-spaced",
        "none about punctuation *",
        lambda text, _: text.replace(" ,", ",").replace(" .", ".").replace(" '", "'"),
    ),
    ("text: punctuation", "added *", lambda text, _: f"“{text.replace(' ', ', ')}”!"),
    ("text: punctuation", "removed *", lambda text, _: without_signs(text)),
    (
        "text: punctuation",
        "all but letters and digits removed",
        lambda text, _: "".join(c for c in text if c.isalnum() or c.isspace()),
    ),
    ("text: all three", "upper, spaced, no signs *", lambda t, _: without_signs(t).upper() + " !"),
    ("text: one word less", "by chance", one_word_less),
]


def marked(
    pixels: np.ndarray[Any, Any], corner: int, size: float, opacity: float, pattern: Any
) -> np.ndarray[Any, Any]:
    """Blend a small picture into a corner, a hundredth of the side from the border."""
    height, width, _ = pixels.shape
    side, gap = max(2, round(size * min(height, width))), round(0.01 * min(height, width))
    top = gap if corner < 2 else height - side - gap
    left = gap if corner % 2 == 0 else width - side - gap
    stamp = Image.fromarray(pattern).resize((side, side), Image.Resampling.BOX)
    out = pixels.astype(np.float64)
    here = slice(top, top + side), slice(left, left + side)
    out[here] = (1 - opacity) * out[here] + opacity * np.asarray(stamp, np.float64)[..., None]
    return np.round(out).astype(np.uint8)


def stamp_of(random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Return a picture of 4 × 4 black and white squares, or a white disc on black."""
    if random.random() < 0.5:
        cells = random.permutation(np.repeat([0, 255], 8)).reshape(4, 4)
        return np.kron(cells, np.ones((16, 16))).astype(np.uint8)
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    return np.where(x**2 + y**2 < 0.7, 255, 0).astype(np.uint8)


# ---- planting


def drill_copies(
    pair: Pair, changes: list[tuple[str, str, Callable[[Any, Any], Any]]], seed: int, found: Found
) -> None:
    """Plant in training copies of test items, other items for each change."""
    random = np.random.default_rng(seed)
    cut = len(pair[0]) * 2 // 3
    train, test = (pair[0][:cut], pair[1][:cut]), (pair[0][cut:], pair[1][cut:])
    chosen = random.permutation(len(test[0]))[: COPIES * len(changes)]
    planted = [changes[k % len(changes)] for k in range(len(chosen))]
    added = [change(test[0][i], random) for i, (*_, change) in zip(chosen, planted, strict=True)]
    both = {"train": (train[0] + added, train[1] + [test[1][i] for i in chosen]), "test": test}
    clean = {"train": train, "test": test}
    kept, before = ({*Task.read(one).development.ids} for one in (both, clean))
    for place, (kind, strength, _) in enumerate(planted, start=cut):
        tally(found, kind, strength, (int(f"train {place}" not in kept), 1, 0))
    tally(found, "copies: clean items taken out", "none", (len(before - kept), len(before), 0))


def drill_images(data: Path, seeds: range, found: Found) -> None:
    for name, n in IMAGE_SETS.items():
        if not (data / name).is_dir():
            continue
        whole = images(data, name)
        for seed in seeds:
            pair = some(whole, n, seed)
            changes = [
                (kind, text, of_pixels(change)) for kind, text, change in image_changes(name)
            ]
            drill_copies(pair, changes, seed, found)
            drill_marks(pair, seed, found)


def of_pixels(change: Callable[[Image.Image, Any], Image.Image]) -> Callable[[Any, Any], Any]:
    return lambda pixels, random: np.asarray(change(Image.fromarray(pixels), random))


def drill_marks(pair: Pair, seed: int, found: Found) -> None:
    classes = sorted(set(pair[1]))
    for size, opacity, share in MARKS:
        random = np.random.default_rng([seed, round(1e4 * size * opacity * share)])
        corner, label = int(random.integers(4)), str(random.choice(classes))
        pattern = stamp_of(random)
        pixels = [
            marked(one, corner, size, opacity, pattern)
            if of == label and random.random() < share
            else one
            for one, of in zip(*pair, strict=True)
        ]
        said = Task.read((pixels, pair[1])).intake.leakage
        place = ("top left", "top right", "bottom left", "bottom right")[corner]
        hit = any(f"the {place} corner" in one and f"'{label}'" in one for one in said)
        star = " *" * (size >= 0.06 and opacity >= 0.5 and share >= 0.5)
        strength = f"{size:.0%} of the side, opacity {opacity}, {share:.0%} of a class{star}"
        tally(found, "corner mark", strength, (int(hit), 1, 0))


def drill_texts(data: Path, seeds: range, found: Found) -> None:
    for name in TEXT_SETS:
        if not (data / name).is_dir():
            continue
        frame = table(data, name)
        for seed in seeds:
            few = frame.sample(TEXTS, random_state=seed).reset_index(drop=True)
            pair = few["text"].tolist(), few["label"].astype(str).tolist()
            drill_copies(pair, TEXT_CHANGES, seed, found)
            drill_groups(few, seed, found)
            drill_columns(few, seed, found)


def drill_groups(frame: pd.DataFrame, seed: int, found: Found) -> None:
    """Give items groups that keep to one part, then let some be in both."""
    random = np.random.default_rng(seed)
    parts = np.repeat(["train", "test"], [len(frame) * 3 // 4, len(frame) - len(frame) * 3 // 4])
    own = np.where(parts == "test", random.integers(0, 25, len(parts)) + 75, 0)
    own = np.where(parts == "train", random.integers(0, 75, len(parts)), own)
    for n, strength in ((0, "none (clean twin)"), (1, "1 group of 100"), (5, "5"), (20, "20")):
        groups = own.copy()
        for one in random.permutation(25)[:n] + 75:
            groups[random.choice(np.flatnonzero(parts == "train"), 2)] = one
        names = pd.Series([f"p{g}" for g in groups])
        frame = frame.assign(split=parts)
        star = " *" * (n > 0)
        said = read_table(frame.assign(code=names), group="code").intake.leakage
        hit = any("in several parts" in one for one in said)
        tally(found, "group, named", strength + star, (int(hit), 1, 0))
        said = read_table(frame.assign(patient_id=names)).intake.leakage
        hit = any("looks like a group" in one for one in said)
        tally(found, "group, column patient_id not named", strength + star, (int(hit), 1, 0))
        said = read_table(frame.assign(code=names)).intake.leakage
        hit = any("'code'" in one for one in said)
        tally(found, "group, column code not named", strength, (int(hit), 1, 0))


def drill_columns(frame: pd.DataFrame, seed: int, found: Found) -> None:
    """Add a column that names the class of a share of the rows, and another class on the others."""
    random = np.random.default_rng(seed)
    classes, label = np.unique(frame["label"], return_inverse=True)
    honest = {
        "id": [f"{random.integers(1 << 60):x}" for _ in label],
        "row": np.argsort(np.argsort(label, kind="stable"), kind="stable"),
        "length": frame["text"].str.len(),
        "weight": random.normal(size=len(label)),
    }
    for n in (200, len(frame)):
        for purity in (0.7, 0.8, 0.9, 0.95, 1.0):
            other = (label + random.integers(1, len(classes), len(label))) % len(classes)
            told = np.where(random.random(len(label)) < purity, label, other)
            forms = {
                "categories": [f"site {one}" for one in told],
                "numbers": told + random.uniform(0, 0.9, len(told)),
            }
            for form, values in forms.items():
                said = read_table(frame.assign(**honest, source=values)[:n]).intake.leakage
                hit = any("column 'source' alone" in one for one in said)
                others = sum("column" in one and "'source'" not in one for one in said)
                star = " *" * (purity >= 0.8 and n > 200)
                strength = f"purity {purity}, {n} rows{star}"
                tally(found, f"column of {form}", strength, (int(hit), 1, others))
    rare = np.where(label == 0, "x", random.choice(["x", "y", "z"], len(label)))
    rare = np.where(label == 0, "x", np.where(rare == "x", "y", rare))
    if len(classes) > 2:
        said = read_table(frame.assign(**honest, source=rare)).intake.leakage
        hit = any("column 'source' alone" in one for one in said)
        tally(found, "column of categories", "tells 1 class of 4 *", (int(hit), 1, 0))


def drill_features(data: Path, seeds: range, found: Found) -> None:
    """Add to census rows, as arrays, a feature that is the class on a share of the rows."""
    if not (data / "adult").is_dir():
        return
    whole = arrays_of_adult(data)
    for seed in seeds:
        random = np.random.default_rng(seed)
        rows, labels = some(whole, 2000, seed)
        y = np.unique(labels, return_inverse=True)[1]
        for purity in (0.9, 0.95, 0.98, 0.99, 1.0):
            told = np.where(random.random(len(y)) < purity, y, 1 - y)
            planted = [np.append(row, one) for row, one in zip(rows, told, strict=True)]
            said = Task.read((planted, labels), kind="array").intake.leakage
            hit = any(one.startswith(f"feature {len(rows[0])} alone") for one in said)
            star = " *" * (purity >= 1)
            others = len(said) - hit
            tally(found, "feature of an array", f"purity {purity}{star}", (int(hit), 1, others))


def arrays_of_adult(data: Path) -> Pair:
    frame = pd.read_csv(data / "adult" / "adult.csv.gz")
    codes = [
        frame[c] if frame[c].dtype.kind in "if" else pd.factorize(frame[c])[0]
        for c in frame.columns[:-1]
    ]
    return list(np.stack(codes, axis=1).astype(np.float32)), frame[frame.columns[-1]].tolist()


def tally(found: Found, kind: str, strength: str, counts: tuple[int, int, int]) -> None:
    found[kind, strength] = [a + b for a, b in zip(found[kind, strength], counts, strict=True)]


# ---- clean sets


def clean_sets(data: Path) -> Iterator[tuple[str, Pair | pd.DataFrame]]:
    """Yield each set that is there, whole."""
    for name in (*IMAGE_SETS, "digits_mnist_usps", "fsdd", *TEXT_SETS, "adult"):
        if not (data / name).is_dir():
            continue
        if name in IMAGE_SETS:
            yield name, images(data, name)
        elif name == "digits_mnist_usps":
            yield "mnist", glyphs(data, "mnist")
            yield "usps", glyphs(data, "usps")
        elif name == "fsdd":
            yield "fsdd (spectrum)", sounds(data)
        else:
            yield name, table(data, name)
        if name == "pacs_small":
            for domain in ("photo", "art_painting", "cartoon", "sketch"):
                yield f"pacs_small {domain}", images(data, name, domain=domain)
        if name == "adult":
            yield "adult (arrays)", arrays_of_adult(data)


def clean(data: Path, seeds: range) -> list[dict[str, Any]]:
    """Return what each clean set and its subsamples raise."""
    found = []
    for name, whole in clean_sets(data):
        task = read_any(whole)
        row: dict[str, Any] = {
            "set": name,
            "items": len(task.development) + len(task.sealed),
            "repeated": task.intake.duplicates_within + task.intake.duplicates_removed,
            "alarms": [one for one in task.intake.leakage if " repeat" not in one],
            "subsamples": 0,
            "subsample_alarms": [],
        }
        for seed in seeds:
            for n in (200, 400):
                if n * 1.2 > row["items"]:
                    continue
                row["subsamples"] += 1
                said = read_any(drawn(whole, n, seed)).intake.leakage
                row["subsample_alarms"] += [one for one in said if " repeat" not in one]
        found.append(row)
        print(
            f"clean {name}, {row['items']} items: {row['repeated']} repeated, alarms "
            f"{row['alarms']}; {row['subsamples']} subsamples: {row['subsample_alarms']}",
            flush=True,
        )
    return found


def drawn(whole: Pair | pd.DataFrame, n: int, seed: int) -> Pair | pd.DataFrame:
    if isinstance(whole, pd.DataFrame):
        return whole.sample(n, random_state=seed)
    return some(whole, n, seed)


def read_any(whole: Pair | pd.DataFrame) -> Task:
    return read_table(whole) if isinstance(whole, pd.DataFrame) else Task.read(whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=3, help="seeds per set, from 1,000 on")
    parser.add_argument("--clean-seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--part", choices=("both", "planted", "clean"), default="both")
    parser.add_argument("--out", type=Path, default=Path("out/leakage.json"))
    asked = parser.parse_args()
    started = time.perf_counter()
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    found: Found = defaultdict(lambda: [0, 0, 0])
    if asked.part != "clean":
        drill_images(asked.data, seeds, found)
        drill_texts(asked.data, seeds, found)
        drill_features(asked.data, seeds, found)
    planted = [
        {"kind": kind, "strength": strength, "found": hit, "planted": n, "false": wrong}
        for (kind, strength), (hit, n, wrong) in found.items()
    ]
    for one in planted:
        print(
            f"{one['kind']}; {one['strength']}: {one['found']} of {one['planted']}"
            + f", beside {one['false']} false" * bool(one["false"])
        )
    draws = range(asked.first_seed, asked.first_seed + asked.clean_seeds)
    cleans = [] if asked.part == "planted" else clean(asked.data, draws)
    seconds = time.perf_counter() - started
    print(f"{seconds:.0f} s")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    result = {"planted": planted, "clean": cleans, "seconds": seconds, "seeds": list(seeds)}
    asked.out.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
