"""The one way in which uint8 images become network inputs, augmented or clean."""

from __future__ import annotations

from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """Normalise uint8 images in [0, 255] to float32 in [-1, 1], as augmented and clean images are seen alike."""
    return normalise(images.float() / 255)


def normalise(x: Tensor) -> Tensor:
    """Map intensities from [0, 1] to [-1, 1]."""
    return (x - 0.5) / 0.5
