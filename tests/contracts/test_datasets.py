"""What every dataset keeps to, on real files or tiny ones in their layout; then what Fashion-MNIST says of damage."""

from __future__ import annotations

import dataclasses
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from study import registry
from study.datasets.base import Dataset, Split
from study.datasets.fashion_mnist import FashionMNIST
from study.errors import DataError
from tests.fakes import tiny_datasets
from tests.fakes.opened import opened_files

Tiny = Callable[[str], tuple[Dataset, Path]]
_ROOTS = [Path(root) for root in (os.environ.get("STUDY_DATA"), "/usr/share/datasets") if root]
_BYTES = {"train": 16 + 60_000 * 784, "t10k": 16 + 10_000 * 784}


def _located(dataset: Dataset) -> Path:
    try:
        return dataset.locate(_ROOTS)
    except DataError as error:
        pytest.fail(f"these tests need the real files: {error}")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], tuple[Dataset, Path]]]:
    """Datasets with their folders by name: tiny ones in the layout of the originals, written when first asked for."""
    made: dict[str, tuple[Dataset, Path]] = {}

    def make(name: str) -> tuple[Dataset, Path]:
        if name not in made:
            if name == "fashion_mnist":
                made[name] = FashionMNIST(), _located(FashionMNIST())
            else:
                root = tmp_path_factory.mktemp(name)
                dataset = tiny_datasets.write(name, root, patch)
                made[name] = dataset, dataset.locate([root / "empty", root])
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        yield make


@pytest.mark.parametrize("name", registry.names("datasets"))
class TestContract:
    def test_settings_are_a_frozen_dataclass(self, name: str) -> None:
        cls = registry.component("datasets", name)
        assert dataclasses.is_dataclass(cls)
        assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]

    def test_the_class_knows_what_sweep_files_are_checked_with(self, name: str) -> None:
        cls = registry.component("datasets", name)
        assert min(cls.num_classes, cls.num_channels, cls.image_size) >= 1

    def test_images_and_labels_are_what_the_class_says(self, name: str, tiny: Tiny) -> None:
        dataset, folder = tiny(name)
        unlabelled = dataset.unlabelled(folder)
        assert unlabelled.shape == unlabelled[:].shape
        shape = (dataset.num_channels, dataset.image_size, dataset.image_size)
        assert (unlabelled[:].dtype, tuple(unlabelled.shape[1:])) == (torch.uint8, shape)
        assert len(unlabelled) == dataset.num_ssl_images  # type: ignore[attr-defined]
        for split in Split:
            labelled = dataset.labelled(folder, split)
            assert (labelled.images[:].dtype, tuple(labelled.images.shape[1:])) == (torch.uint8, shape)
            assert (labelled.labels.dtype, len(labelled.labels)) == (torch.int64, len(labelled.images))
            assert set(labelled.labels.tolist()) == set(range(dataset.num_classes)), split

    def test_no_image_is_in_two_splits(self, name: str, tiny: Tiny) -> None:
        dataset, folder = tiny(name)
        seen: set[bytes] = set()
        for split in (Split.TRAIN, Split.VALIDATION):
            images = {image.numpy().tobytes() for image in dataset.labelled(folder, split).images[:]}
            assert not seen & images
            seen |= images
        validation = {image.numpy().tobytes() for image in dataset.labelled(folder, Split.VALIDATION).images[:]}
        assert not validation & {image.numpy().tobytes() for image in dataset.unlabelled(folder)[:]}

    def test_reading_twice_gives_the_same(self, name: str, tiny: Tiny) -> None:
        first, folder = tiny(name)
        second = dataclasses.replace(first)  # type: ignore[type-var]
        assert torch.equal(first.unlabelled(folder)[:], second.unlabelled(folder)[:])
        assert first.fingerprint(folder) == second.fingerprint(folder)
        assert len(first.fingerprint(folder)) == 64

    def test_a_check_has_nothing_to_say_of_files_that_are_right(self, name: str, tiny: Tiny) -> None:
        dataset, folder = tiny(name)
        assert list(dataset.check(folder)) == list(dataset.glance(folder, 60.0)) == []

    def test_a_check_opens_no_test_image_and_a_glance_writes_nothing(self, name: str, tiny: Tiny) -> None:
        dataset, folder = tiny(name)
        dataset.labelled(folder, Split.TRAIN).images[:]  # what is kept of images is not made by the other splits
        with opened_files() as needed:
            dataset.labelled(folder, Split.TRAIN).images[:]
            dataset.fingerprint(folder)
            dataset.label_lists_in(folder)
        with opened_files() as read:
            for cached in folder.glob(".study-cache/*"):
                cached.unlink() if cached.is_file() else shutil.rmtree(cached)
            dataset.labelled(folder, Split.TEST).images[:]
        test_images = {p for p in read - needed if ".study-cache" not in p and not p.endswith(".json")}
        assert test_images or name == "fashion_mnist", "its bytes are remembered"
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        with opened_files() as glanced:
            dataset.glance(folder, 60.0)
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
        with opened_files() as checked:
            dataset.check(folder)
        assert not test_images & (glanced | checked)

    def test_a_check_finds_a_test_part_that_cannot_be_right(self, name: str, tiny: Tiny, tmp_path: Path) -> None:
        """By names and sizes alone; so do all that is wrong with the training part at the same time."""
        original, folder = tiny(name)
        damaged = tiny_datasets.damage(name, folder, tmp_path)
        with pytest.raises(DataError) as caught:
            original.check(tmp_path)
        for part in damaged:
            assert str(part) in str(caught.value)
        assert len(caught.value.problems) == len(damaged) == 2

    def test_missing_files_name_every_place_and_what_helps(self, name: str, tmp_path: Path, tiny: Tiny) -> None:
        with pytest.raises(DataError) as caught:
            tiny(name)[0].locate([tmp_path / "a", tmp_path / "b"])
        assert str(tmp_path / "a") in str(caught.value) and str(tmp_path / "b") in str(caught.value)
        assert "STUDY_DATA" in str(caught.value)


def _link(folder: Path, part: str) -> Path:
    """Put links to the real files of one official part into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in _located(FashionMNIST()).glob(f"{part}-*"):
        (folder / path.name).symlink_to(path)
    return folder


def test_splits_are_disjoint_and_the_pool_is_the_unlabelled_set() -> None:
    dataset = FashionMNIST(num_ssl_images=55_000, num_validation_images=5_000)
    rows = {split: dataset._rows(split) for split in (Split.TRAIN, Split.VALIDATION)}
    assert [len(r) for r in rows.values()] == [55_000, 5_000]
    assert sorted(torch.cat(list(rows.values())).tolist()) == list(range(60_000))
    small = FashionMNIST()
    folder = _located(small)
    assert torch.equal(small.unlabelled(folder), small.labelled(folder, Split.TRAIN).images)
    assert [len(small.labelled(folder, split).labels) for split in Split] == [10_000, 5_000, 10_000]


def test_another_split_seed_gives_other_images() -> None:
    first, second = FashionMNIST(), FashionMNIST(split_seed=1)
    assert not torch.equal(first._rows(Split.VALIDATION), second._rows(Split.VALIDATION))


def test_each_split_opens_its_own_files_alone(tmp_path: Path) -> None:
    dataset = FashionMNIST()
    train, test = _link(tmp_path / "train", "train"), _link(tmp_path / "test", "t10k")
    assert len(dataset.labelled(test, Split.TEST).labels) == 10_000
    assert len(dataset.labelled(train, Split.VALIDATION).labels) == 5_000
    assert dataset.unlabelled(train).shape == (10_000, 1, 28, 28)
    with pytest.raises(DataError, match=r"holds neither t10k-images-idx3-ubyte\.gz nor"):
        dataset.labelled(train, Split.TEST)
    with pytest.raises(DataError, match=r"holds neither train-images-idx3-ubyte\.gz nor"):
        dataset.labelled(test, Split.TRAIN)


@pytest.mark.parametrize("name", ["fashion-mnist", "FashionMNIST/raw", "fashion_mnist", "."])
def test_locate_knows_the_usual_folders(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "root" / name
    for part in ("train", "t10k"):
        _link(folder, part)
    assert FashionMNIST().locate([tmp_path / "empty", tmp_path / "root"]).samefile(folder)


def test_locate_says_which_files_a_folder_lacks(tmp_path: Path) -> None:
    _link(tmp_path / "fashion-mnist", "train")
    with pytest.raises(DataError) as caught:
        FashionMNIST().locate([tmp_path])
    message = str(caught.value)
    assert f"{tmp_path / 'fashion-mnist'}: lacks t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte" in message
    assert f"{tmp_path / 'fashion_mnist'}: no such folder" in message
    assert "apt-get install dataset-fashion-mnist" in message


def test_truncated_files_say_how_much_is_missing(tmp_path: Path) -> None:
    header = struct.pack(">4I", 0x803, 10_000, 28, 28)
    images = tmp_path / "t10k-images-idx3-ubyte"
    images.write_bytes(header + bytes(84))
    with pytest.raises(DataError, match=rf"{images}: truncated: expected {_BYTES['t10k']} bytes, found 100"):
        FashionMNIST().labelled(tmp_path, Split.TEST)


def test_truncated_gzip_files_say_how_much_is_missing(tmp_path: Path) -> None:
    packed = (_located(FashionMNIST()) / "t10k-images-idx3-ubyte.gz").read_bytes()
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=rf"\.gz: truncated: expected {_BYTES['t10k']} bytes, found \d+"):
        FashionMNIST().labelled(tmp_path, Split.TEST)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t10k-images-idx3-ubyte.gz", b"not gzip", "damaged gzip file"),
        ("t10k-images-idx3-ubyte", b"<!DOCTYPE html><p>error</p>", "magic 3c21444f, not 00000803"),
        (
            "t10k-images-idx3-ubyte",
            struct.pack(">4I", 0x803, 7, 28, 28),
            r"dimensions \(7, 28, 28\), expected",
        ),
        ("t10k-images-idx3-ubyte", b"", "truncated: expected 7840016 bytes, found 0"),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        FashionMNIST().labelled(tmp_path, Split.TEST)


def test_labels_out_of_range(tmp_path: Path) -> None:
    images = _located(FashionMNIST()) / "t10k-images-idx3-ubyte.gz"
    (tmp_path / images.name).symlink_to(images)
    labels = struct.pack(">2I", 0x801, 10_000) + bytes([200]) * 10_000
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(DataError, match="labels must be < 10, found 200"):
        FashionMNIST().labelled(tmp_path, Split.TEST)


@pytest.mark.parametrize("failure", [OSError("no route to host"), RuntimeError("mirror is down")])
def test_failed_download_says_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def refuse(root: str, *, download: bool) -> None:
        raise failure

    stand_in = SimpleNamespace(FashionMNIST=refuse)
    monkeypatch.setattr("study.datasets.fashion_mnist.importlib.import_module", lambda name: stand_in)
    with pytest.raises(DataError, match=rf"cannot download Fashion-MNIST into {tmp_path}: {failure}\nOne of"):
        FashionMNIST().download(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_ssl_images": 0}, "num_ssl_images must be >= 1, but got num_ssl_images=0"),
        ({"num_validation_images": -1}, "num_validation_images must be >= 1"),
        ({"num_ssl_images": 58_000}, r"<= 60000 must hold, but got 58000 \+ 5000 = 63000"),
    ],
)
def test_refused_counts(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FashionMNIST(**settings)
