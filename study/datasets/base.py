"""What a dataset is: a frozen dataclass that finds, checks and opens images, one split at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.tensors.crops import Crop
from study.tensors.images import Images


class Split(StrEnum):
    """A labelled part of a dataset: probes learn from TRAIN and are judged on one of the others."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class OriginalImages(ABC):
    """Images in files that are decoded when they are looked at: as evaluations see them, or random crops for training.

    Its methods may be called by several threads at once.

    Attributes:
        shape: (num_images, channels, height, width) of the views of evaluations.
    """

    shape: torch.Size

    def __len__(self) -> int:
        """Number of images."""
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Views of evaluations, uint8, shape (num_rows, channels, height, width).

        Raises:
            DataError: a file cannot be decoded; names it and says what to do.
        """

    @abstractmethod
    def read(self, row: int, into: Tensor) -> None:
        """Write the view of evaluations of one image into a tensor of its shape; raises as indexing does."""

    @abstractmethod
    def cut(self, row: int, crops: Sequence[Crop], into: Sequence[Tensor]) -> None:
        """Write crops of one image into tensors on the CPU, uint8, shape (channels, *size); raises as indexing does."""


@dataclass(frozen=True)
class LabelledImages:
    """Images with labels.

    Attributes:
        images: uint8, shape (num_images, channels, height, width).
        labels: int64, shape (num_images,).
    """

    images: Images
    labels: Tensor


class Dataset(ABC):
    """Base of all datasets; subclasses are frozen dataclasses whose fields are their configuration.

    Validation images never take part in pre-training; nothing of the test split is read unless it is asked for.
    Tensors of images may be views of files that are mapped into memory: nobody writes into them.

    Attributes:
        num_classes: number of classes.
        num_channels: 1 for grey images, 3 for colours.
        image_size: height and width in pixels.
        can_be_downloaded: whether `download` fetches what is not there.
    """

    num_classes: int
    num_channels: int
    image_size: int
    can_be_downloaded: ClassVar[bool] = True

    @abstractmethod
    def locate(self, roots: Sequence[Path]) -> Path:
        """Return the first folder under `roots` that holds this dataset's files.

        Raises:
            DataError: no root holds them; the message lists where it looked and the commands that help.
        """

    @abstractmethod
    def download(self, root: Path) -> Path:
        """Download into `root` and return the folder, or raise DataError with the commands that help."""

    @abstractmethod
    def unlabelled(self, folder: Path) -> Images:
        """Images for pre-training, uint8, shape (num_ssl_images, channels, height, width)."""

    @abstractmethod
    def labelled(self, folder: Path, split: Split) -> LabelledImages:
        """Images and labels of one split; opens that split's files alone.

        Raises:
            DataError: a file is missing, truncated or not in the expected format; names the file and what to do.
        """

    def label_lists_in(self, folder: Path) -> Mapping[int, NDArray[np.int64]]:  # noqa: ARG002 - few have any
        """Published choices of labelled images: percentage → increasing indices into the TRAIN split.

        Raises:
            DataError: a list cannot be read, or names images that are not there.
        """
        return {}

    def check(self, folder: Path) -> Sequence[str]:
        """Read what training and tuning need, so that what is wrong is found before anything is started.

        Of the test split it may look at names and sizes of files, not into them.

        Returns:
            What a user should know: files that are skipped, or are read in a way that may surprise.

        Raises:
            DataError: see `labelled`; with all that is wrong.
        """
        for split in (Split.TRAIN, Split.VALIDATION):
            self.labelled(folder, split)
        self.label_lists_in(folder)
        return ()

    def glance(self, folder: Path, patience_s: float) -> Sequence[str]:  # noqa: ARG002 - for those that are large
        """As much of `check` as fits into some seconds, for a look before a start; writes nothing."""
        return self.check(folder) or ()

    def room_needed(self, folder: Path) -> tuple[Path, int]:
        """Where decoded training images will be kept, and how many bytes they will still take there."""
        return folder, 0

    @abstractmethod
    def fingerprint(self, folder: Path) -> str:
        """sha256 over the names and bytes of the training files (hex); recorded with every run."""
