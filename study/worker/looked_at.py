"""What an evaluation looked at, as hashes that arms with equal seeds must share: labels, draws and images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from study.datasets.base import LabelledImages
from study.evaluations.base import EvaluationTask
from study.tensors.images import Images

_MOST_IMAGES = 10_000  # of a split that are hashed: all images of a small one, evenly spaced ones of a large one


class WatchedImages:
    """Images that keep a running hash of what was read of them, in the order of reading.

    Of a split with more than 10,000 images every k-th one counts, so that hashing costs little beside decoding; and no
    more reads than the split has images, so that training on them for many epochs costs no more than looking at each.
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        self._every = max(1, math.ceil(len(images) / _MOST_IMAGES))
        self._num_read = 0
        self._digest = hashlib.sha256()

    @property
    def shape(self) -> torch.Size:
        """(num_images, channels, height, width)."""
        return self._images.shape

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Read images, see `Images`."""
        found = self._images[rows]
        if self._num_read < len(self):
            numbers = torch.arange(len(self))[rows] if isinstance(rows, slice) else rows.cpu()
            counted = numbers % self._every == 0
            self._digest.update(numbers[counted].numpy().astype("<i8").tobytes() + b"/")
            self._digest.update(found[counted.to(found.device)].cpu().contiguous().numpy().data)
            self._num_read += len(numbers)
        return found

    def digest(self) -> bytes:
        """sha256 of what was read until now."""
        return self._digest.digest()


@dataclass(frozen=True)
class Watched(LabelledImages):
    """Images with labels, of which it is known what was read."""

    images: WatchedImages

    @classmethod
    def of(cls, shown: LabelledImages) -> Watched:
        """Watch what is read of `shown` from now on."""
        return cls(WatchedImages(shown.images), shown.labels)


def labels_sha256(task: EvaluationTask) -> str:
    """sha256 (hex) of the labelled pool, and of the labels of it that were looked at where these were few."""
    content = hashlib.sha256(task.train.labels.astype("<i8").tobytes())
    for rows in task.drawn:
        content.update(np.asarray(rows).astype("<i8").tobytes() + b"/")
    return content.hexdigest()


def images_sha256(task: EvaluationTask, looked_at: Iterable[Watched]) -> str:
    """sha256 (hex) of the held-out labels, and of what was read of the images of pool and held-out split."""
    content = hashlib.sha256(task.held_out.labels.astype("<i8").tobytes())
    for shown in looked_at:
        content.update(shown.images.digest())
    return content.hexdigest()
