"""Crops of square images lie where torch's affine grids lie."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from study.tensors.crops import Crops
from study.tensors.streams import stream


@pytest.mark.parametrize("size", [(5, 5), (28, 28), (12, 9)])
def test_the_grid_is_that_of_an_affine_map(size: tuple[int, int]) -> None:
    area, ratio, across, down, flip = torch.rand(5, 40, generator=stream("crops"))
    crops = Crops(0.05 + 0.95 * area, 0.75 + ratio / 2, across, down, flip < 0.5, size)
    # Half the sides of a crop, in coordinates from -1 to 1, are its shares of the image's sides.
    width, height = (crops.area * crops.ratio).sqrt().clamp(max=1), (crops.area / crops.ratio).sqrt().clamp(max=1)
    affine = torch.zeros(40, 2, 3)
    affine[:, 0, 0] = torch.where(crops.is_flipped, -width, width)
    affine[:, 1, 1] = height
    affine[:, 0, 2] = (2 * across - 1) * (1 - width)
    affine[:, 1, 2] = (2 * down - 1) * (1 - height)
    expected = functional.affine_grid(affine, [40, 1, *size], align_corners=False)
    torch.testing.assert_close(crops.grid(*size, torch.device("cpu")), expected, rtol=0, atol=1e-6)


def test_the_crop_of_an_image_has_its_numbers() -> None:
    numbers = torch.tensor([0.25, 0.5])
    crop = Crops(numbers, numbers + 1, numbers / 2, numbers / 4, torch.tensor([False, True]), (8, 8))[1]
    assert (crop.area, crop.ratio, crop.across, crop.down) == (0.5, 1.5, 0.25, 0.125)
    assert crop.is_flipped and crop.size == (8, 8)
