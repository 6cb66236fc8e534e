"""Where random crops of images lie, apart from the images: drawn once, cut wherever the pixels are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Crop:
    """A view's place in one image, whatever the size of that.

    Attributes:
        area: share of the image's area.
        ratio: width / height in pixels.
        across, down: which of the possible places, 0 is the left and upper one, all in [0, 1).
        is_flipped: whether left and right change places.
        size: height and width of the view that it becomes, in pixels.
    """

    area: float
    ratio: float
    across: float
    down: float
    is_flipped: bool
    size: tuple[int, int]

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Whole pixels of an image of `width` × `height`: top, left, height and width, as torchvision names a crop.

        Every place is equally probable, as in torchvision's `RandomResizedCrop`; too long a side is cut to the image's.
        """
        pixels = self.area * width * height
        across = min(width, max(1, round(math.sqrt(pixels * self.ratio))))
        down = min(height, max(1, round(math.sqrt(pixels / self.ratio))))
        return int(self.down * (height - down + 1)), int(self.across * (width - across + 1)), down, across


@dataclass(frozen=True)
class Crops:
    """The crops of one view of a batch; fields as in `Crop`, each of shape (batch,), on the CPU."""

    area: Tensor
    ratio: Tensor
    across: Tensor
    down: Tensor
    is_flipped: Tensor
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.area)

    def __getitem__(self, row: int) -> Crop:
        """The crop of one image."""
        area, ratio, across, down = (float(each[row]) for each in (self.area, self.ratio, self.across, self.down))
        return Crop(area, ratio, across, down, bool(self.is_flipped[row]), self.size)

    def grid(self, height: int, width: int, device: torch.device) -> Tensor:
        """Where square images are sampled for views of height × width, for `grid_sample`: (batch, height, width, 2).

        What `affine_grid` gives without `align_corners`, in a tenth of the time: rows and columns are apart here.
        """
        across = (self.area * self.ratio).sqrt().clamp(max=1)
        down = (self.area / self.ratio).sqrt().clamp(max=1)
        columns = _centres(torch.where(self.is_flipped, -across, across), (2 * self.across - 1) * (1 - across), width)
        rows = _centres(down, (2 * self.down - 1) * (1 - down), height)
        shape = (len(self), height, width)
        places = (columns.to(device)[:, None, :].expand(shape), rows.to(device)[:, :, None].expand(shape))
        return torch.stack(places, dim=-1)


def _centres(share: Tensor, middle: Tensor, num_pixels: int) -> Tensor:
    """Middles of the pixels along one side of a view, in coordinates from -1 to 1, shape (batch, num_pixels)."""
    centres = torch.linspace(-1, 1, num_pixels) * (num_pixels - 1) / num_pixels
    return centres * share[:, None] + middle[:, None]
