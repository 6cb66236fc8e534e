"""STL-10: colour images of ten kinds of animals and vehicles, 96×96, most of them without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from study.datasets._held_out import require_counts, shuffled
from study.datasets._mapped import mapped_bytes, wrong_size
from study.datasets._places import download_with_torchvision, find_folder, missing_files
from study.datasets.base import Dataset, LabelledImages, Split
from study.errors import DataError, noting, raise_any
from study.fetching import sha256_of

_FILES = ("train_X.bin", "train_y.bin", "unlabeled_X.bin", "test_X.bin", "test_y.bin")
_HELP = """\
One of these helps:
  - unpack http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz into <root>
  - set STUDY_DATA=<root>, where <root> already holds stl10_binary"""


@dataclass(frozen=True)
class STL10(Dataset):
    """Settings of the splits.

    Pre-training sees the first of the 100,000 images without labels, which contain other kinds of things, too. Of the
    5,000 training images a seeded permutation takes the validation images; the rest is the labelled pool. The test
    split is the official one. The ten official folds are not used.

    Source: Coates, Ng & Lee 2011, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning",
    https://cs.stanford.edu/~acoates/stl10/.

    Attributes:
        num_ssl_images: images for pre-training, at most 100,000.
        num_validation_images: images that only judge, fewer than 5,000.
        split_seed: which permutation.

    Raises:
        ValueError: a count is not positive or too large.
    """

    num_ssl_images: int = 100_000
    num_validation_images: int = 1_000
    split_seed: int = 12345

    num_classes = 10
    num_channels = 3
    image_size = 96
    num_unlabelled: ClassVar[int] = 100_000
    num_train: ClassVar[int] = 5_000
    num_test: ClassVar[int] = 8_000

    def __post_init__(self) -> None:
        require_counts(self.num_ssl_images, self.num_validation_images)
        if self.num_ssl_images > self.num_unlabelled:
            raise ValueError(f"num_ssl_images <= {self.num_unlabelled} must hold, but got {self.num_ssl_images}")
        if self.num_validation_images >= self.num_train:
            raise ValueError(
                f"num_validation_images < {self.num_train} must hold, but got {self.num_validation_images}"
            )

    def locate(self, roots: Sequence[Path]) -> Path:
        """Return the first `<root>/{stl10_binary,stl10/stl10_binary,.}` with all files."""
        return find_folder("STL-10", roots, ("stl10_binary", "stl10/stl10_binary", "."), missing_files(_FILES), _HELP)

    def download(self, root: Path) -> Path:
        """Download with torchvision into `root/stl10_binary`."""
        download_with_torchvision("STL-10", "STL10", root, _HELP)
        return self.locate([root])

    def unlabelled(self, folder: Path) -> Tensor:
        """Images without labels, uint8, shape (num_ssl_images, 3, 96, 96), mapped into memory."""
        return _images(folder / "unlabeled_X.bin", self.num_unlabelled)[: self.num_ssl_images]

    def labelled(self, folder: Path, split: Split) -> LabelledImages:
        """Images and labels of one split; TEST opens the test files alone, others the training files."""
        if split is Split.TEST:
            return self._read(folder, "test", self.num_test)
        everything = self._read(folder, "train", self.num_train)
        order = shuffled("stl10", self.num_train, self.split_seed)
        start = self.num_validation_images
        rows = order[:start] if split is Split.VALIDATION else order[start:]
        return LabelledImages(everything.images[rows], everything.labels[rows])

    def check(self, folder: Path) -> Sequence[str]:
        """Read the training files, and compare the sizes of the test files with what they must be."""
        problems: list[str] = []
        for name, expected in (("test_X.bin", self.num_test * 3 * 96 * 96), ("test_y.bin", self.num_test)):
            problems += wrong_size(folder / name, expected)
        with noting(problems):
            super().check(folder)
        raise_any(problems)
        return ()

    def fingerprint(self, folder: Path) -> str:
        """sha256 over names and sums of the training files and of the images without labels."""
        digest = hashlib.sha256()
        for name in _FILES[:3]:
            digest.update(f"{name}\0{sha256_of(folder / name)}\n".encode())
        return digest.hexdigest()

    def _read(self, folder: Path, part: str, num_images: int) -> LabelledImages:
        labels = mapped_bytes(path := folder / f"{part}_y.bin", (num_images,)).numpy().astype(np.int64) - 1
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise DataError(
                f"{path}: labels must be in [1, {self.num_classes}], found {labels.min() + 1}–{labels.max() + 1}"
            )
        return LabelledImages(_images(folder / f"{part}_X.bin", num_images), torch.from_numpy(labels))


def _images(path: Path, num_images: int) -> Tensor:
    """Images of a file that stores each channel column by column, shape (num_images, 3, 96, 96)."""
    return mapped_bytes(path, (num_images, 3, 96, 96)).transpose(2, 3)
