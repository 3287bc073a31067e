"""Grafts kept after one task and the next, on the items of both, from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from made_grafts import digits, films, made
from regraft.cli import main
from regraft.deploy.predictor import GraftPredictor
from regraft.ledger.grafts import write_graft
from regraft.tasks.images import decode
from regraft.tasks.labelled import read_labelled
from regraft.tasks.task import Task
from small_backbones import bert_config, save_text

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return graft and data of digits, then of the same in white on black, as arguments."""
    folder = tmp_path_factory.mktemp("tasks")
    items, names = read_labelled("zoo:digits", kind="image", allow_bad=False)
    for i in range(0, 400):
        name = names[items.labels[i]]
        part = "test" if i % 2 else "train"
        place = folder / "turned" / part / name
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - decode(items.inputs[i])[0]).save(place / f"{i}.png")
    turned = Task.read(folder / "turned", metric="accuracy").with_label_budget(8, seed=0)
    found = []
    for name, task in (("first", digits()), ("second", turned)):
        graft, _ = made("probe", task, "zoo:glyphs")
        found.append(str(write_graft(folder / name, graft)))
    return [found[0], "zoo:digits", found[1], str(folder / "turned")]


@pytest.fixture
def shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[Any, str, str]]:
    def run(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["regraft", "sequence", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def test_each_graft_is_asked_for_every_task(tasks: list[str], shown: Callable[..., Any]) -> None:
    code, out, _ = shown(*tasks, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["tasks"] == ["zoo:digits", "turned"]
    for i, graft in enumerate(tasks[::2]):
        for j, data in enumerate(tasks[1::2]):
            items, names = read_labelled(data, kind="image", allow_bad=False, test_only=True)
            said = GraftPredictor.load(graft).predict(items)
            known = np.mean([a == names[b] for a, b in zip(said, items.labels, strict=True)])
            assert found["scores"][i][j]["value"] == pytest.approx(known)
            assert found["scores"][i][j]["n"] == len(items)
    assert found["scores"][1][1]["n"] == 200  # those of the test part
    lost = found["scores"][0][0]["value"] - found["scores"][1][0]["value"]
    assert found["summaries"]["forgetting"]["value"] == pytest.approx(lost)
    code, out, _ = shown(*tasks)
    assert code == 0
    assert all(word in out for word in ("turned", "forgetting", "most frequent class"))


def test_what_does_not_belong_together_is_refused(
    tasks: list[str], shown: Callable[..., Any], tmp_path: Path
) -> None:
    code, _, err = shown(*tasks[:3])
    assert (code, "3 given" in err) == (2, True)
    bert = str(save_text(tmp_path / "bert", bert_config()))
    graft, _ = made("probe", films(), bert)
    text = str(write_graft(tmp_path / "text", graft))
    code, _, err = shown(*tasks[:2], text, tasks[3])
    assert (code, "takes texts" in err) == (2, True)
    other = tmp_path / "other"
    for name in ("cat", "dog"):
        (other / name).mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(other / name / "a.png")
        Image.fromarray(np.full((8, 8, 3), 99, np.uint8)).save(other / name / "b.png")
    code, _, err = shown(*tasks[:3], str(other))
    assert (code, "none of those of" in err) == (2, True)
