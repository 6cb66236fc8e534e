"""What evaluations that train get: copies of a backbone, and views of labelled images."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from study.augmentations.photographs import Photographs
from study.datasets.base import LabelledImages
from study.evaluations.base import Trainable


def trainable(
    backbone: nn.Module, representation_dim: int, train: LabelledImages, held_out: LabelledImages, device: torch.device,
    pause: Callable[[], None],
) -> Trainable:  # fmt: skip
    """Let an evaluation train copies of `backbone`, which stays as it is."""

    def made() -> nn.Module:
        return copy.deepcopy(backbone).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    return Trainable(made, representation_dim, train.images, held_out.images, crop, device, pause)


def crop(images: Tensor, generator: torch.Generator, area: tuple[float, float]) -> Tensor:
    """Random resized crops, half of them flipped, in their colours: the usual views of supervised training."""
    augmentation = Photographs(
        crop_area=area, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, jitter_probability=0.0,
        grey_probability=0.0, blur_probability=(0.0, 0.0),
    )  # fmt: skip
    return augmentation(images, generator)
