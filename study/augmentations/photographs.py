"""Random views of photographs, a whole batch at a time on its own device, as pre-training on ImageNet has them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from study.augmentations.base import NUM_FULL_VIEWS, CropAugmentation
from study.tensors.crops import Crops
from study.tensors.images import normalise

_GREY = (0.2989, 0.587, 0.114)  # ITU-R 601-2, as torchvision and PIL have it


@dataclass(frozen=True)
class Photographs(CropAugmentation):
    """One random view of each image; ranges and probabilities hold per image.

    In this order: resized crop and flip, brightness, contrast, saturation and hue, grey, blur, solarisation.

    Source: SimCLR, https://arxiv.org/abs/2002.05709, appendix A; of what differs between the two full-size views: BYOL,
    https://arxiv.org/abs/2006.07733, appendix B; of local views: SwAV, https://arxiv.org/abs/2006.09882, §3.2. The
    order of the four colour changes is fixed here and random there. Crops are bilinear: cut from the original files
    where the dataset has them (with antialiasing), else from the images that it keeps; views smaller than these are
    sampled twice as densely and averaged.

    Attributes:
        crop_area: range of the crop's share of the image's area.
        crop_ratio: range of the crop's width / height (log-uniform); too long a side is cut to the image.
        flip_probability: of the horizontal flip.
        brightness: factors lie in 1 ± this; likewise `contrast` and `saturation`, all at most 1.
        hue: largest shift, as a share of the circle, at most 0.5.
        jitter_probability: of changing these four.
        grey_probability: of dropping the colours.
        blur_probability: of a Gaussian blur, of the first view and of all others.
        blur_sigma: range of its standard deviation in pixels.
        solarize_probability: of inverting what is brighter than a half, of the first view and of all others.
        num_local_views: small views after the two full-size ones.
        local_size: side of the local views, in pixels.
        local_area: `crop_area` of the local views.

    Raises:
        ValueError: a range is empty or out of bounds, or a probability is not in [0, 1].
    """

    crop_area: tuple[float, float] = (0.2, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_probability: float = 0.5
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    jitter_probability: float = 0.8
    grey_probability: float = 0.2
    blur_probability: tuple[float, float] = (0.5, 0.5)
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize_probability: tuple[float, float] = (0.0, 0.0)
    num_local_views: int = 0
    local_size: int = 96
    local_area: tuple[float, float] = (0.05, 0.14)

    def __post_init__(self) -> None:
        flat = {
            "flip_probability": (self.flip_probability,), "jitter_probability": (self.jitter_probability,),
            "grey_probability": (self.grey_probability,), "blur_probability": self.blur_probability,
            "solarize_probability": self.solarize_probability, "brightness": (self.brightness,),
            "contrast": (self.contrast,), "saturation": (self.saturation,),
        }  # fmt: skip
        for name, values in flat.items():
            if not all(0 <= value <= 1 for value in values):
                raise ValueError(f"{name} must lie in [0, 1], but got {getattr(self, name)}")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue must lie in [0, 0.5], but got {self.hue:g}")
        for name, highest in (("crop_area", 1), ("local_area", 1), ("crop_ratio", math.inf), ("blur_sigma", math.inf)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= highest:
                raise ValueError(f"0 < low <= high <= {highest} must hold, but got {name}={low, high}")
        for name, least in (("num_local_views", 0), ("local_size", 4)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, but got {name}={getattr(self, name)}")

    @property
    def num_views(self) -> int:  # type: ignore[override]  # follows from the local ones
        """Two full-size views and the local ones."""
        return NUM_FULL_VIEWS + self.num_local_views

    def __call__(
        self, images: Tensor, generator: torch.Generator, view: int = 0, part: tuple[int, int] | None = None
    ) -> Tensor:
        """Draw one view of each image.

        Args:
            images: uint8, shape (batch, 3, height, width), on any device.
            generator: on the CPU; it advances by the batch's size alone.
            view: which one; those from 2 on are local.
            part: see the base class.

        Returns:
            float32, in [-1, 1], on the same device; of the same shape, or local_size × local_size.
        """
        uniform = _draw(len(images), generator, part)
        return self._photometry(_cut(images.float() / 255, self._crops(uniform, images.shape[-1], view)), uniform, view)

    def crops(
        self, num_images: int, image_size: int, generator: torch.Generator, view: int = 0,
        part: tuple[int, int] | None = None,
    ) -> Crops:  # fmt: skip
        """Draw where the views lie, see the base class."""
        return self._crops(_draw(num_images, generator, part), image_size, view)

    def photometry(
        self, crops: Tensor, generator: torch.Generator, view: int = 0, part: tuple[int, int] | None = None
    ) -> Tensor:
        """Change the colours of what was cut, see the base class."""
        return self._photometry(crops.float() / 255, _draw(len(crops), generator, part), view)

    def _crops(self, uniform: Tensor, image_size: int, view: int) -> Crops:
        is_local = view >= NUM_FULL_VIEWS
        side = self.local_size if is_local else image_size
        return Crops(
            area=_between(uniform[0], *(self.local_area if is_local else self.crop_area)),
            ratio=_between(uniform[1], *map(math.log, self.crop_ratio)).exp(),
            across=uniform[3],
            down=uniform[4],
            is_flipped=uniform[2] < self.flip_probability,
            size=(side, side),
        )

    def _photometry(self, x: Tensor, uniform: Tensor, view: int) -> Tensor:
        x = self._jitter(x, uniform[5:10])
        is_grey = (uniform[10] < self.grey_probability).to(x.device)
        x = torch.where(is_grey[:, None, None, None], _grey(x), x)
        x = self._blur(x, uniform[11:13], self.blur_probability[min(view, 1)])
        is_solarized = (uniform[13] < self.solarize_probability[min(view, 1)]).to(x.device)[:, None, None, None]
        return normalise(torch.where(is_solarized & (x >= 0.5), 1 - x, x))

    def _jitter(self, x: Tensor, uniform: Tensor) -> Tensor:
        chosen = uniform[0] < self.jitter_probability
        strengths = torch.tensor([self.brightness, self.contrast, self.saturation])[:, None]
        factors = torch.where(chosen, 1 + strengths * (2 * uniform[1:4] - 1), 1.0).to(x.device)[:, :, None, None, None]
        shift = torch.where(chosen, self.hue * (2 * uniform[4] - 1), 0.0).to(x.device)[:, None, None]
        x = (x * factors[0]).clamp(0, 1)
        x = torch.lerp(_grey(x).mean(dim=(1, 2, 3), keepdim=True), x, factors[1]).clamp(0, 1)
        x = torch.lerp(_grey(x), x, factors[2]).clamp(0, 1)
        return _turned(x, shift) if self.hue else x

    def _blur(self, x: Tensor, uniform: Tensor, probability: float) -> Tensor:
        chosen = (uniform[0] < probability).nonzero().flatten()
        if not len(chosen):
            return x
        sigma = _between(uniform[1][chosen], *self.blur_sigma).to(x.device)[:, None]
        radius = min(math.ceil(3 * self.blur_sigma[1]), min(x.shape[-2:]) - 1)
        offsets = torch.arange(-radius, radius + 1, device=x.device)
        kernels = torch.softmax(-0.5 * (offsets / sigma) ** 2, dim=1).repeat_interleave(x.shape[1], dim=0)
        chosen = chosen.to(x.device)
        rows = x[chosen].flatten(0, 1)[None]
        for kernel, padding in (
            (kernels[:, None, None], (radius, radius, 0, 0)),
            (kernels[:, None, :, None], (0, 0, radius, radius)),
        ):
            rows = functional.conv2d(functional.pad(rows, padding, mode="reflect"), kernel, groups=rows.shape[1])
        return x.index_copy(0, chosen, rows.reshape(len(chosen), *x.shape[1:]))


def _draw(num_images: int, generator: torch.Generator, part: tuple[int, int] | None) -> Tensor:
    """All random numbers of a view, shape (14, num_images); a part has those of its rows in the whole."""
    start, total = part or (0, num_images)
    return torch.rand(14, total, generator=generator)[:, start : start + num_images]


def _cut(x: Tensor, crops: Crops) -> Tensor:
    """Crops of square images as they are given, a whole batch at a time on its device."""
    height, width = crops.size
    density = 2 if height < x.shape[-1] else 1
    grid = crops.grid(density * height, density * width, x.device)
    view: Tensor = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    return functional.avg_pool2d(view, density) if density > 1 else view


def _grey(x: Tensor) -> Tensor:
    """Luminance, shape (batch, 1, height, width)."""
    return (x * x.new_tensor(_GREY)[:, None, None]).sum(dim=1, keepdim=True)


def _turned(x: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by a share of the circle; value and saturation of the HSV hexcone stay."""
    red, green, blue = x.unbind(dim=1)
    value, least = x.amax(dim=1), x.amin(dim=1)
    chroma = value - least
    divisor = torch.where(chroma > 0, chroma, 1.0)
    sector = torch.where(
        value == red, (green - blue) / divisor % 6,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )  # fmt: skip
    hue = sector + 6 * shift
    channels = []
    for start in (5, 3, 1):
        k = (start + hue) % 6
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, dim=1)


def _between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Stretch numbers from [0, 1) to [low, high)."""
    return low + (high - low) * uniform
