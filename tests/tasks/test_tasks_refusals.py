from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from regraft.errors import DataError
from regraft.tasks.inputs import read_inputs
from regraft.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import WritePhotos


def refused(data: Any, message: str, **wishes: Any) -> None:
    """Check that reading ends in one sentence or two, that names the place and matches."""
    with pytest.raises(DataError, match=message) as caught:
        Task.read(data, **wishes)
    assert caught.value.where
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))


def lines(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def rows(n: int, *, label: str = "{i}") -> list[str]:
    return [f"text number {i},{label.format(i=i, half=i % 2)}" for i in range(n)]


def test_a_missing_path(tmp_path: Path) -> None:
    refused(tmp_path / "gone", r"gone: there is no such file or folder. Check the path")


def test_an_empty_folder(tmp_path: Path) -> None:
    refused(tmp_path, r"the folder is empty. Give one that holds data")


def test_a_folder_without_images_or_tables(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    lines(tmp_path / "sub" / "readme.txt", "nothing")
    refused(tmp_path, r"no images in it. Give a folder with a folder of images per class")


def test_images_that_lie_in_no_class_folder(write_photos: WritePhotos) -> None:
    refused(write_photos({"a": 3}) / "a", r"its images do not lie in a folder per class")


def test_a_test_folder_without_a_train_folder(write_photos: WritePhotos) -> None:
    data = write_photos({"test/a": 3, "test/b": 3})
    refused(data, r"it has test but no train folder. Add one")


def test_a_file_of_an_unknown_kind(tmp_path: Path) -> None:
    refused(lines(tmp_path / "data.xlsx", "x"), r"files of kind \.xlsx cannot be read. Give \.csv")


def test_one_class(write_photos: WritePhotos) -> None:
    refused(write_photos({"ants": 9}), r"only one class \('ants'\), so there is nothing to tell")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (
            {"a": 20, "b": 1},
            r"class 'b' has 1 item; to train, validate and test, each class needs 3",
        ),
        ({"a": 20, "b": 2}, r"class 'b' has 2 items; to train, validate and test"),
        (
            {"train/a": 20, "train/b": 1, "test/a": 3, "test/b": 3},
            r"class 'b' has 1 item to train on; to train and validate, each class needs 2",
        ),
    ],
)
def test_a_class_too_small_where_regraft_makes_the_split(
    write_photos: WritePhotos, counts: dict[str, int], message: str
) -> None:
    refused(write_photos(counts), message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"none of its 6 items can be used; the first is a/0\.png: the file is empty"),
        (b"GIF89a but no more", r"the first is a/0\.png: (not an image|the image is damaged)"),
        (None, r"the first is a/0\.png: the image is damaged"),
    ],
    ids=["empty", "unreadable", "truncated"],
)
def test_images_that_are_all_bad(
    write_photos: WritePhotos, content: bytes | None, message: str
) -> None:
    data = write_photos({"a": 3, "b": 3})
    for file in data.rglob("*.png"):
        file.write_bytes(file.read_bytes()[:80] if content is None else content)
    refused(data, message)
    refused(data, message, allow_bad=True)


def test_more_than_one_bad_image_in_a_hundred(write_photos: WritePhotos) -> None:
    data = write_photos({"a": 50, "b": 49})
    (data / "a" / "5.png").write_bytes(b"")
    refused(
        data, r"1 of 99 items cannot be used \(more than 1 %\); the first is a/5\.png: the file"
    )


def test_a_test_part_of_bad_images(write_photos: WritePhotos) -> None:
    data = write_photos({"train/a": 5, "train/b": 5, "test/a": 1, "test/b": 1})
    for file in (data / "test").rglob("*.png"):
        file.write_bytes(b"")
    refused(data, r"no item of the test part can be used", allow_bad=True)


def test_an_image_of_thirty_thousand_pixels_square(
    write_photos: WritePhotos, hollow_png: Callable[[int], bytes]
) -> None:
    data = write_photos({"a": 5, "b": 5})
    (data / "a" / "poster.png").write_bytes(hollow_png(30_000))
    refused(data, r"a/poster\.png: 900,?000,?000 pixels are too many; at most 80 megapixels")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_text_file_that_is_not_utf8(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"latin{suffix}"
    path.write_bytes("text,label\ncafé,a\n".encode("latin-1"))
    refused(path, r"byte 14 is not UTF-8. Save the file as UTF-8")


def test_a_ragged_csv(tmp_path: Path) -> None:
    path = lines(tmp_path / "r.csv", "text,label", "fine,a", "a, comma too many,b", "fine,b")
    refused(path, r"r\.csv, line 3: 3 fields instead of 2. Quote texts that hold the delimiter")


def test_a_csv_whose_quote_never_ends(tmp_path: Path) -> None:
    path = lines(tmp_path / "q.csv", "text,label", '"never ends,a', "fine,b")
    refused(path, r"q\.csv, line 2: not a well-formed table")


@pytest.mark.parametrize("content", ["", "text,label\n"])
def test_a_table_without_rows(tmp_path: Path, content: str) -> None:
    path = tmp_path / "e.csv"
    path.write_text(content, encoding="utf-8")
    refused(path, r"e\.csv: the table has no rows")


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    refused(
        lines(tmp_path / "t.csv", "text,text,label", "a,b,c"), r"two columns have the same name"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "x", ', r"line 2: not JSON"),
        ('["x", "a"]', r"line 2: not an object"),
        ("[" * 100_000, r"line 2: not JSON"),
    ],
    ids=["cut", "list", "deep"],
)
def test_jsonl_that_is_no_jsonl(tmp_path: Path, line: str, message: str) -> None:
    refused(lines(tmp_path / "t.jsonl", '{"text": "x", "label": "a"}', line), message)


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    refused(lines(tmp_path / "t.parquet", "text,label"), r"t\.parquet: cannot be read")


@pytest.mark.parametrize("missing", ["", "nan", "  "])
def test_missing_labels(tmp_path: Path, missing: str) -> None:
    table = rows(20, label="{half}")
    table[3] = f"text,{missing}"
    path = lines(tmp_path / "t.csv", "text,label", *table)
    refused(path, r"line 5, column 'label': 1 of 20 labels is missing. Fill them in or remove")


def test_missing_labels_of_json(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "t.jsonl", '{"text": "x", "label": "a"}', '{"text": "y"}', '{"text": "z"}'
    )
    refused(path, r"line 2, column 'label': 2 of 3 labels are missing")


def test_a_label_column_that_is_unique_per_row(tmp_path: Path) -> None:
    path = lines(tmp_path / "t.csv", "text,label", *rows(30, label="id-{i}"))
    refused(path, r"t\.csv, column 'label': every row has a label of its own \(30 labels\)")


@pytest.mark.parametrize(
    ("label", "n"),
    [(lambda i: i // 2, 5000), (lambda i: (i // 3) / 7, 90)],
    ids=["whole", "broken"],
)
def test_a_label_column_of_many_numbers(tmp_path: Path, label: Any, n: int) -> None:
    path = lines(tmp_path / "t.csv", "text,label", *(f"text {i},{label(i)}" for i in range(n)))
    refused(path, r"column 'label': \d+ different numbers: this is a quantity, not a class")


def test_labels_of_arrays_that_are_numbers() -> None:
    refused(([f"t {i}" for i in range(90)], [i / 4 for i in range(90)]), r"its own \(90 labels\)")


def test_train_and_test_label_names_that_differ(tmp_path: Path) -> None:
    lines(tmp_path / "train.csv", "text,label", *(f"text {i},dog" for i in range(9)), "x,cat")
    lines(tmp_path / "test.csv", "text,label", "other,cat", "another,dgo")
    refused(
        tmp_path,
        r"the test part has the class 'dgo', which training does not have \(it has cat, dog\). "
        r"Did you mean 'dog'\? Make the names agree",
    )


def test_two_files_of_one_part(tmp_path: Path) -> None:
    for name in ("train.csv", "train.tsv"):
        lines(tmp_path / name, "text,label", "x,a")
    refused(tmp_path, r"both train\.csv and train\.tsv are the train part. Keep one")


def test_tables_none_of_which_is_train(tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        lines(tmp_path / name, "text,label", "x,a")
    refused(tmp_path, r"no images in it and no train file")


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"label": "lable"}, r"there is no column 'lable' for the labels. Did you mean 'label'"),
        ({"input": "texts"}, r"there is no column 'texts' for the inputs. Did you mean 'text'"),
        ({"group": "who"}, r"there is no column 'who' for the groups"),
        (
            {"time": "note"},
            r"line 2, column 'note': 'short 0' is neither a number nor a date",
        ),
        ({"splits": "given"}, r"it has no train and test parts. Use --splits auto"),
        ({"splits": "grouped"}, r"--splits grouped needs a column; name it with --group"),
        ({"splits": "time"}, r"--splits time needs a column; name it with --time"),
        (
            {"kind": "image"},
            r"no column of image paths among text, label, note. Name it with --input",
        ),
        ({"kind": "array"}, r"a table holds texts or image paths, not arrays"),
    ],
)
def test_columns_and_splits_that_the_table_has_not(
    tmp_path: Path, wishes: dict[str, Any], message: str
) -> None:
    table = [f"{row},short {i}" for i, row in enumerate(rows(30, label="{half}"))]
    refused(lines(tmp_path / "t.csv", "text,label,note", *table), message, **wishes)


def test_a_table_without_a_column_of_labels(tmp_path: Path) -> None:
    path = lines(tmp_path / "t.csv", "text,other", *rows(30))
    refused(path, r"t\.csv: no column of labels among text, other. Name it with --label")


def test_missing_groups(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "t.csv", "text,label,who", *(f"{row}," for row in rows(9, label="{half}"))
    )
    refused(path, r"line 2, column 'who': 9 of 9 groups are missing", group="who")


def test_groups_too_few_to_divide(tmp_path: Path) -> None:
    table = [f"{row},same" for row in rows(40, label="{half}")]
    path = lines(tmp_path / "t.csv", "text,label,who", *table)
    refused(path, r"the items are in too few groups \(1 distinct\), so no test part", group="who")


def test_items_that_are_all_duplicates_of_each_other() -> None:
    refused((["same"] * 40, ["a", "b"] * 20), r"duplicates of each other \(1 distinct\)")


def test_a_test_part_that_is_a_copy_of_training() -> None:
    part = [f"text {i}" for i in range(20)], ["a", "b"] * 10
    refused({"train": part, "test": part}, r"no item left to train on, after 20 that repeat test")


def test_times_that_are_all_the_same(tmp_path: Path) -> None:
    table = [f"{row},2024-01-01" for row in rows(40, label="{half}")]
    path = lines(tmp_path / "t.csv", "text,label,day", *table)
    refused(path, r"nearly all items have the same time", time="day")


def test_a_class_that_only_the_newest_items_have(tmp_path: Path) -> None:
    table = [f"text {i},{'new' if i > 35 else 'ab'[i % 2]},{i}" for i in range(40)]
    path = lines(tmp_path / "t.csv", "text,label,day", *table)
    refused(path, r"class 'new' has no item left to train on", time="day")


def test_columns_named_for_a_folder_of_images(write_photos: WritePhotos) -> None:
    refused(write_photos({"a": 5, "b": 5}), r"which has none. Leave them out", label="class")


def test_a_folder_that_datasets_did_not_finish_saving(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    lines(tmp_path / "dataset_dict.json", '{"splits": ["train"]}')
    refused(tmp_path, r"cannot be read")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", r"there is no such file or folder"),
        ("notes.txt", r"files of kind \.txt cannot be read. Give an image"),
        ("empty", r"there are no images in it"),
        ("t.csv", r"it holds texts, the graft takes images"),
    ],
)
def test_what_cannot_be_predicted(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    lines(tmp_path / "notes.txt", "hello")
    lines(tmp_path / "t.csv", "text", "hello")
    with pytest.raises(DataError, match=message):
        read_inputs(tmp_path / name, kind="image", column=None, allow_bad=False)
