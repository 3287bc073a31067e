from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from regraft.tasks.inputs import read_inputs
from regraft.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import WritePhotos


def test_a_folder_per_class_is_split_stratified(write_photos: WritePhotos) -> None:
    task = Task.read(write_photos({"bees": 40, "ants": 60}))
    assert task.kind == "image"
    assert task.classes == ("ants", "bees")
    assert np.bincount(task.sealed.open().labels).tolist() == [12, 8]
    (fold,) = task.folds
    labels = task.development.labels
    assert np.bincount(labels[fold.validation]).tolist() == [10, 6]
    assert len(fold.train) + len(fold.validation) == len(task.development) == 80
    assert task.intake.split == "20% are tested, stratified by class; " + (
        "20% of the rest validate, stratified"
    )


def test_train_and_val_make_val_the_sealed_test(write_photos: WritePhotos) -> None:
    counts = {"train/a": 20, "train/b": 20, "val/a": 5, "val/b": 6}
    task = Task.read(write_photos(counts))
    assert len(task.development) == 40
    assert len(task.sealed) == 11
    assert all(name.startswith("train/") for name in task.development.ids)
    assert "the latter is the sealed test" in task.intake.split
    assert len(task.folds[0].validation) == 8


def test_three_given_parts_are_kept(write_photos: WritePhotos) -> None:
    counts = {"Train/a": 6, "Train/b": 6, "valid/a": 3, "valid/b": 3, "test/a": 4, "test/b": 4}
    task = Task.read(write_photos(counts))
    (fold,) = task.folds
    assert (len(fold.train), len(fold.validation), len(task.sealed)) == (12, 6, 8)
    assert all(task.development.ids[i].startswith("valid/") for i in fold.validation)


def test_train_and_test_carve_validation_from_train(write_photos: WritePhotos) -> None:
    task = Task.read(write_photos({"train/a": 20, "train/b": 20, "test/a": 3, "test/b": 3}))
    assert len(task.sealed) == 6
    assert len(task.folds[0].validation) == 8


def test_below_ten_labels_a_class_cross_validation_takes_over(write_photos: WritePhotos) -> None:
    task = Task.read(write_photos({"train/a": 7, "train/b": 4, "test/a": 3, "test/b": 3}))
    assert len(task.folds) == 4
    assert "4-fold cross-validation" in task.intake.split


def test_given_parts_are_ignored_when_a_split_is_asked_for(write_photos: WritePhotos) -> None:
    data = write_photos({"train/a": 20, "train/b": 20, "test/a": 10, "test/b": 10})
    task = Task.read(data, splits="stratified")
    assert len(task.sealed) == 12


def test_a_class_may_be_called_train(write_photos: WritePhotos) -> None:
    task = Task.read(write_photos({"train": 10, "plane": 10, "car": 10}))
    assert task.classes == ("car", "plane", "train")


def test_whole_numbers_as_classes_are_ordered_by_value(write_photos: WritePhotos) -> None:
    assert Task.read(write_photos({"10": 5, "9": 5, "1": 5})).classes == ("1", "9", "10")


def test_the_same_seed_gives_the_same_task_and_another_another(write_photos: WritePhotos) -> None:
    data = write_photos({"a": 20, "b": 20})
    assert Task.read(data, seed=1).fingerprint == Task.read(data, seed=1).fingerprint
    assert Task.read(data, seed=1).fingerprint != Task.read(data, seed=2).fingerprint


def test_hidden_files_and_other_files_are_no_items(write_photos: WritePhotos) -> None:
    data = write_photos({"a": 20, "b": 20, "empty": 0})
    (data / "a" / "._1.png").write_bytes(b"resource fork")
    (data / "a" / ".cache").mkdir()
    (data / "a" / ".cache" / "1.png").write_bytes(b"")
    (data / "b" / "notes.txt").write_text("by hand", encoding="utf-8")
    (data / "cover.png").write_bytes(b"")
    intake = Task.read(data).intake
    assert intake.n_skipped == 0
    assert intake.n_development + intake.n_test == 40
    assert intake.notes == (
        "empty holds no images",
        "images in no class folder, left out: cover.png",
        "files that are no images, left out: 1 .txt",
    )


def test_converted_images_are_counted_and_sizes_summarised(
    write_photos: WritePhotos, photo_of: Callable[..., Image.Image]
) -> None:
    data = write_photos({"a": 10, "b": 10}, side=20)
    for number in range(3):
        photo_of(100 + number, side=40).convert("L").save(data / "a" / f"grey{number}.png")
    photo_of(200, side=40).convert("CMYK").save(data / "b" / "print.jpg")
    intake = Task.read(data).intake
    assert intake.converted == {"L to RGB": 3, "CMYK to RGB": 1}
    assert intake.width == intake.height == (20, 20, 40)
    assert intake.largest_side == 40
    assert intake.to_json()["converted"] == {"L to RGB": 3, "CMYK to RGB": 1}


def test_few_unreadable_images_are_skipped_counted_and_listed(write_photos: WritePhotos) -> None:
    data = write_photos({"a": 100, "b": 100})
    (data / "a" / "5.png").write_bytes(b"")
    (data / "b" / "7.png").write_bytes((data / "b" / "7.png").read_bytes()[:60])
    intake = Task.read(data).intake
    assert intake.n_skipped == 2
    assert intake.n_development + intake.n_test == 198
    assert intake.skipped[0] == "a/5.png: the file is empty."
    assert intake.skipped[1].startswith("b/7.png: the image is damaged (")


def test_many_unreadable_images_are_skipped_only_if_the_user_says_so(
    write_photos: WritePhotos,
) -> None:
    data = write_photos({"a": 20, "b": 20})
    for number in range(5):
        (data / "a" / f"{number}.png").write_bytes(b"no image")
    assert Task.read(data, allow_bad=True).intake.n_skipped == 5


def test_near_duplicates_of_test_images_do_not_train(
    write_photos: WritePhotos, photo_of: Callable[..., Image.Image]
) -> None:
    data = write_photos({"train/a": 15, "train/b": 15, "test/a": 5, "test/b": 5}, side=64)
    photo_of(32, side=64).save(data / "train" / "a" / "copy.jpg", quality=60)
    photo_of(3, side=64).save(data / "train" / "b" / "contradiction.png")
    task = Task.read(data)
    assert "train/a/copy.jpg" not in task.development.ids
    assert len(task.development) == 31
    assert (task.intake.duplicates_removed, task.intake.duplicates_within) == (1, 1)
    assert task.intake.leakage == (
        "1 item repeats an item of a later part and was taken out: train/a/copy.jpg (as "
        "test/a/2.png)",
        "1 duplicated item has different labels: train/a/3.png is a, train/b/contradiction.png is "
        "b. Correct or remove it",
    )


def test_duplicates_stay_on_one_side_of_a_split_that_we_make(
    write_photos: WritePhotos,
) -> None:
    data = write_photos({"a": 30, "b": 30})
    for number in range(10):
        (data / "a" / f"copy{number}.png").write_bytes((data / "a" / f"{number}.png").read_bytes())
    task = Task.read(data)
    (fold,) = task.folds
    digests = np.array(task.development.digests)
    assert not set(digests[fold.train]) & set(digests[fold.validation])
    assert not set(digests) & set(task.sealed.inputs.digests)
    assert task.intake.duplicates_removed == 0


def test_inputs_to_predict_are_read_from_a_folder_or_one_image(write_photos: WritePhotos) -> None:
    data = write_photos({"a": 3, "b": 2})
    items = read_inputs(data, kind="image", column=None, allow_bad=False)
    assert items.ids == ("a/0.png", "a/1.png", "a/2.png", "b/0.png", "b/1.png")
    assert items.labels.tolist() == [-1] * 5
    one = read_inputs(data / "a" / "1.png", kind="image", column=None, allow_bad=False)
    assert one.ids == ("1.png",)
    assert one.digests[0] == items.digests[1]
