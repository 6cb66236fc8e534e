"""Class folders of all parts are compared before anything starts, and no file is left out without a word."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from study.datasets.base import Split
from study.datasets.image_folder import ImageFolder
from study.datasets.imagenet import ImageNet
from study.errors import DataError
from tests.fakes.photographs import photograph
from tests.fakes.tiny_datasets import WORDNET, write_folders, write_imagenet

_DATASET = ImageFolder(num_ssl_images=9, num_validation_images=3, num_classes=3, image_size=8)
_IMAGENET = ImageNet(num_ssl_images=32, num_validation_images=8, num_classes=4, image_size=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, count in (("train", 4), ("val", 2)):
        write_folders(tmp_path / "pets" / part, ("bird", "cat", "dog"), count, ".jpg", seed=1)
    return tmp_path / "pets"


def problems_of(dataset: ImageFolder | ImageNet, folder: Path) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        dataset.check(folder)
    with pytest.raises(DataError) as glanced:
        dataset.glance(folder, 10.0)
    assert glanced.value.problems == caught.value.problems
    assert "damaged" not in str(caught.value)
    return caught.value.problems


def test_a_class_that_the_test_part_lacks(folder: Path) -> None:
    """https://github.com/huggingface/pytorch-image-models/issues/1081: everything trains, then fails."""
    shutil.rmtree(folder / "val" / "dog")
    assert problems_of(_DATASET, folder) == (f"{folder / 'val'}: no folder for 1 class: ['dog']",)


def test_an_empty_class_folder(folder: Path) -> None:
    """https://github.com/pytorch/vision/issues/4925."""
    for part in ("train", "val"):
        shutil.rmtree(folder / part / "cat")
        (folder / part / "cat").mkdir()
    test, train = problems_of(_DATASET, folder)
    for part, problem in (("val", test), ("train", train)):
        assert problem.startswith(f"{folder / part}: no image files in the folders of 1 class: ['cat']; read are .jpg")


def test_a_class_by_another_name(folder: Path) -> None:
    (folder / "val" / "dog").rename(folder / "val" / "dogs")
    missing, other = problems_of(_DATASET, folder)
    assert missing == f"{folder / 'val'}: no folder for 1 class: ['dog']. Did you mean 'dogs'?"
    assert other == f"{folder / 'val'}: folders that are no class of the training images: ['dogs']"


def test_everything_that_is_wrong_is_said_at_once(folder: Path) -> None:
    shutil.rmtree(folder / "val" / "dog")
    (folder / "val" / "emu").mkdir()
    (folder / "train" / "fox").mkdir()
    problems = "\n".join(problems_of(replace(_DATASET, num_classes=7), folder))
    for part, words in (
        ("val", "no folder for 2 classes: ['dog', 'fox']"),
        ("val", "folders that are no class of the training images: ['emu']"),
        ("train", "no image files in the folders of 1 class: ['fox']"),
    ):
        assert f"{folder / part}: {words}" in problems
    assert f"{folder / 'train'} holds 4 classes, but dataset.num_classes is 7; write num_classes: 4" in problems


@pytest.mark.parametrize(
    ("train", "test"), [("train", "train"), ("train", "train/dog"), (".", "val"), ("train", "link")]
)
def test_test_images_are_no_training_images(train: str, test: str, folder: Path) -> None:
    (folder / "link").symlink_to("train")
    problems = problems_of(replace(_DATASET, train_folder=train, test_folder=test), folder)
    assert any("are the same folder, or one holds the other" in problem for problem in problems)


@pytest.mark.parametrize(
    ("have", "settings"),
    [
        (12, {"num_ssl_images": 10}),
        (12, {"num_validation_images": 20}),
        (12, {"num_ssl_images": 20, "num_validation_images": 12}),
    ],
)
def test_the_advice_on_numbers_is_taken(have: int, settings: dict[str, int], folder: Path) -> None:
    dataset = replace(_DATASET, **settings)
    (problem,) = problems_of(dataset, folder)
    assert f"holds {have} training images" in problem
    advice = problem.rpartition("write ")[2]
    numbers = {key: int(value) for key, value in (part.split(": ") for part in advice.split(" and "))}
    assert replace(dataset, **numbers).check(folder) == []


def test_what_systems_leave_behind_is_no_class_and_no_image(folder: Path) -> None:
    for part in ("train", "val"):
        for name in ("__MACOSX", ".ipynb_checkpoints", "@eaDir", "lost+found"):
            shutil.copytree(folder / part / "cat", folder / part / name)
        shutil.copytree(folder / part / "cat", folder / part / "dog" / "__MACOSX")
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._01.jpg"):
            (folder / part / name).write_text("no image")
            (folder / part / "dog" / name).write_text("no image")
    assert _DATASET.check(folder) == []
    for split, count in ((Split.TRAIN, 9), (Split.TEST, 6)):
        assert len(_DATASET.labelled(folder, split).labels) == count


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".tif", ".tiff", ".gif", ".JPG", ".Png", ".jfif"])
def test_formats_that_are_read(suffix: str, folder: Path) -> None:
    for part in ("train", "val"):
        shutil.rmtree(folder / part / "cat")
        (folder / part / "cat").mkdir()
        for i in range(4):
            photograph(9 + i).save(folder / part / "cat" / f"{i}{suffix}")
    assert _DATASET.check(folder) == []
    assert sum(name.endswith(suffix) for name in _DATASET.files(folder, Split.TRAIN).names) == 3
    assert len(_DATASET.labelled(folder, Split.TEST).labels) == 8


def test_files_that_are_not_read_are_named_once(folder: Path) -> None:
    for i in range(5):
        (folder / "train" / "cat" / f"{i}.heic").write_text("")
    (folder / "train" / "dog" / "notes.txt").write_text("")
    (folder / "train" / "README").write_text("")
    photograph().save(folder / "val" / "heap.jpg")
    some = ["cat/0.heic", "cat/1.heic", "cat/2.heic"]
    assert sorted(_DATASET.check(folder)) == [
        f"{folder / 'train'}: skipped 1 file in no class, e.g. ['README']",
        f"{folder / 'train'}: skipped 6 files of other formats (5 .heic, 1 .txt), e.g. {some}",
        f"{folder / 'val'}: skipped 1 file in no class, e.g. ['heap.jpg']",
    ]


def test_links_are_followed_and_loops_are_named(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "train" / "cat", tmp_path / "elsewhere")
    (folder / "train" / "cat").symlink_to(tmp_path / "elsewhere")
    (folder / "val" / "dog" / "more.jpg").symlink_to(folder / "val" / "dog" / "0.jpg")
    assert _DATASET.check(folder) == []
    (folder / "train" / "dog" / "again").symlink_to("..")
    (problem,) = problems_of(_DATASET, folder)
    assert problem == f"{folder / 'train' / 'dog' / 'again'} is a link to a folder that holds it; remove the link"
    (folder / "train" / "dog" / "again").unlink()
    (folder / "val" / "dog" / "gone.jpg").symlink_to("nowhere.jpg")
    (problem,) = problems_of(_DATASET, folder)
    assert problem == f"{folder / 'val'}: 1 of 8 files not there: ['dog/gone.jpg']"


def test_names_that_are_no_text_are_named(folder: Path) -> None:
    os.rename(folder / "train" / "dog" / "0.jpg", os.fsencode(folder / "train" / "dog") + b"/caf\xe9.jpg")  # noqa: PTH104
    (problem,) = problems_of(_DATASET, folder)
    assert problem.startswith(f"{folder / 'train'}: 1 name of a file is not UTF-8, e.g. b'dog/caf\\xe9.jpg'; rename")
    os.rename(os.fsencode(folder / "train" / "dog") + b"/caf\xe9.jpg", folder / "train" / "dog" / "größe 空.jpg")  # noqa: PTH104
    assert _DATASET.check(folder) == []


class TestImageNet:
    @pytest.fixture
    def imagenet(self, tmp_path: Path) -> Path:
        return write_imagenet(tmp_path / "imagenet")

    def test_both_parts_are_compared(self, imagenet: Path) -> None:
        shutil.rmtree(imagenet / "val" / WORDNET[2])
        (imagenet / "val" / "n99999999").mkdir()
        missing, other = problems_of(_IMAGENET, imagenet)
        assert missing.startswith(f"{imagenet / 'val'}: no folder for 1 class: ['{WORDNET[2]}']")
        assert other == f"{imagenet / 'val'}: folders that are no class of the training images: ['n99999999']"

    def test_a_list_of_classes_leaves_others_alone(self, imagenet: Path, tmp_path: Path) -> None:
        (tmp_path / "two.txt").write_text(f"{WORDNET[0]}\n{WORDNET[3]}\n")
        dataset = replace(
            _IMAGENET, class_list=str(tmp_path / "two.txt"), num_classes=2, num_ssl_images=16, num_validation_images=4
        )
        assert dataset.check(imagenet) == []
        shutil.rmtree(imagenet / "val" / WORDNET[3])
        (problem,) = problems_of(dataset, imagenet)
        assert problem.startswith(f"{imagenet / 'val'}: no folder for 1 class: ['{WORDNET[3]}']")

    def test_validation_images_in_one_heap_are_found_before_anything_starts(self, imagenet: Path) -> None:
        for path in [*(imagenet / "val").rglob("*.JPEG")]:
            path.rename(imagenet / "val" / path.name)
        for name in WORDNET:
            (imagenet / "val" / name).rmdir()
        (problem,) = problems_of(_IMAGENET, imagenet)
        assert "expected one folder per class" in problem
