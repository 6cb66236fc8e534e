"""What an augmentation is: a frozen dataclass that makes one random view of a batch, on its device."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

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
        """
