"""What datasets of image files share: splits, decoding, cache."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from study.datasets._held_out import in_turns, require_counts
from study.datasets._listing import Listing, fingerprint
from study.datasets._originals import Originals
from study.datasets._pixels import cached_pixels
from study.datasets.base import Dataset, LabelledImages, Split
from study.errors import DataError
from study.paths import from_user
from study.tensors.images import Images
from study.tensors.streams import stream

CropsFrom = Literal["squares", "originals"]
_NUM_CHECKED = 64  # files of a split that are decoded before anything is started


@dataclass(frozen=True)
class ImageFiles(Dataset):
    """Settings of splits and sizes.

    A seeded order of the official training set, in which classes take turns: first the validation images, then those
    for pre-training, which are also the labelled pool of the probes; the rest is unused.

    `crops_from` says what random crops for training are cut from:

    - `squares`: images are decoded once and kept as bytes in $STUDY_CACHE, or in `.study-cache` in the dataset's
      folder: 3 · image_size² bytes each. Fields near the border of the originals, and pixels beyond `image_size`, are
      lost to the crops.
    - `originals`: the files are decoded whenever they are looked at, and nothing is kept. An augmentation that does not
      begin with a crop sees the squares.

    Evaluations see the same squares either way.

    Attributes:
        num_ssl_images: images for pre-training and probes.
        num_validation_images: images that only judge.
        split_seed: which order; with `squares` another one decodes the images again.
        image_size: height and width of the squares, and of the full-size views.
        crop_share: side of the central square, as a share of the shorter side of the image, in (0, 1]; 224/256 is the
            usual view of evaluations on ImageNet, 1 keeps as much as there is.
        crops_from: `squares` or `originals`.

    Raises:
        ValueError: a number is out of its range.
    """

    num_ssl_images: int
    num_validation_images: int
    split_seed: int = 12345
    image_size: int = 224
    crop_share: float = 0.875
    crops_from: CropsFrom = "squares"

    num_channels = 3

    def __post_init__(self) -> None:
        require_counts(self.num_ssl_images, self.num_validation_images)
        if self.image_size < 1:
            raise ValueError(f"image_size must be >= 1, but got image_size={self.image_size}")
        if not 0 < self.crop_share <= 1:
            raise ValueError(f"crop_share must lie in (0, 1], but got crop_share={self.crop_share:g}")

    @abstractmethod
    def training_files(self, folder: Path) -> Listing:
        """All official training files."""

    @abstractmethod
    def test_files(self, folder: Path) -> Listing:
        """The files of the test split; opens nothing else."""

    def kept_in_pool(self, folder: Path, files: Listing) -> NDArray[np.bool_]:  # noqa: ARG002 - for those that do
        """Training files that must not be held out, but be in the pool, shape (num_images,)."""
        return np.zeros(len(files), dtype=np.bool_)

    def files(self, folder: Path, split: Split) -> Listing:
        """Files and labels of a split, in the order of its images."""
        if split is Split.TEST:
            return self.test_files(folder)
        return self._ordered(folder)[self._rows(split)]

    def unlabelled(self, folder: Path) -> Images:
        """Images of the TRAIN split in its order, uint8, shape (num_ssl_images, 3, size, size)."""
        return self.labelled(folder, Split.TRAIN).images

    def labelled(self, folder: Path, split: Split) -> LabelledImages:
        """Images and labels of one split: squares mapped into memory, decoded when that has not been done, or files."""
        if self.crops_from == "originals":
            files = self.files(folder, split)
            return LabelledImages(self._originals(files), torch.from_numpy(files.labels))
        cache = cache_folder(folder)
        if split is Split.TEST:
            files = self.test_files(folder)
            return self._read(files, fingerprint(files, cache), cache)
        # One file for both: what they hold are two slices of it.
        files = self._ordered(folder)[: self.num_validation_images + self.num_ssl_images]
        everything, rows = self._read(files, fingerprint(self.training_files(folder), cache), cache), self._rows(split)
        return LabelledImages(everything.images[rows], everything.labels[rows])

    def check(self, folder: Path) -> None:
        """List the files, and decode all of them once and for all, or, of originals, some."""
        if self.crops_from == "squares":
            super().check(folder)
            return
        for split in (Split.TRAIN, Split.VALIDATION):
            images = self._originals(self.files(folder, split))
            some = torch.randperm(len(images), generator=stream("check", self.split_seed))[:_NUM_CHECKED]
            images[some]
        self.label_lists_in(folder)

    def fingerprint(self, folder: Path) -> str:
        """sha256 over names and bytes of the training files, and of lists that choose among them."""
        return fingerprint(self.training_files(folder), cache_folder(folder))

    def _ordered(self, folder: Path) -> Listing:
        """All training files: validation, pool, rest."""
        files = self.training_files(folder)
        needed = self.num_validation_images + self.num_ssl_images
        if len(files) < needed:
            raise DataError(
                f"{files.root} holds {len(files)} training images of {self.num_classes} classes, fewer than "
                f"num_validation_images + num_ssl_images = {self.num_validation_images} + {self.num_ssl_images}; write "
                f"num_ssl_images: {max(1, len(files) - self.num_validation_images)}"
            )
        is_listed = self.kept_in_pool(folder, files)
        if (free := int((~is_listed).sum())) < self.num_validation_images:
            needed = self.num_validation_images
            raise DataError(f"{free} training images are in no list of labels, but num_validation_images={needed}")
        order = in_turns(type(self).__name__, files.labels, self.split_seed, is_listed)
        held_out, rest = np.split(order, [self.num_validation_images])
        return files[np.concatenate([held_out, rest[is_listed[rest]], rest[~is_listed[rest]]])]

    def _rows(self, split: Split) -> slice:
        start = self.num_validation_images
        return slice(0, start) if split is Split.VALIDATION else slice(start, start + self.num_ssl_images)

    def _originals(self, files: Listing) -> Originals:
        return Originals(files, self.image_size, self.crop_share)

    def _read(self, files: Listing, content: str, cache: Path) -> LabelledImages:
        images = cached_pixels(files, content, self.image_size, self.crop_share, cache)
        return LabelledImages(images, torch.from_numpy(files.labels))


def cache_folder(folder: Path) -> Path:
    """Where decoded images and downloaded lists are kept."""
    chosen = os.environ.get("STUDY_CACHE")
    return from_user(chosen).absolute() if chosen else folder / ".study-cache"
