"""Records of studies that never ran, for tests of the report and for looking at it.

`python tests/report/sample_record.py FOLDER` writes the reports of all samples there.
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

HOSTILE = '<script>document.title="owned"</script>'
WITHOUT_TRANSFER = "control_without_transfer"
WITHOUT_FINE_TUNING = "control_without_fine_tuning"
FLOWERS = ("daisy", "dandelion", "rose", "sunflower", "tulip")

# key, title, role, validation value, seconds of a run, trained parameters, MMD², CKA
ARMS: tuple[tuple[str, str, str, float, float, int, float | None, float | None], ...] = (
    ("majority", "Majority class", WITHOUT_TRANSFER, 0.077, 0.02, 0, None, None),
    (
        "raw-logistic",
        "Raw input + logistic regression",
        WITHOUT_TRANSFER,
        0.412,
        1.9,
        3_845,
        None,
        None,
    ),
    ("centroid", "Nearest centroid", WITHOUT_FINE_TUNING, 0.861, 6.1, 0, None, None),
    ("knn", "k-nearest neighbours", WITHOUT_FINE_TUNING, 0.846, 6.2, 0, None, None),
    ("linear-probe", "Linear probe", WITHOUT_FINE_TUNING, 0.881, 7.4, 1_925, None, None),
    ("scratch", "From scratch", WITHOUT_TRANSFER, 0.563, 312.0, 22_058_117, None, None),
    ("lp-ft-upper", "LP-FT, upper half", "candidate", 0.906, 61.0, 10_652_933, 0.21, 0.91),
    ("finetune-upper", "Fine-tuning, upper half", "candidate", 0.889, 63.0, 10_652_933, 0.47, 0.71),
    ("lora", "LoRA", "candidate", 0.902, 118.0, 149_381, 0.18, 0.93),
    ("bottleneck", "Bottleneck adapters", "candidate", 0.897, 121.0, 303_173, 0.004, 0.99),
    ("gradual", "Gradual unfreezing", "candidate", 0.909, 196.0, 22_058_117, 0.33, 0.84),
    ("lp-ft", "LP-FT", "candidate", 0.918, 231.0, 22_058_117, 0.38, 0.81),
)


def interval(value: float, n: int, *, spread: float = 1.0) -> dict[str, Any]:
    """Return a score with a plausible interval."""
    half = spread * 1.96 * float(np.sqrt(max(value * (1 - value), 0.01) / n))
    return {
        "value": value,
        "low": max(value - half, 0.0),
        "high": min(value + half, 1.0),
        "n": n,
        "estimator": "bootstrap over items, 2000 resamples, percentile",
        "warning": None,
    }


def scores(value: float, n: int) -> dict[str, Any]:
    """Return all shown metrics around one value."""
    offsets = {"accuracy": 0.006, "balanced_accuracy": 0.002, "macro_f1": 0.0, "weighted_f1": 0.004}
    found = {name: interval(value + by, n) for name, by in offsets.items()}
    found["auroc"] = interval(min(0.5 + 0.55 * value, 0.995), n, spread=0.4)
    found |= {
        name: interval(by * (1 - value), n)
        for name, by in (("log_loss", 3.2), ("brier", 1.4), ("ece", 0.4))
    }
    return found


def lead(by: float, n: int, *, tie: bool) -> dict[str, Any]:
    """Return a paired comparison with the winner."""
    half = max(0.018, 0.3 * abs(by))
    p = 0.41 if tie else 0.0004
    return {
        "difference": by,
        "low": by - half,
        "high": by + half,
        "p": p,
        "p_adjusted": min(1.0, 3 * p),
        "n": n,
        "estimator": "paired bootstrap, 10000 resamples",
        "seeds": [3, 3],
        "tie": tie,
        "no_interval": None,
    }


def bare(value: float, n: int, why: str, *, seeds: Any = 1, how: str = "") -> dict[str, Any]:
    """Return a figure without an interval."""
    ends = {"low": None, "high": None, "no_interval": why}
    return {"value": value, **ends, "n": n, "seeds": seeds, "estimator": how, "warning": None}


def done_arm(row: tuple[Any, ...], best: float, winner: str) -> dict[str, Any]:
    """Return an arm that ran."""
    key, title, role, value, seconds, trained, mmd2, cka = row
    is_trained = role == "candidate" or key == "scratch"
    is_winner = key == winner
    seeds = 3 if value > best - 0.02 and is_trained else 1
    by = best - value
    return {
        "key": key,
        "protocol": key,
        "title": title,
        "role": role,
        "status": "done",
        "reason": "control: always runs"
        if role != "candidate"
        else "about 210 s for 3 learning rates",
        "run": f"{key}-81ce02",
        "runs": [f"{key}-81ce0{i}" for i in range(seeds)],
        "tuning_runs": [f"{key}-7{i}aa" for i in range(3)] if is_trained else [],
        "n_seeds": seeds,
        "settings": _settings(key) if is_trained else {"k": 5} if key == "knn" else {},
        "validation": scores(value, 440),
        "test": scores(value - 0.004, 550) if value > best - 0.04 or role != "candidate" else None,
        "seconds": seconds,
        "seconds_total": seconds * (4.6 if is_trained else 1.0),
        "estimated_seconds": seconds * 1.12,
        "costs": [_run_cost(f"{key}-81ce02", seconds, int(4e8 + trained * 14))]
        if is_trained
        else [],
        "peak_memory_bytes": int(4e8 + trained * 14),
        "joules": None,
        "examples_seen": 17_600 if is_trained else None,
        "activations": "cached views (4)" if is_trained else None,
        "labels_used": 2_200,
        "parameters_trained": trained,
        "parameters_total": 22_058_117 if role != WITHOUT_TRANSFER or key == "scratch" else 0,
        "convergence": {
            "step": 220,
            "seconds": seconds * 0.4,
            "of_steps": 550,
            "n": 10,
            "n_is": "evaluations",
            "seeds": 1,
            "estimator": "first evaluation on validation with 95 % of the run's gain in the metric",
            "no_interval": "read from the chosen run",
        }
        if is_trained
        else None,
        "movement": None
        if mmd2 is None
        else {"mmd2": mmd2, "p": 0.001 if mmd2 > 0.01 else 0.21, "cka": cka, "n": 440},
        "preflight": [
            "148 of 148 declared tensors are on the forward path, received gradient and moved",
            "0 frozen tensors moved",
            "batch normalisation: none; layer normalisation trains",
        ]
        if is_trained
        else [],
        "winner": is_winner,
        "versus_best": None if is_winner else lead(by, 440, tie=0 <= by < 0.017),
        "versus_best_test": None if is_winner else lead(by - 0.003, 550, tie=0 <= by < 0.02),
    }


def _run_cost(run: str, seconds: float, peak: int) -> dict[str, Any]:
    """Return a run that took a tenth less than predicted; a long one a third more."""
    return {
        "run": run,
        "predicted_seconds": seconds * (1.1 if seconds < 200 else 0.7),
        "seconds": seconds,
        "predicted_memory_bytes": int(0.9 * peak),
        "peak_memory_bytes": peak,
        "dropped_at": None,
    }


def _settings(key: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "learning_rate": 3e-4,
        "schedule": "cosine",
        "epochs": 10,
        "batch_size": 32,
        "from_depth": 0.5 if key.endswith("upper") else 0.0,
        "head_start": "probe",
    }
    return {**found, "lora": {"rank": 8, "alpha": 16, "dropout": 0.0}} if key == "lora" else found


def idle_arm(key: str, title: str, status: str, reason: str) -> dict[str, Any]:
    """Return an arm that was skipped or failed."""
    arm = done_arm((key, title, "candidate", 0.5, 1.0, 0, None, None), 0.9, "")
    nothing = (
        "run",
        "validation",
        "test",
        "seconds",
        "peak_memory_bytes",
        "parameters_trained",
        "versus_best",
        "versus_best_test",
        "convergence",
        "labels_used",
    )
    return {
        **arm,
        **dict.fromkeys(nothing),
        "status": status,
        "reason": reason,
        "runs": [],
        "tuning_runs": [],
        "costs": [],
        "n_seeds": 0,
        "preflight": [],
        "estimated_seconds": 1260.0,
        "seconds_total": 0.0,
    }


def curve(
    key: str, title: str, value: float, seconds: float, rng: np.random.Generator
) -> dict[str, Any]:
    """Return a learning curve that ends near a value."""
    points = []
    for epoch in range(1, 11):
        gone = 1 - np.exp(-epoch / (4.5 if key == "scratch" else 1.8))
        metric = value * (0.55 + 0.45 * gone) + rng.normal(0, 0.006)
        loss = (
            (1.6 if key == "scratch" else 0.7) * np.exp(-epoch / 4)
            + 0.06
            + abs(rng.normal(0, 0.01))
        )
        points.append(
            {
                "step": 55 * epoch,
                "epoch": float(epoch),
                "seconds": seconds * epoch / 10,
                "train_loss": float(loss),
                "metric": float(metric),
            }
        )
    return {"run": f"{key}-81ce00", "protocol": key, "label": title, "points": points}


def confusion(
    n_classes: int, n: int, accuracy: float, rng: np.random.Generator
) -> np.ndarray[Any, Any]:
    """Return counts; neighbouring classes are mixed up most."""
    counts = np.zeros((n_classes, n_classes), int)
    for label in rng.integers(0, n_classes, n):
        right = rng.random() < accuracy
        other = (label + rng.choice([1, 1, 1, 2, n_classes - 1])) % n_classes
        counts[label, label if right else other] += 1
    return counts


def per_class(classes: tuple[str, ...], counts: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of counts."""
    found = []
    for i, name in enumerate(classes):
        right, named, n = int(counts[i, i]), int(counts[:, i].sum()), int(counts[i].sum())
        precision, recall = right / max(named, 1), right / max(n, 1)
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        found.append({"label": name, "precision": precision, "recall": recall, "f1": f1, "n": n})
    return found


def reliability(rng: np.random.Generator) -> dict[str, Any]:
    """Return an overconfident winner, and the same after temperature scaling."""

    def bins(excess: float) -> list[dict[str, Any]]:
        found = []
        for i in range(15):
            low, high = i / 15, (i + 1) / 15
            n = 0 if i < 3 else int(2 + 1.45 ** (i - 2) * (1.2 if excess > 0.05 else 1.0))
            middle = (low + high) / 2
            right = float(np.clip(middle - excess * (1 - middle) * 2.2 + rng.normal(0, 0.02), 0, 1))
            filled = n > 0
            found.append(
                {
                    "low": low,
                    "high": high,
                    "n": n,
                    "confidence": middle if filled else None,
                    "accuracy": round(right * n) / n if filled else None,
                }
            )
        return found

    return {
        "bins": bins(0.16),
        "bins_calibrated": bins(0.01),
        "ece": interval(0.061, 550, spread=0.5),
        "ece_calibrated": interval(0.019, 550, spread=0.3),
        "temperature": 1.62,
    }


def flower(place: int, rng: np.random.Generator) -> str:
    """Return a drawn flower as a data address."""
    image = Image.new("RGB", (160, 120), tuple(int(v) for v in rng.integers(40, 130, 3)))
    draw = ImageDraw.Draw(image)
    colour = [(255, 255, 255), (250, 210, 40), (200, 30, 60), (240, 170, 20), (220, 80, 150)][
        place % 5
    ]
    centre = (60 + int(rng.integers(0, 40)), 45 + int(rng.integers(0, 30)))
    draw.line((*centre, centre[0] + 6, 120), fill=(60, 120, 50), width=5)
    for angle in np.linspace(0, 2 * np.pi, 9)[:-1]:
        x, y = centre[0] + 26 * np.cos(angle), centre[1] + 26 * np.sin(angle)
        draw.ellipse((x - 14, y - 14, x + 14, y + 14), fill=colour)
    draw.ellipse(
        (centre[0] - 13, centre[1] - 13, centre[0] + 13, centre[1] + 13), fill=(110, 70, 20)
    )
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def label_efficiency() -> dict[str, Any]:
    """Return four arms at five budgets, of which scratch catches up."""
    values = {
        "lp-ft": ("LP-FT", (0.69, 0.83, 0.92, 0.96, 0.97)),
        "linear-probe": ("Linear probe", (0.67, 0.80, 0.89, 0.93, 0.95)),
        "scratch": ("From scratch", (0.57, 0.70, 0.85, 0.94, 0.97)),
        "raw-logistic": ("Raw input + logistic regression", (0.68, 0.78, 0.85, 0.90, 0.92)),
    }
    return {
        "metric": "macro_f1",
        "title": "macro-F1",
        "arms": [
            {
                "protocol": key,
                "title": title,
                "points": [
                    {"labels_per_class": b, "n_labels": 5 * b, "seeds": 3, **interval(value, 550)}
                    for b, value in zip((1, 2, 5, 10, 20), found, strict=True)
                ],
            }
            for key, (title, found) in values.items()
        ],
        "note": "Protocol, learning rate and number of steps are those of the ladder; all labels "
        "train, none is held out. Scored on the sealed part in the one final opening.",
    }


def for_whom(columns: dict[str, dict[str, float]], metric: str = "macro_f1") -> dict[str, Any]:
    """Return the question for whom: each group's value, and what scratch makes of it."""

    def bars(key: str, title: str, column: dict[str, float], by: float) -> dict[str, Any]:
        found = [{"group": g, **interval(v + by, 275)} for g, v in column.items()]
        return {"protocol": key, "title": title, "role": "candidate", "groups": found}

    answers = [
        {"name": f"{column} = {group}", **interval(value, 275), "text": f"{value:.3f}"[1:]}
        for column, found in columns.items()
        for group, value in found.items()
    ]
    drawn = [
        {
            "column": name,
            "arms": [
                bars("lp-ft", "LP-FT", column, 0.0),
                bars("scratch", "From scratch", column, -0.3),
            ],
        }
        for name, column in columns.items()
    ]
    return {
        "key": "groups",
        "question": "For whom?",
        "answers": answers,
        "figure": {"metric": metric, "columns": drawn},
    }


def hold_up() -> dict[str, Any]:
    """Return the question of robustness: three corruptions, two severities."""

    def cell(value: float) -> dict[str, Any]:
        return {**interval(value, 256), "seeds": 3}

    kinds = {"gaussian_noise": 0.78, "fog": 0.61, "jpeg": 0.85}
    rows = [
        {
            "name": name,
            "severities": [
                {"severity": severity, **cell(value - 0.09 * severity)} for severity in (1, 3, 5)
            ],
        }
        for name, value in kinds.items()
    ]
    worst = {"name": "the worst corruption", "value": 0.34, "n": 256, "estimator": "lowest of 3"}
    return {
        "key": "hold_up",
        "question": "Does it hold up?",
        "answers": [worst | {"text": "fog, .340"}],
        "figure": {
            "arm": "LP-FT",
            "metric": "accuracy",
            "clean": cell(0.92),
            "corruptions": rows,
        },
    }


def helped() -> dict[str, Any]:
    """Return the question whether it helped: over all controls but the probe, where it is open."""

    def row(control: str, by: float, of: float, text: str, *, tie: bool = False) -> dict[str, Any]:
        return {
            "name": f"LP-FT over {control}",
            **lead(by, 550, tie=tie),
            "relative_gain_percent": 100 * by / of,
            "behind": {
                "relative_gain_percent": bare(
                    100 * by / of, 550, "the control's own value is uncertain too", seeds=[3, 3]
                ),
                "value_of_control": {**interval(of, 550), "seeds": 3},
            },
            "remark": None,
            "text": f"{text}, +{100 * by / of:.0f} % of {of:.3f}".replace("0.", "."),
        }

    best = "the best control without transfer on validation"
    undecided = "undecided, fine-tuning is not shown to be better"
    return {
        "key": "help",
        "question": "Did transfer help?",
        "answers": [
            row("Raw input + logistic regression", 0.506, 0.408, "helped"),
            row("From scratch", 0.355, 0.559, "helped") | {"beside": best},
            row("Linear probe", 0.012, 0.902, undecided, tie=True),
            row("k-nearest neighbours", 0.072, 0.842, "fine-tuning helped"),
        ],
        "figure": None,
    }


def trusted() -> dict[str, Any]:
    """Return the question of calibration: an estimate without an interval, before and after."""

    def point(value: float) -> dict[str, Any]:
        why = "no interval of this estimate has been measured to hold"
        return bare(value, 550, why, how="15 bins of equal count")

    row = {
        "name": "ECE of equal count",
        "measure": "ece_equal_mass",
        **point(0.058),
        "after": {"temperature": point(0.021), "vector_scaling": point(0.024)},
        "text": ".058",
        "beside": ".021 after one temperature, .024 after a factor and an offset per class",
        "remark": None,
    }
    return {
        "key": "trust",
        "question": "Can its confidence be trusted?",
        "answers": [row],
        "figure": None,
    }


def far() -> dict[str, Any]:
    """Return the question how far data and source lie apart: told apart, by their means."""

    def row(name: str, value: float, text: str, **more: Any) -> dict[str, Any]:
        told = bare(value, 550, "no interval of it has been measured to hold", seeds=0, how=name)
        full = f"{name}, features of facebook/dinov2-small"
        return {"name": full, **told, "n_source": 300, "text": text, **more}

    law = {"one_law": bare(74.4, 550, "no interval of it has been measured to hold", seeds=0)}
    beside = {"one_law": 74.4, "behind": law, "beside": "74.400 were both of one law"}
    return {
        "key": "far",
        "question": "How far is the data from the source?",
        "answers": [
            row("MMD²", 0.02, ".020: told apart from the source, p = .002", p_apart=0.002),
            row("proxy A-distance", 1.4, "1.400 (0: not told apart, 2: always)"),
            row("Fréchet distance", 131.2, "131.200", **beside),
        ],
        "figure": None,
    }


def image_record() -> dict[str, Any]:
    """Return a study of photographs: LP-FT recommended and confirmed, some arms skipped "
    "or failed."""
    rng = np.random.default_rng(7)
    arms = [done_arm(row, 0.918, "lp-ft") for row in ARMS]
    arms += [
        idle_arm(
            "full",
            "Full fine-tuning",
            "skipped",
            "3 learning rates of 10 epochs need about 1260 s; 402 s are left beside the "
            "reserve for repetitions",
        ),
        idle_arm(
            "my-lora",
            "my-lora.yaml",
            "failed",
            "loss became NaN at step 37 with learning rate 0.003; the runs with smaller "
            "rates did too",
        ),
    ]
    curves = [
        curve(r[0], r[1], r[3], r[4], rng) for r in ARMS if r[2] == "candidate" or r[0] == "scratch"
    ]
    counts = confusion(5, 550, 0.92, rng)
    return {
        "schema": 1,
        "study": _study(),
        "verdict": {
            "kind": "recommend",
            "confirmed": True,
            "sentence": "LP-FT on dinov2-small: macro-F1 .914 [.891, .937], +.034 over "
            "the best control, "
            "4 min; Gradual unfreezing ties.",
            "reasons": [
                "LP-FT has the best macro-F1 on 440 validation items",
                "ties: Gradual unfreezing, LP-FT, upper half, LoRA",
            ],
        },
        "target": {
            "text": "macro_f1>=0.9",
            "status": "undecided",
            "clauses": [
                {
                    "text": "macro_f1>=0.9",
                    "value": 0.914,
                    "low": 0.891,
                    "high": 0.937,
                    "status": "undecided",
                    "n": 550,
                    "estimator": "Wilson score interval of 550 effective items",
                    "warning": None,
                    "more_labels": 2412,
                    "says": "undecided: about 2,500 more test labels would decide it",
                }
            ],
        },
        "questions": [
            helped(),
            far(),
            trusted(),
            for_whom(
                {
                    "light": {"shade": 0.861, "sun": 0.942},
                    "camera": {"phone": 0.91, "(missing)": 0.88},
                }
            ),
            hold_up(),
        ],
        "task": _task("image", FLOWERS, rng),
        "arms": arms,
        "curves": curves,
        "best": {
            "run": "lp-ft-81ce00",
            "protocol": "lp-ft",
            "graft": "~/.local/share/regraft/grafts/3f9a17c2",
            "backbone": "facebook/dinov2-small",
            "part": "test",
            "classes": list(FLOWERS),
            "confusion": counts.tolist(),
            "per_class": per_class(FLOWERS, counts),
            "reliability": reliability(rng),
            "mistakes": [
                {
                    "item": f"test/{FLOWERS[i % 5]}/{1402 + 37 * i}_a5f20c.jpg",
                    "text": None,
                    "image": flower(i, rng),
                    "label": FLOWERS[i % 5],
                    "predicted": FLOWERS[(i + 1 + i // 5) % 5],
                    "confidence": 0.99 - 0.017 * i,
                }
                for i in range(12)
            ],
            "proof": {
                "items": 32,
                "largest_difference": 2.4e-7,
                "metric": "macro_f1",
                "value": 0.93,
            },
        },
        "label_efficiency": label_efficiency(),
        "decisions": [
            {"seq": i, "key": f"admit:{arm['key']}", "text": arm["reason"]}
            for i, arm in enumerate(arms)
        ],
        "configuration": "task:\n  data: flowers5/\n  metric: macro_f1\n  target: "
        "macro_f1>=0.9\nbackbones:\n"
        "- facebook/dinov2-small@ed25f3a\nbudget: 1800.0\nprotocols:\n- ladder\n- "
        "my-lora.yaml\nseed: 0\nseeds: 3\n",
        "reproduce": ["regraft verify lp-ft-81ce00", "regraft report 3f9a17c2"],
        "test_openings": 1,
    }


def _study() -> dict[str, Any]:
    versions = {
        "regraft": "0.1.0",
        "torch": "2.13.0",
        "transformers": "5.3.1",
        "peft": "0.19.1",
        "python": "3.11.14",
    }
    return {
        "id": "3f9a17c2",
        "name": "flowers",
        "created": "2026-03-14T09:26:53+00:00",
        "seconds": 1544.0,
        "budget_seconds": 1800.0,
        "backbone": "facebook/dinov2-small",
        "data": "flowers5/",
        "backbone_notes": [
            "images of 224 × 224 pixels, as in pretraining",
            "12 blocks, cut exactly",
        ],
        "metric": "macro_f1",
        "higher_is_better": True,
        "seed": 0,
        "precision": "fp32",
        "device": "cpu",
        "threads": 2,
        "versions": versions,
    }


def _task(kind: str, classes: tuple[str, ...], rng: np.random.Generator) -> dict[str, Any]:
    counts = np.sort(rng.integers(90, 700, len(classes)))[::-1]
    noise = [
        {
            "item": f"train/{classes[i % len(classes)]}/{77 * (i + 1)}.jpg",
            "label": classes[i % len(classes)],
            "suggested": classes[(i + 1) % len(classes)],
            "confidence": 0.99 - 0.01 * i,
        }
        for i in range(6)
    ]
    return {
        "kind": kind,
        "source": "image folder flowers5/",
        "n_train": int(counts.sum()),
        "n_validation": 440,
        "n_test": 550,
        "classes": [
            {"label": c, "train": int(n), "validation": int(n) // 4}
            for c, n in zip(classes, counts, strict=True)
        ],
        "imbalance": float(counts.max() / counts.min()),
        "split": "val becomes the sealed test; 20 % of train validate, stratified",
        "folds": 1,
        "duplicates": {"within": 14, "across": 3, "removed": 3},
        "leakage": [],
        "skipped": 2,
        "skipped_items": [
            "train/rose/broken.jpg: truncated after 1,024 bytes",
            "train/tulip/empty.jpg: empty file",
        ],
        "converted": {"CMYK to RGB": 4, "rotated as EXIF says": 19},
        "sizes": {"width": [159, 320, 1024], "height": [120, 240, 768]}
        if kind == "image"
        else None,
        "lengths": {"words": [2, 17, 61]} if kind == "text" else None,
        "label_noise": {
            **interval(0.021, 2200),
            "items": noise,
            "estimator": "5-fold linear probe",
        },
        "diversity": {"value": 48.3, "estimator": "effective rank of the pooled features"},
        "notes": [
            "class folders taken as labels",
            "no group column: photographs of one plant may straddle parts",
        ],
    }


def text_record() -> dict[str, Any]:
    """Return a study of sentences, where fine-tuning does not pay and the test part disagrees."""
    rng = np.random.default_rng(11)
    record = image_record()
    classes = ("negative", "positive")
    texts = (
        "A gorgeous, witty, seductive movie — if you sleep through the first hour, as I "
        "did, twice.",
        "It's not that the film is bad, exactly; it's that it never decides what it wants "
        "to be, and by the "
        "time it has, the audience has decided for it. " * 3,
        "so much facile technique, such cute ideas, so little movie.",
        f'{HOSTILE} & <b>bold</b> claims, "quotes", $E=mc^2$ and %{{y}} %{{customdata[0]}}',
        "unflinchingly bleak and desperate",
        "日本語のレビュー：とても良い映画でした。" * 4,
    )
    counts = confusion(2, 872, 0.86, rng)
    for arm in record["arms"]:
        arm["winner"] = arm["key"] == "linear-probe"
        if arm["status"] == "done" and not arm["winner"]:
            arm["versus_best"] = arm["versus_best"] or lead(-0.01, 400, tie=True)
        else:
            arm["versus_best"] = None
    record["study"] |= {
        "name": "reviews",
        "data": "reviews.csv",
        "backbone": "sentence-transformers/all-MiniLM-L6-v2",
    }
    record["verdict"] = {
        "kind": "do_not_fine_tune",
        "confirmed": False,
        "sentence": "Do not fine-tune: Linear probe on all-MiniLM-L6-v2: macro-F1 .857 "
        "[.834, .880], "
        "+.112 over the best control without transfer, 7 s. NOT CONFIRMED on the sealed test part.",
        "reasons": [
            "LP-FT has the best macro-F1 on 400 validation items, but Linear probe cannot "
            "be told apart from it "
            "(−.010, p = 0.21) and is cheaper or needs no fine-tuning"
        ],
    }
    record["target"] = {"text": "accuracy>=0.9", "status": "not_met", "clauses": []}
    record["task"] = _task("text", classes, rng)
    record["best"] |= {
        "classes": list(classes),
        "confusion": counts.tolist(),
        "per_class": per_class(classes, counts),
        "mistakes": [
            {
                "item": f"reviews.csv:{813 + 91 * i}",
                "text": text,
                "image": None,
                "label": classes[i % 2],
                "predicted": classes[(i + 1) % 2],
                "confidence": 0.98 - 0.03 * i,
            }
            for i, text in enumerate(texts)
        ],
    }
    record["label_efficiency"] = None
    record["test_openings"] = 3
    return record


def many_classes_record() -> dict[str, Any]:
    """Return a study of 100 classes with long and hostile names, where transfer does not pay."""
    rng = np.random.default_rng(13)
    record = image_record()
    classes = tuple(
        [
            HOSTILE,
            '"><img src=x onerror=alert(1)>',
            "a very long class name that somebody typed into a spreadsheet " * 2,
        ]
        + [f"species_{i:03d} {'longifolia ' * (i % 4)}".strip() for i in range(97)]
    )
    counts = confusion(100, 3000, 0.7, rng)
    for arm in record["arms"]:
        arm["winner"] = arm["key"] == "scratch"
        arm["movement"] = None
    record["arms"][0]["title"] = HOSTILE
    record["study"] |= {
        "name": HOSTILE,
        "data": f"/data/{HOSTILE}/" + "deeply/nested/" * 9,
        "backbone": "python:examples/very_long_module_path/squeezenet.py:factory@weights/sq"
        "ueezenet1_1.safetensors",
    }
    record["verdict"] = {
        "kind": "do_not_transfer",
        "confirmed": None,
        "sentence": "Do not transfer: From scratch: macro-F1 .701 [.684, .718], 5 min. "
        "The sealed test part leaves it undecided.",
        "reasons": ["From scratch has the best macro-F1 on 440 validation items"],
    }
    record["target"] = None
    long = {f"greenhouse {i} {'north ' * i}".strip(): 0.7 + 0.01 * i for i in range(12)}
    record["questions"] = [for_whom({HOSTILE: {HOSTILE: 0.4, **long}})]
    record["task"] = _task("image", classes, rng) | {
        "leakage": ["412 test items share the group 'greenhouse 3' with training"],
        "label_noise": None,
        "diversity": None,
        "sizes": None,
        "converted": {},
    }
    record["best"] |= {
        "classes": list(classes),
        "confusion": counts.tolist(),
        "per_class": per_class(classes, counts),
    }
    for i, one in enumerate(record["best"]["mistakes"]):
        one |= {
            "label": classes[i],
            "predicted": classes[(i + 1) % 100],
            "item": f"test/{classes[i]}/1.jpg",
        }
    return record


def gated_record() -> dict[str, Any]:
    """Return the study of photographs with four ingredients, of which one was kept."""
    record = image_record()
    rows = [
        ("augmented", "Mine", 0.911),
        ("smoothed", f"Mine {HOSTILE}", 0.884),
        ("plain", "Mine without light augmentation", 0.882),
    ]
    arms = [done_arm((k, t, "candidate", v, 70.0, 9, 0.1, 0.9), 0.918, "") for k, t, v in rows]
    for arm in arms:
        arm["versus_best"]["tie"] = False
    lost = idle_arm("lost", "Lost", "eliminated", "dropped out after 20 of 42 steps")
    idle = idle_arm("idle", "Idle", "skipped", "its off-switch, plain, does not run")
    record["arms"] += [*arms, lost, idle]
    figures = tuple(lead(0.0, 1, tie=True))
    nothing = dict.fromkeys(figures)
    kept, dropped = lead(0.029, 440, tie=False), lead(0.002, 440, tie=True)
    gates = [
        ("augmented", "light augmentation", kept, True, "kept: light augmentation beat its"),
        ("smoothed", "label smoothing 0.1", dropped, False, "dropped: label smoothing 0.1 did not"),
        ("lost", "dropout 0.2", nothing, False, "dropped: dropout 0.2, as Lost dropped out"),
        ("idle", "weight decay 0.1", nothing, False, "not judged: weight decay 0.1, as Idle was"),
    ]
    record["gates"] = [
        {"protocol": key, "ingredient": ingredient, "off": "plain"}
        | {name: one[name] for name in figures}
        | {"passed": passed, "text": text}
        for key, ingredient, one, passed, text in gates
    ]
    return record


def bare_record() -> dict[str, Any]:
    """Return a record in which every part that may be missing is missing."""
    record = image_record()
    record["arms"] = [
        arm
        | {
            "movement": None,
            "test": None,
            "versus_best": None,
            "versus_best_test": None,
            "convergence": None,
            "peak_memory_bytes": None,
            "settings": {},
            "preflight": [],
        }
        for arm in record["arms"]
        if arm["key"] in {"majority", "lp-ft"}
    ]
    record["best"] = None
    return record | {
        "target": None,
        "task": None,
        "questions": [],
        "curves": [],
        "label_efficiency": None,
        "decisions": [],
        "reproduce": [],
        "configuration": "",
        "test_openings": None,
    }


SAMPLES = {
    "image": image_record,
    "gated": gated_record,
    "text": text_record,
    "many-classes": many_classes_record,
    "bare": bare_record,
}


if __name__ == "__main__":
    from regraft.report.page import write_report

    for name, make in SAMPLES.items():
        write_report(make(), Path(sys.argv[1]) / f"{name}.html")
