"""What an augmentation is: a frozen dataclass that makes one random view of a batch, on its device."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Augmentation(ABC):
    """Base of all augmentations; subclasses are frozen dataclasses whose fields are their configuration."""

    @abstractmethod
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Map uint8 images (batch, channels, height, width) to a float32 view of the same shape, normalised.

        All random numbers come from `generator` (on the CPU, so that every device sees the same augmentation).
        """
