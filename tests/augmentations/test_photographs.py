"""Views of photographs against torchvision's functions of single images."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from study.augmentations.photographs import Photographs, _turned
from study.tensors.images import to_float
from study.tensors.streams import stream

_IDENTITY = Photographs(
    crop_area=(1, 1), crop_ratio=(1, 1), flip_probability=0, jitter_probability=0, grey_probability=0,
    blur_probability=(0, 0),
)  # fmt: skip


def _images(side: int = 32) -> Tensor:
    return torch.randint(0, 256, (6, 3, side, side), dtype=torch.uint8, generator=stream("photographs"))


def _view(augmentation: Photographs, images: Tensor, view: int = 0, seed: int = 0) -> Tensor:
    return augmentation(images, stream("view", seed), view)


def _in_unit_interval(view: Tensor) -> Tensor:
    return view / 2 + 0.5


def test_nothing_chosen_changes_nothing():
    torch.testing.assert_close(_view(_IDENTITY, _images()), to_float(_images()), rtol=0, atol=1e-5)


def test_hue_is_turned_as_torchvision_does():
    x = _images() / 255
    for share in (-0.4, -0.05, 0.1, 0.5):
        expected = vision.adjust_hue(x, share)
        torch.testing.assert_close(_turned(x, torch.full((6, 1, 1), share)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colours_change_as_torchvision_changes_them(name):
    """Whatever factor was drawn: the view is that of torchvision for one factor in the range."""
    off = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    augmentation = dataclasses.replace(_IDENTITY, jitter_probability=1, **{**off, name: 0.5})
    x, views = _images() / 255, _in_unit_interval(_view(augmentation, _images()))
    row = ("brightness", "contrast", "saturation").index(name)
    factors = 1 + 0.5 * (2 * torch.rand(14, 6, generator=stream("view", 0))[6 + row] - 1)
    assert factors.min() < 1 and factors.max() > 1.2
    for image, view, factor in zip(x, views, factors.tolist(), strict=True):
        expected = getattr(vision, f"adjust_{name}")(image, factor)
        torch.testing.assert_close(view, expected, rtol=0, atol=1e-4)


def test_blur_is_a_gaussian_of_the_drawn_width():
    augmentation = dataclasses.replace(_IDENTITY, blur_probability=(1, 0), blur_sigma=(1.5, 1.5))
    expected = vision.gaussian_blur(_images() / 255, kernel_size=11, sigma=1.5)
    torch.testing.assert_close(_in_unit_interval(_view(augmentation, _images())), expected, rtol=0, atol=2e-3)
    torch.testing.assert_close(_view(augmentation, _images(), view=1), to_float(_images()), rtol=0, atol=1e-5)


def test_grey_and_solarized():
    grey = _in_unit_interval(_view(dataclasses.replace(_IDENTITY, grey_probability=1), _images()))
    torch.testing.assert_close(grey, vision.rgb_to_grayscale(_images() / 255, 3), rtol=0, atol=1e-4)
    solarized = dataclasses.replace(_IDENTITY, solarize_probability=(0, 1))
    expected = vision.solarize(_images() / 255, 0.5)
    torch.testing.assert_close(_in_unit_interval(_view(solarized, _images(), view=1)), expected, rtol=0, atol=1e-5)


def test_local_views_are_small_and_streams_decide_alone():
    augmentation = Photographs(num_local_views=2, local_size=12)
    assert augmentation.num_views == 4
    assert _view(augmentation, _images(), view=3).shape == (6, 3, 12, 12)
    assert torch.equal(_view(augmentation, _images()), _view(augmentation, _images()))
    assert not torch.equal(_view(augmentation, _images()), _view(augmentation, _images(), seed=1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"hue": 0.6}, "hue"), ({"crop_area": (0.5, 0.2)}, "crop_area"), ({"blur_probability": (0.5, 2)}, "blur_prob")],
)
def test_wrong_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        Photographs(**wrong)
