"""What CIFAR-10 and CIFAR-100 share: pickled batches of 32×32 colour images."""

from __future__ import annotations

import hashlib
import io
import pickle
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from study.datasets._held_out import require_counts, shuffled
from study.datasets._mapped import wrong_size
from study.datasets._places import download_with_torchvision, find_folder, missing_files
from study.datasets.base import Dataset, LabelledImages, Split
from study.errors import DataError, noting, raise_any, shown
from study.tensors.images import Images

_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


@dataclass(frozen=True)
class CIFAR(Dataset):
    """Settings of the splits.

    One seeded permutation of the official training set: first the validation images, then those for pre-training,
    which are also the labelled pool of the probes. The test split is the official one.

    Attributes:
        num_ssl_images: images for pre-training and probes.
        num_validation_images: images that only judge; with `num_ssl_images` at most 50,000.
        split_seed: which permutation.

    Raises:
        ValueError: a count is not positive, or both exceed the training set.
    """

    num_ssl_images: int = 45_000
    num_validation_images: int = 5_000
    split_seed: int = 12345

    num_channels = 3
    image_size = 32
    num_train: ClassVar[int] = 50_000
    num_test: ClassVar[int] = 10_000

    title: ClassVar[str]
    name: ClassVar[str]
    base_folder: ClassVar[str]
    train_files: ClassVar[Sequence[str]]
    test_files: ClassVar[Sequence[str]]
    label_key: ClassVar[str]

    def __post_init__(self) -> None:
        require_counts(self.num_ssl_images, self.num_validation_images, self.num_train)

    @property
    @abstractmethod
    def help_text(self) -> str:
        """What helps when the files are not found."""

    def locate(self, roots: Sequence[Path]) -> Path:
        """Return the first `<root>/{cifar-…-py,cifar…/cifar-…-py,.}` with all batches."""
        names = (self.base_folder, f"{self.name}/{self.base_folder}", ".")
        lacks = missing_files([*self.train_files, *self.test_files])
        return find_folder(self.title, roots, names, lacks, self.help_text)

    def download(self, root: Path) -> Path:
        """Download with torchvision into `root/cifar-…-py`."""
        download_with_torchvision(self.title, self.name.upper(), root, self.help_text)
        return self.locate([root])

    def unlabelled(self, folder: Path) -> Images:
        """Images of the TRAIN split in its order, uint8, shape (num_ssl_images, 3, 32, 32)."""
        return self.labelled(folder, Split.TRAIN).images

    def labelled(self, folder: Path, split: Split) -> LabelledImages:
        """Images and labels of one split; TEST opens the test files alone, others the training files."""
        if split is Split.TEST:
            return self._read(folder, self.test_files, self.num_test)
        everything = self._read(folder, self.train_files, self.num_train)
        order = shuffled(self.name, self.num_train, self.split_seed)
        start, end = self.num_validation_images, self.num_validation_images + self.num_ssl_images
        rows = order[:start] if split is Split.VALIDATION else order[start:end]
        return LabelledImages(everything.images[rows], everything.labels[rows])

    def check(self, folder: Path) -> Sequence[str]:
        """Read the training batches, and see that the test batches are large enough for their images."""
        problems: list[str] = []
        for name in self.test_files:
            problems += wrong_size(folder / name, self.num_test // len(self.test_files) * 3 * 32 * 32, at_least=True)
        with noting(problems):
            super().check(folder)
        raise_any(problems)
        return ()

    def fingerprint(self, folder: Path) -> str:
        """sha256 over names and bytes of the training files."""
        digest = hashlib.sha256()
        for name in self.train_files:
            digest.update(name.encode() + _read_bytes(folder / name, self.help_text))
        return digest.hexdigest()

    def _read(self, folder: Path, names: Sequence[str], expected: int) -> LabelledImages:
        batches = [_batch(folder / name, self.label_key, self.help_text) for name in names]
        images = np.concatenate([images for images, _ in batches])
        labels = np.concatenate([labels for _, labels in batches])
        files = f"{folder}: {', '.join(names)}"
        if len(images) != expected:
            raise DataError(f"{files}: expected {expected} images, found {len(images)}; fetch the files again")
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise DataError(f"{files}: labels must be in [0, {self.num_classes}), found {labels.min()}–{labels.max()}")
        return LabelledImages(torch.from_numpy(images), torch.from_numpy(labels))


class _Batches(pickle.Unpickler):
    """Knows arrays and nothing else, so that no file can run anything."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"refused: it wants to load {module}.{name}; nothing of it was run")
        return super().find_class(module, name)


def _batch(path: Path, label_key: str, help_text: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images, shape (num_images, 3, 32, 32), and labels, shape (num_images,), of a pickled batch."""
    content = _read_bytes(path, help_text)
    try:
        batch = _Batches(io.BytesIO(content), encoding="latin1").load()
        images = np.asarray(batch["data"])
        labels = np.asarray(batch[label_key], dtype=np.int64)
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{path}: damaged or no batch of images ({reason}); fetch it again") from error
    if images.dtype != np.uint8 or images.shape != (len(labels), 3 * 32 * 32):
        raise DataError(
            f"{path}: expected uint8 images of shape ({len(labels)}, 3072), one per label, but found "
            f"{images.dtype} of shape {shown(images.shape)}"
        )
    return images.reshape(-1, 3, 32, 32), labels


def _read_bytes(path: Path, help_text: str) -> bytes:
    """The bytes of a file; the last ones are remembered, because pre-training, probes and fingerprint want them."""
    try:
        status = path.stat()
        return _remembered(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})\n{help_text}") from error


@lru_cache(maxsize=6)
def _remembered(path: Path, _mtime_ns: int, _size: int) -> bytes:
    return path.read_bytes()
