"""What datasets of image files share: splits, decoding, cache."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from study.amounts import count
from study.datasets._held_out import in_turns, require_counts
from study.datasets._listing import Listing, fingerprint, missing, skipped
from study.datasets._modes import Reading
from study.datasets._originals import Originals
from study.datasets._pixels import Squares, cached_pixels
from study.datasets._survey import BrokenImagesError, in_words, survey
from study.datasets.base import Dataset, LabelledImages, Split
from study.errors import DataError, noting, raise_any, shown
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

        reading: what becomes of orientation and transparency; no setting, but a property of the dataset.

    Raises:
        ValueError: a number is out of its range.
    """

    reading: ClassVar[Reading] = Reading.AS_SHOWN
    can_be_downloaded: ClassVar[bool] = False

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
        return self._ordered(self.training_files(folder), folder)[self._rows(split)]

    def unlabelled(self, folder: Path) -> Images:
        """Images of the TRAIN split in its order, uint8, shape (num_ssl_images, 3, size, size)."""
        return self.labelled(folder, Split.TRAIN).images

    def labelled(self, folder: Path, split: Split) -> LabelledImages:
        """Images and labels of one split: squares mapped into memory, decoded when that has not been done, or files."""
        cache = cache_folder(folder)
        if self.crops_from == "originals":
            files = self.files(folder, split)
            if split is Split.TEST and (broken := survey(files, self.reading, cache).problems):
                raise BrokenImagesError(files.root, broken, cache)  # of the others a start has looked at all
            return LabelledImages(self._originals(files), torch.from_numpy(files.labels))
        if split is Split.TEST:
            files = self.test_files(folder)
            return self._read(files, fingerprint(files, cache), cache)
        # One file for both: what they hold are two slices of it.
        files = self._used(self._ordered(self.training_files(folder), folder))
        everything, rows = self._read(files, fingerprint(self.training_files(folder), cache), cache), self._rows(split)
        return LabelledImages(everything.images[rows], everything.labels[rows])

    def check(self, folder: Path) -> Sequence[str]:
        """List the files of all parts, look at those for training, and decode all of them, or, of originals, some.

        Of the test split names are listed, and nothing is opened.
        """
        return self._check(folder, None)

    def glance(self, folder: Path, patience_s: float) -> Sequence[str]:
        """List the files of all parts, and look at as many as some seconds allow; no decoded image is kept."""
        return self._check(folder, patience_s)

    def room_needed(self, folder: Path) -> tuple[Path, int]:
        """The cache, and the size of the squares, unless such ones are there."""
        cache, squares = cache_folder(folder), self._squares()
        num_images = self.num_validation_images + self.num_ssl_images
        if self.crops_from == "originals" or squares.seem_kept(num_images, cache):
            return cache, 0
        return cache, squares.num_bytes(num_images)

    def fingerprint(self, folder: Path) -> str:
        """sha256 over names and bytes of the training files, and of lists that choose among them."""
        return fingerprint(self.training_files(folder), cache_folder(folder))

    def _check(self, folder: Path, patience_s: float | None) -> list[str]:
        problems: list[str] = []
        notes: list[str] = []
        with noting(problems):
            notes += skipped(test := self.test_files(folder))
            problems += missing(test)
        with noting(problems):
            notes += skipped(files := self.training_files(folder))
            with noting(problems):
                files = self._ordered(files, folder)
                self.label_lists_in(folder)
            notes += self._look(files, cache_folder(folder), patience_s, problems)
            if patience_s is None and self.crops_from == "originals" and not problems:
                self._decode_some(files)
        raise_any(problems)
        return notes

    def _look(self, files: Listing, cache: Path, patience_s: float | None, problems: list[str]) -> Iterator[str]:
        """Look at ordered training files: all of them, for where one is taken out, others come to be used."""
        found = survey(files, self.reading, cache, patience_s)
        broken, used = (
            dict(found.problems),
            {*self._used(files).names, *found.absent},
        )  # what is absent cannot be hashed
        if patience_s is None and self.crops_from == "squares" and not problems and not found.absent:
            try:
                self._read(self._used(files), fingerprint(files, cache), cache)
            except BrokenImagesError as error:
                broken = {**error.broken, **broken}
            except DataError as error:  # there is no room, or the cache cannot be written
                problems += error.problems
        if broken.keys() & used:
            problems.append(str(BrokenImagesError(files.root, broken, cache)))
        elif broken:
            unused = count(len(broken), "file")
            yield f"{files.root}: {unused} that no split uses cannot be decoded, e.g. {shown(min(broken))}"
        yield from in_words(files.root, found, self.reading)
        if found.num_files < len(files):
            yield f"{files.root}: {found.num_files:,} of {count(len(files), 'file')} looked at; a start looks at all"

    def _decode_some(self, ordered: Listing) -> None:
        """Of files that are decoded while training, what is damaged in the middle would show late."""
        for split in (Split.TRAIN, Split.VALIDATION):
            images = self._originals(ordered[self._rows(split)])
            some = torch.randperm(len(images), generator=stream("check", self.split_seed))[:_NUM_CHECKED]
            images[some]

    def _ordered(self, files: Listing, folder: Path) -> Listing:
        """All training files: validation, pool, rest."""
        needed = self.num_validation_images + self.num_ssl_images
        if len(files) < needed:
            few = max(1, len(files) // 4)
            enough = f"num_ssl_images: {len(files) - self.num_validation_images}"
            if len(files) <= self.num_validation_images:
                enough = f"num_validation_images: {few} and num_ssl_images: {len(files) - few}"
            raise DataError(
                f"{files.root} holds {len(files)} training images of {self.num_classes} classes, fewer than "
                f"num_validation_images + num_ssl_images = {self.num_validation_images} + {self.num_ssl_images}; write "
                f"{enough}"
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

    def _used(self, ordered: Listing) -> Listing:
        return ordered[: self.num_validation_images + self.num_ssl_images]

    def _originals(self, files: Listing) -> Originals:
        return Originals(files, self.image_size, self.crop_share, self.reading)

    def _squares(self) -> Squares:
        return Squares(self.image_size, self.crop_share, self.reading)

    def _read(self, files: Listing, content: str, cache: Path) -> LabelledImages:
        images = cached_pixels(files, content, self._squares(), cache)
        return LabelledImages(images, torch.from_numpy(files.labels))


def cache_folder(folder: Path) -> Path:
    """Where decoded images and downloaded lists are kept."""
    chosen = os.environ.get("STUDY_CACHE")
    return from_user(chosen).absolute() if chosen else folder / ".study-cache"
