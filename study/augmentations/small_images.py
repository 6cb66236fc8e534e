"""Random views of small images, a whole batch at a time on its own device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from study.augmentations.base import Augmentation
from study.tensors.images import normalise


@dataclass(frozen=True)
class SmallImages(Augmentation):
    """One random view of each image; ranges and probabilities hold per image.

    In this order: resized crop and horizontal flip, brightness and contrast, blur, noise, erasing.
    Intensities are in [0, 1] meanwhile and are clipped to it.

    Attributes:
        crop_area: range of the crop's share of the image's area.
        crop_ratio: range of the crop's width / height (log-uniform); too long a side is cut to the image.
        flip_probability: of the horizontal flip.
        jitter_strength: brightness and contrast factors lie in 1 ± this, at most 1.
        jitter_probability: of changing both.
        blur_probability: of the 3×3 binomial blur.
        noise_sd: largest standard deviation of Gaussian noise; each image's own is uniform in [0, noise_sd].
        erase_pixels: smallest and largest side of the erased (black) rectangle; at most the image's side.
        erase_probability: of erasing.

    Raises:
        ValueError: a range is empty or out of bounds, or a probability is not in [0, 1].
    """

    crop_area: tuple[float, float] = (0.3, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_probability: float = 0.5
    jitter_strength: float = 0.4
    jitter_probability: float = 0.8
    blur_probability: float = 0.3
    noise_sd: float = 0.1
    erase_pixels: tuple[int, int] = (4, 10)
    erase_probability: float = 0.3

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "blur", "erase"):
            if not 0 <= (probability := getattr(self, f"{name}_probability")) <= 1:
                raise ValueError(f"{name}_probability must lie in [0, 1], but got {probability:g}")
        if not 0 < self.crop_area[0] <= self.crop_area[1] <= 1:
            raise ValueError(f"0 < low <= high <= 1 must hold, but got crop_area={self.crop_area}")
        for name in ("crop_ratio", "erase_pixels"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"0 < low <= high must hold, but got {name}={low, high}")
        if not 0 <= self.jitter_strength <= 1:
            raise ValueError(f"jitter_strength must lie in [0, 1], but got {self.jitter_strength:g}")
        if not 0 <= self.noise_sd < math.inf:
            raise ValueError(f"noise_sd must be finite and >= 0, but got {self.noise_sd:g}")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one view of each image.

        Args:
            images: uint8, shape (batch, channels, height, width), on any device.
            generator: on the CPU, so that all devices see the same numbers; it advances by the shape alone.

        Returns:
            float32, same shape and device, in [-1, 1].
        """
        uniform = torch.rand(15, len(images), generator=generator)
        noise = torch.randn(images.shape, generator=generator).to(images.device)
        x = images.float() / 255
        x = self._crop_and_flip(x, uniform[0:5])
        x = self._jitter(x, uniform[5:8])
        x = self._blur(x, uniform[8])
        x = (x + noise * (self.noise_sd * uniform[9]).to(x.device)[:, None, None, None]).clamp_(0, 1)
        x = self._erase(x, uniform[10:15])
        return normalise(x)

    def _crop_and_flip(self, x: Tensor, uniform: Tensor) -> Tensor:
        area = _between(uniform[0], *self.crop_area)
        ratio = _between(uniform[1], *map(math.log, self.crop_ratio)).exp()
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        affine = torch.zeros(len(x), 2, 3)
        affine[:, 0, 0] = torch.where(uniform[2] < self.flip_probability, -width, width)
        affine[:, 1, 1] = height
        affine[:, 0, 2] = (2 * uniform[3] - 1) * (1 - width)
        affine[:, 1, 2] = (2 * uniform[4] - 1) * (1 - height)
        grid = functional.affine_grid(affine.to(x.device), list(x.shape), align_corners=False)
        view: Tensor = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
        return view

    def _jitter(self, x: Tensor, uniform: Tensor) -> Tensor:
        chosen = uniform[0] < self.jitter_probability
        factors = torch.where(chosen, 1 + self.jitter_strength * (2 * uniform[1:3] - 1), 1.0)
        brightness, contrast = factors.to(x.device)[:, :, None, None, None].unbind()
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        return (x * (brightness * contrast) + mean * (brightness * (1 - contrast))).clamp_(0, 1)

    def _blur(self, x: Tensor, uniform: Tensor) -> Tensor:
        chosen = (uniform < self.blur_probability).nonzero().flatten().to(x.device)
        padded = functional.pad(x[chosen], (1, 1, 1, 1), mode="replicate")
        rows = (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]) / 4
        x[chosen] = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
        return x

    def _erase(self, x: Tensor, uniform: Tensor) -> Tensor:
        chosen = uniform[0] < self.erase_probability
        low, high = self.erase_pixels
        masks = []
        for size, where, side in zip(uniform[1:3], uniform[3:5], x.shape[-2:], strict=True):
            length = (low + (size * (high - low + 1)).floor()).clamp(max=side)
            start = (where * (side - length + 1)).floor()
            position = torch.arange(side)
            masks.append((start[:, None] <= position) & (position < (start + length)[:, None]))
        mask = masks[0][:, :, None] & masks[1][:, None, :] & chosen[:, None, None]
        return x.masked_fill_(mask[:, None].to(x.device), 0.0)


def _between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Stretch numbers from [0, 1) to [low, high)."""
    return low + (high - low) * uniform
