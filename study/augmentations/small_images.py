"""Random views of small images, a whole batch at a time on its own device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from study.augmentations.base import NUM_FULL_VIEWS, Augmentation
from study.tensors.crops import Crops
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
        num_local_views: small views after the two full-size ones ("multi-crop", Caron et al. 2020,
            https://arxiv.org/abs/2006.09882, §3.2).
        local_size: side of the local views, in pixels.
        local_area: `crop_area` of the local views.

    Raises:
        ValueError: a range is empty or out of bounds, a probability is not in [0, 1], or a number is too small.
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
    num_local_views: int = 0
    local_size: int = 16
    local_area: tuple[float, float] = (0.05, 0.3)

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "blur", "erase"):
            if not 0 <= (probability := getattr(self, f"{name}_probability")) <= 1:
                raise ValueError(f"{name}_probability must lie in [0, 1], but got {probability:g}")
        for name in ("crop_area", "local_area"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise ValueError(f"0 < low <= high <= 1 must hold, but got {name}={low, high}")
        for name, least in (("num_local_views", 0), ("local_size", 4)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, but got {name}={getattr(self, name)}")
        for name in ("crop_ratio", "erase_pixels"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"0 < low <= high must hold, but got {name}={low, high}")
        if not 0 <= self.jitter_strength <= 1:
            raise ValueError(f"jitter_strength must lie in [0, 1], but got {self.jitter_strength:g}")
        if not 0 <= self.noise_sd < math.inf:
            raise ValueError(f"noise_sd must be finite and >= 0, but got {self.noise_sd:g}")

    @property
    def num_views(self) -> int:  # type: ignore[override]  # follows from the local ones
        """Two full-size views and the local ones."""
        return NUM_FULL_VIEWS + self.num_local_views

    def __call__(
        self, images: Tensor, generator: torch.Generator, view: int = 0, part: tuple[int, int] | None = None
    ) -> Tensor:
        """Draw one view of each image.

        Args:
            images: uint8, shape (batch, channels, height, width), on any device.
            generator: on the CPU, so that all devices see the same numbers; it advances by the shape alone.
            view: which one; those from 2 on are local.
            part: see the base class.

        Returns:
            float32, in [-1, 1], on the same device; of the same shape, or local_size × local_size.
        """
        is_local = view >= NUM_FULL_VIEWS
        size = (self.local_size, self.local_size) if is_local else (images.shape[-2], images.shape[-1])
        start, total = part or (0, len(images))
        rows = slice(start, start + len(images))
        uniform = torch.rand(15, total, generator=generator)[:, rows]
        noise = torch.randn(total, images.shape[1], *size, generator=generator)[rows].to(images.device)
        x = images.float() / 255
        x = self._crop_and_flip(x, uniform[0:5], self.local_area if is_local else self.crop_area, size)
        x = self._jitter(x, uniform[5:8])
        x = self._blur(x, uniform[8])
        x = (x + noise * (self.noise_sd * uniform[9]).to(x.device)[:, None, None, None]).clamp_(0, 1)
        x = self._erase(x, uniform[10:15])
        return normalise(x)

    def _crop_and_flip(self, x: Tensor, uniform: Tensor, areas: tuple[float, float], size: tuple[int, int]) -> Tensor:
        crops = Crops(
            area=_between(uniform[0], *areas),
            ratio=_between(uniform[1], *map(math.log, self.crop_ratio)).exp(),
            across=uniform[3],
            down=uniform[4],
            is_flipped=uniform[2] < self.flip_probability,
            size=size,
        )
        grid = crops.grid(*size, x.device)
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
