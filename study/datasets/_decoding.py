"""Decoding image files with PIL and torchvision: the view of evaluations, and random crops for training.

Both see the pixels that `_modes` says. torchvision is imported late, because sweep files are loaded without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.datasets._modes import Reading, lies_across, to_rgb
from study.tensors.crops import Crop

_SCALES = (8, 4, 2)  # at which the JPEG library decodes at a fraction of the cost
_REDUCING_GAP = 2.0  # as PIL's `thumbnail`: what is left has at least twice the pixels of what is wanted


def decode_square(path: Path, into: NDArray[np.uint8], crop_share: float, reading: Reading) -> None:
    """Fill `into`, shape (3, size, size), with the central square of an image.

    The shorter side is resized to `size / crop_share` pixels (bilinear, with antialiasing), then the central square of
    `size` pixels is kept: what evaluations on ImageNet see with 224 pixels and a share of 224/256.
    """
    from PIL import Image
    from torchvision.transforms import functional

    size = into.shape[-1]
    with path.open("rb") as file, Image.open(file) as opened:
        whole = to_rgb(opened, reading)
    image = functional.resize(whole, max(size, round(size / crop_share)))
    into[:] = np.asarray(functional.center_crop(image, [size, size])).transpose(2, 0, 1)


def decode_crops(path: Path, crops: Sequence[Crop], into: Sequence[NDArray[np.uint8]], reading: Reading) -> None:
    """Fill each of `into`, shape (3, height, width), with a crop of an image that is decoded once for all of them.

    Crops are resized bilinearly with antialiasing. A JPEG whose crops all have pixels in plenty is decoded at a half, a
    quarter or an eighth of its size; which is a function of the crops alone.
    """
    from PIL import Image
    from torchvision.transforms.v2 import functional

    with path.open("rb") as file, Image.open(file) as opened:
        width, height = opened.size
        if (scale := _scale(crops, *((height, width) if lies_across(opened, reading) else (width, height)))) > 1:
            opened.draft(None, (width // scale, height // scale))  # None: the colours stay
        image = to_rgb(opened, reading)
    for crop, target in zip(crops, into, strict=True):
        view = functional.resized_crop(image, *crop.box(*image.size), list(crop.size), antialias=True)
        pixels = np.asarray(view)
        target[:] = (pixels[:, ::-1] if crop.is_flipped else pixels).transpose(2, 0, 1)


def _scale(crops: Sequence[Crop], width: int, height: int) -> int:
    """By how much an image may shrink before the crops are cut."""
    room = min(
        min(down / crop.size[0], across / crop.size[1])
        for crop in crops
        for _, _, down, across in (crop.box(width, height),)
    )
    return next((scale for scale in _SCALES if room >= scale * _REDUCING_GAP), 1)
