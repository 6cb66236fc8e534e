"""Images as uint8, wherever they are kept, and the one way in which they become network inputs, augmented or clean."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Images(Protocol):
    """Images one after the other, uint8: a tensor, or what becomes one where it is looked at."""

    @property
    def shape(self) -> torch.Size:
        """(num_images, channels, height, width)."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """The images of a slice, or of int64 indices, uint8, shape (num_rows, channels, height, width)."""


def to_float(images: Tensor) -> Tensor:
    """Normalise uint8 images in [0, 255] to float32 in [-1, 1], as augmented and clean images are seen alike."""
    return normalise(images.float() / 255)


def as_imagenet_pixels(x: Tensor) -> Tensor:
    """Map inputs in [-1, 1] to those of networks that were trained with ImageNet's mean and standard deviation.

    Source of the constants: https://docs.pytorch.org/vision/stable/models.html. SwAV's authors have 0.228 in place of
    0.229, https://github.com/facebookresearch/swav, src/multicropdataset.py; that is not followed.
    """
    mean, std = x.new_tensor((0.485, 0.456, 0.406)), x.new_tensor((0.229, 0.224, 0.225))
    return ((x + 1) / 2 - mean[:, None, None]) / std[:, None, None]


def normalise(x: Tensor) -> Tensor:
    """Map intensities from [0, 1] to [-1, 1]."""
    return (x - 0.5) / 0.5
