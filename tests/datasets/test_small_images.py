"""CIFAR and STL-10: what is read is what torchvision reads; damaged and malicious files run nothing."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from study.datasets.base import Split
from study.datasets.cifar10 import CIFAR10
from study.datasets.cifar100 import CIFAR100
from study.datasets.stl10 import STL10
from study.errors import DataError
from tests.fakes import tiny_datasets


@pytest.fixture
def tiny_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[CIFAR10, Path]:
    dataset = tiny_datasets.write("cifar10", tmp_path, monkeypatch)
    assert isinstance(dataset, CIFAR10)
    return dataset, tmp_path / "cifar-10-batches-py"


@pytest.mark.parametrize(
    ("name", "reference", "options"),
    [
        ("cifar10", torchvision.datasets.CIFAR10, {"train": False}),
        ("cifar100", torchvision.datasets.CIFAR100, {"train": False}),
        ("stl10", torchvision.datasets.STL10, {"split": "test"}),
    ],
)
def test_the_test_split_is_torchvisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reference: type[Any], options: dict[str, Any]
) -> None:
    dataset = tiny_datasets.write(name, tmp_path, monkeypatch)
    monkeypatch.setattr(reference, "_check_integrity", lambda self: True)  # it knows the sums of the real files alone
    monkeypatch.setattr(reference, "_load_meta", lambda self: None, raising=False)
    theirs = reference(str(tmp_path), **options)
    ours = dataset.labelled(dataset.locate([tmp_path]), Split.TEST)
    images = np.stack([np.asarray(image) for image, _ in theirs]).transpose(0, 3, 1, 2)
    assert np.array_equal(ours.images.numpy(), images)
    assert ours.labels.tolist() == [int(label) for _, label in theirs]


def test_training_images_keep_their_labels(tiny_cifar10: tuple[CIFAR10, Path]) -> None:
    dataset, folder = tiny_cifar10
    labels = {}
    for i in range(1, 6):
        batch = pickle.loads((folder / f"data_batch_{i}").read_bytes(), encoding="latin1")
        labels |= {row.tobytes(): label for row, label in zip(batch["data"], batch["labels"], strict=True)}
    for split in (Split.TRAIN, Split.VALIDATION):
        read = dataset.labelled(folder, split)
        assert [labels[image.numpy().tobytes()] for image in read.images] == read.labels.tolist()


def test_each_split_opens_its_own_files_alone(tiny_cifar10: tuple[CIFAR10, Path]) -> None:
    dataset, folder = tiny_cifar10
    content = (folder / "test_batch").read_bytes()
    (folder / "test_batch").write_bytes(b"")
    assert len(dataset.labelled(folder, Split.TRAIN).labels) == 120
    with pytest.raises(DataError, match="test_batch: damaged"):
        dataset.labelled(folder, Split.TEST)
    (folder / "test_batch").write_bytes(content)
    (folder / "data_batch_3").unlink()
    assert len(dataset.labelled(folder, Split.TEST).labels) == 20
    with pytest.raises(DataError, match=r"data_batch_3: cannot be read(.|\n)*STUDY_DATA"):
        dataset.labelled(folder, Split.TRAIN)


def test_a_batch_runs_nothing(tiny_cifar10: tuple[CIFAR10, Path], tmp_path: Path) -> None:
    dataset, folder = tiny_cifar10

    class Shell:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'it-ran'}",)

    evil = pickle.dumps({"data": Shell(), "labels": []}, protocol=2)
    (folder / "test_batch").write_bytes(evil)
    with pytest.raises(DataError, match=r"refused: it wants to load posix\.system; nothing of it was run"):
        dataset.labelled(folder, Split.TEST)
    assert not (tmp_path / "it-ran").exists()
    pickle.loads(evil)  # the bait is a real one
    assert (tmp_path / "it-ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda batch: batch.update(labels=[3] * 19), r"expected uint8 images of shape \(19, 3072\)"),
        (lambda batch: batch.update(data=batch["data"].astype(np.int32)), "but found int32"),
        (lambda batch: batch.update(labels=[10] * 20), r"labels must be in \[0, 10\), found 10–10"),
        (lambda batch: batch.pop("labels"), r"no batch of images \('labels'\)"),
        (lambda batch: batch.update(data=batch["data"][:8], labels=[0] * 8), "expected 20 images, found 8"),
    ],
)
def test_batches_that_are_something_else(
    tiny_cifar10: tuple[CIFAR10, Path], change: Callable[[dict[str, Any]], object], message: str
) -> None:
    dataset, folder = tiny_cifar10
    batch = pickle.loads((folder / "test_batch").read_bytes())
    change(batch)
    (folder / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match=message):
        dataset.labelled(folder, Split.TEST)


def test_a_truncated_batch(tiny_cifar10: tuple[CIFAR10, Path]) -> None:
    dataset, folder = tiny_cifar10
    content = (folder / "test_batch").read_bytes()
    (folder / "test_batch").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="test_batch: damaged"):
        dataset.labelled(folder, Split.TEST)


def test_stl10_is_mapped_and_its_files_have_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tiny_datasets.write("stl10", tmp_path, monkeypatch)
    folder = tmp_path / "stl10_binary"
    everything = np.fromfile(folder / "unlabeled_X.bin", np.uint8).reshape(30, 3, 96, 96)
    assert np.array_equal(dataset.unlabelled(folder).numpy(), everything[:25].transpose(0, 1, 3, 2))
    content = (folder / "unlabeled_X.bin").read_bytes()
    (folder / "unlabeled_X.bin").write_bytes(content[:-1])
    with pytest.raises(DataError, match="truncated: expected 829440 bytes, found 829439"):
        dataset.unlabelled(folder)
    before = dataset.fingerprint(folder)
    (folder / "train_y.bin").write_bytes(bytes(120))
    assert dataset.fingerprint(folder) != before
    with pytest.raises(DataError, match=r"labels must be in \[1, 10\], found 0–0"):
        dataset.labelled(folder, Split.TRAIN)


def test_the_fingerprint_is_that_of_the_training_files(tiny_cifar10: tuple[CIFAR10, Path]) -> None:
    dataset, folder = tiny_cifar10
    before = dataset.fingerprint(folder)
    (folder / "test_batch").write_bytes(b"another")
    assert dataset.fingerprint(folder) == before
    (folder / "data_batch_1").write_bytes(b"another")
    assert dataset.fingerprint(folder) != before


@pytest.mark.parametrize("cls", [CIFAR10, CIFAR100, STL10])
def test_failed_downloads_say_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cls: type[CIFAR10] | type[STL10]
) -> None:
    def refuse(root: str, *, download: bool) -> None:
        raise OSError("no route to host")

    stand_in = SimpleNamespace(**{cls.__name__: refuse})
    monkeypatch.setattr("study.datasets._places.importlib.import_module", lambda name: stand_in)
    with pytest.raises(DataError, match=rf"cannot download .* into {tmp_path}: no route to host\nOne of these"):
        cls().download(tmp_path)


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (CIFAR10, {"num_ssl_images": 0}, "num_ssl_images must be >= 1"),
        (CIFAR10, {"num_ssl_images": 48_000}, r"<= 50000 must hold, but got 48000 \+ 5000 = 53000"),
        (STL10, {"num_ssl_images": 100_001}, "num_ssl_images <= 100000 must hold, but got 100001"),
        (STL10, {"num_validation_images": 5_000}, "num_validation_images < 5000 must hold"),
    ],
)
def test_refused_counts(cls: type[Any], settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls(**settings)


def test_full_size_settings_are_those_of_the_originals() -> None:
    assert (CIFAR10().num_classes, CIFAR100().num_classes, STL10().image_size) == (10, 100, 96)
    assert torch.equal(torch.tensor([CIFAR10.num_train, STL10.num_unlabelled]), torch.tensor([50_000, 100_000]))
