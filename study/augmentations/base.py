"""What an augmentation is: a frozen dataclass that makes one random view of a batch, on its device."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from study.tensors.crops import Crops

NUM_FULL_VIEWS = 2


class Augmentation(ABC):
    """Base of all augmentations; subclasses are frozen dataclasses whose fields are their configuration.

    Attributes:
        num_views: how many views of an image a step sees: two full-size ones, then local ones.
    """

    num_views: int = NUM_FULL_VIEWS

    @abstractmethod
    def __call__(
        self, images: Tensor, generator: torch.Generator, view: int = 0, part: tuple[int, int] | None = None
    ) -> Tensor:
        """Map uint8 images (batch, channels, height, width) to a float32 view, normalised.

        Views 0 and 1 have the shape of the images, later ones are smaller. All random numbers come from `generator`
        (on the CPU, so that every device sees the same augmentation). With `part` (first row, size of the batch) the
        images are the rows from the first on of a batch of that size, and see what they would see in it.

        The global generators of Python, numpy and torch are seeded for every view, so that code which draws from them
        can be repeated. Several processes would draw the same numbers for other images, and refuse such code.
        """


class CropAugmentation(Augmentation):
    """One that begins with a crop, which may as well be cut somewhere else: from the original file of an image.

    Calling it is `crops`, cutting them from the images as they are given, and `photometry`; the last two see the same
    stream from its beginning.
    """

    @abstractmethod
    def crops(
        self, num_images: int, image_size: int, generator: torch.Generator, view: int = 0,
        part: tuple[int, int] | None = None,
    ) -> Crops:  # fmt: skip
        """Draw where the views lie.

        Args:
            num_images: how many, in this part of the batch.
            image_size: side of the full-size views, in pixels.
            generator: at the beginning of the view's stream.
            view: which one.
            part: see `Augmentation`.
        """

    @abstractmethod
    def photometry(
        self, crops: Tensor, generator: torch.Generator, view: int = 0, part: tuple[int, int] | None = None
    ) -> Tensor:
        """Map what was cut, uint8, shape (batch, 3, height, width), to the view; `generator` as for `crops`."""
