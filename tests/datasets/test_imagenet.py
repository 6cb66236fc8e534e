"""ImageNet: lists of classes and of labelled images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from study.datasets.base import Split
from study.datasets.imagenet import ImageNet
from study.errors import DataError
from study.fetching import sha256_of
from tests.fakes.tiny_datasets import WORDNET, write_imagenet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_imagenet(tmp_path_factory.mktemp("imagenet"))


def _dataset(**settings: object) -> ImageNet:
    return ImageNet(**{"num_ssl_images": 32, "num_validation_images": 8, "num_classes": 4, "image_size": 8, **settings})  # type: ignore[arg-type]


def _check(folder: Path, source: str, **settings: object) -> None:
    """What a study does before anything is started."""
    _dataset(label_lists=((10, source),), **settings).check(folder)


def _write(path: Path, lines: list[str]) -> str:
    path.write_text("\n".join(lines) + "\n")
    return f"{path}#sha256={sha256_of(path)}"


def test_a_list_of_labels_is_found_in_the_pool_and_not_held_out(folder: Path, tmp_path: Path) -> None:
    """All but two images per class are listed: any other choice of validation images would hit the list."""
    listed = [f"{name}_{i * 7}.JPEG" for name in WORDNET[::-1] for i in range(8)]
    source = _write(tmp_path / "80percent.txt", listed)
    dataset = _dataset(label_lists=((80, source),))
    ((percent, rows),) = dataset.label_lists_in(folder).items()
    names = dataset.files(folder, Split.TRAIN).names
    assert percent == 80 and {names[row].split("/")[1] for row in rows} == {*listed}
    assert rows.tolist() == sorted(rows.tolist()) and len(rows) == 32
    held_out = {name.split("/")[1] for name in dataset.files(folder, Split.VALIDATION).names}
    assert held_out == {f"{name}_{i * 7}.JPEG" for name in WORDNET for i in (8, 9)}
    read = dataset.labelled(folder, Split.TRAIN)
    assert [WORDNET[label] for label in read.labels] == [name.split("/")[0] for name in names]


def test_what_a_list_names_is_in_a_small_pool_as_well(folder: Path, tmp_path: Path) -> None:
    source = _write(tmp_path / "list.txt", [f"{name}_{i * 7}.JPEG" for name in WORDNET for i in (4, 9)])
    dataset = _dataset(label_lists=((50, source),), num_ssl_images=16, num_validation_images=4)
    assert dataset.label_lists_in(folder)[50].tolist() == list(range(8))
    labels = dataset.labelled(folder, Split.TRAIN).labels
    assert labels.bincount().tolist() == [4] * 4


def test_lists_are_part_of_the_fingerprint(folder: Path, tmp_path: Path) -> None:
    first = _write(tmp_path / "1.txt", [f"{WORDNET[0]}_0.JPEG"])
    second = _write(tmp_path / "2.txt", [f"{WORDNET[0]}_7.JPEG"])
    prints = {_dataset(label_lists=lists).fingerprint(folder) for lists in ((), ((1, first),), ((1, second),))}
    assert len(prints) == 3


def test_a_list_with_images_that_are_held_out_or_missing(folder: Path, tmp_path: Path) -> None:
    everything = [f"{name}_{i * 7}.JPEG" for name in WORDNET for i in range(10)]
    with pytest.raises(DataError, match="8 of 38 images are not among the 30 of the TRAIN split"):
        _check(folder, _write(tmp_path / "many.txt", everything[:-2]), num_ssl_images=30, num_validation_images=2)
    with pytest.raises(DataError, match=r"1 of 1 images .*n01440764_5\.JPEG.*raise dataset\.num_ssl_images"):
        _check(folder, _write(tmp_path / "none.txt", ["n01440764_5.JPEG"]))
    with pytest.raises(DataError, match="no image of 3 classes: "):
        _check(folder, _write(tmp_path / "one.txt", [f"{WORDNET[0]}_0.JPEG"]))
    with pytest.raises(DataError, match="0 training images are in no list of labels, but num_validation_images=8"):
        _check(folder, _write(tmp_path / "all.txt", everything))
    with pytest.raises(ValueError, match=r"distinct percentages in \(0, 100\], got \[1, 1\]"):
        _dataset(label_lists=((1, "a"), (1, "b")))


def test_a_list_of_classes(folder: Path, tmp_path: Path) -> None:
    source = _write(tmp_path / "imagenet2.txt", [WORDNET[3], WORDNET[1]])
    dataset = _dataset(class_list=source, num_classes=2, num_ssl_images=16, num_validation_images=4)
    for split in Split:
        files, read = dataset.files(folder, split), dataset.labelled(folder, split)
        assert [(WORDNET[1], WORDNET[3])[label] for label in read.labels] == [n.split("/")[0] for n in files.names]
    labels = _write(tmp_path / "1percent.txt", [f"{name}_0.JPEG" for name in WORDNET])
    subset = replace(dataset, label_lists=((1, labels),)).label_lists_in(folder)
    assert len(subset[1]) == 2  # those of other classes are passed over
    with pytest.raises(DataError, match=r"has 2 classes, but dataset\.num_classes is 4; write num_classes: 2"):
        _dataset(class_list=source).unlabelled(folder)


def test_lists_that_are_something_else(folder: Path, tmp_path: Path) -> None:
    _write(tmp_path / "list.txt", [WORDNET[0], "n99999999"])
    with pytest.raises(DataError, match=r"has no folders for 1 classes: \['n99999999'\]"):
        _dataset(class_list=str(tmp_path / "list.txt")).unlabelled(folder)
    with pytest.raises(DataError, match="sha256 expected: 0000"):
        _dataset(class_list=f"{tmp_path / 'list.txt'}#sha256={'0' * 64}").unlabelled(folder)
    _write(tmp_path / "page.txt", ["<!DOCTYPE html>"])
    with pytest.raises(DataError, match="expected lines that begin with n and 8 digits, but found '<!DOCTYPE'"):
        _dataset(class_list=str(tmp_path / "page.txt")).unlabelled(folder)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a text file"):
        _dataset(class_list=str(tmp_path / "bytes.txt")).unlabelled(folder)
    with pytest.raises(DataError, match="no such file"):
        _dataset(class_list=str(tmp_path / "none.txt")).unlabelled(folder)


def test_an_incomplete_dataset(folder: Path) -> None:
    with pytest.raises(DataError, match=r"has 4 classes, but dataset\.num_classes is 1000; the dataset is incomplete"):
        ImageNet().unlabelled(folder)


def test_validation_images_in_one_heap(tmp_path: Path) -> None:
    write_imagenet(tmp_path, per_class=1)
    (tmp_path / "val").rename(tmp_path / "sorted")
    (tmp_path / "val" / "images").mkdir(parents=True)
    with pytest.raises(DataError, match="expected one folder per class; sort the validation images into them"):
        _dataset().labelled(tmp_path, Split.TEST)
