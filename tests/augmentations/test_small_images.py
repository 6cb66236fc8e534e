from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from study.augmentations.small_images import SmallImages
from study.tensors.images import to_float
from study.tensors.streams import stream

IDENTITY = SmallImages(
    crop_area=(1, 1),
    crop_ratio=(1, 1),
    flip_probability=0,
    jitter_probability=0,
    blur_probability=0,
    noise_sd=0,
    erase_probability=0,
)


def _images(num_images: int = 400, channels: int = 1, height: int = 28, width: int = 28) -> Tensor:
    """Bright blobs at random places on black, never as bright as white."""
    places = torch.rand(num_images, 2, 1, 1, generator=stream("places")) * 0.5 + 0.25
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    blobs = torch.exp(-((x - places[:, 0]) ** 2 + (y - places[:, 1]) ** 2) / 0.02)
    return (200 * blobs).to(torch.uint8)[:, None].expand(-1, channels, -1, -1).contiguous()


def _view(augmentation: SmallImages, images: Tensor, seed: int = 0) -> Tensor:
    return augmentation(images, stream("augment", seed))


def _only(**settings: float | tuple[float, float]) -> SmallImages:
    return dataclasses.replace(IDENTITY, **settings)  # type: ignore[arg-type]


def test_to_float_maps_bytes_to_minus_one_and_one() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)
    torch.testing.assert_close(to_float(images), torch.tensor([-1.0, -0.6, 1.0]))


@pytest.mark.parametrize("shape", [(400, 1, 28, 28), (7, 3, 32, 40), (2, 1, 3, 3)], ids=str)
def test_shape_type_and_range(shape: tuple[int, int, int, int]) -> None:
    view = _view(SmallImages(), _images(*shape))
    assert (tuple(view.shape), view.dtype) == (shape, torch.float32)
    assert view.isfinite().all() and view.min() >= -1 and view.max() <= 1


def test_views_are_a_function_of_the_stream_alone() -> None:
    images = _images()
    untouched, state = images.clone(), torch.get_rng_state()
    first = _view(SmallImages(), images)
    assert torch.equal(first, _view(SmallImages(), images))
    assert not torch.equal(first, _view(SmallImages(), images, seed=1))
    assert torch.equal(images, untouched) and torch.equal(state, torch.get_rng_state())


def test_settings_do_not_move_the_stream() -> None:
    after = []
    for augmentation in (IDENTITY, SmallImages()):
        generator = stream("augment", 0)
        augmentation(_images(), generator)
        after.append(generator.get_state())
    assert torch.equal(*after)


def test_identity_settings_reproduce_the_input() -> None:
    for images in (_images(), _images(5, 3, 32, 40)):
        torch.testing.assert_close(_view(IDENTITY, images), to_float(images), rtol=0, atol=2e-5)


def test_flip_mirrors_about_half_of_the_images() -> None:
    images = _images()
    view, plain = _view(_only(flip_probability=0.5), images), to_float(images)
    kept = (view - plain).abs().amax(dim=(1, 2, 3)) < 1e-4
    mirrored = (view - plain.flip(-1)).abs().amax(dim=(1, 2, 3)) < 1e-4
    assert bool((kept ^ mirrored).all())
    assert 0.4 < mirrored.float().mean() < 0.6


def test_crop_magnifies_a_part_of_the_image() -> None:
    """A horizontal ramp stays a ramp; its slope is the crop's width, and its ends stay inside the image."""
    ramp = torch.linspace(0, 255, 28).to(torch.uint8).expand(400, 1, 28, 28)
    view = _view(_only(crop_area=(0.3, 1.0), crop_ratio=(3 / 4, 4 / 3)), ramp)
    widths = (view[:, 0, 14, 20] - view[:, 0, 14, 7]) / 13 * 27 / 2
    low = math.sqrt(0.3 * 3 / 4)
    assert low - 0.02 < widths.min() < low + 0.1 and 0.95 < widths.max() < 1.02
    assert 0.68 < widths.mean() < 0.9


def test_jitter_is_an_affine_map_of_intensities() -> None:
    images = _images()
    view = (_view(_only(jitter_probability=0.8), images) + 1) / 2
    plain = images.float() / 255
    changed = (view - plain).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert 0.7 < changed.float().mean() < 0.9
    brightness = view[changed].mean(dim=(1, 2, 3)) / plain[changed].mean(dim=(1, 2, 3))
    assert 0.55 < brightness.min() < 0.7 and 1.3 < brightness.max() < 1.75  # black is clipped: up to + 0.3
    still = _view(_only(jitter_probability=1, jitter_strength=0), images)
    torch.testing.assert_close(still, to_float(images), rtol=0, atol=2e-5)


def test_blur_keeps_the_mean_and_lowers_the_contrast() -> None:
    checker = (torch.arange(28)[:, None] + torch.arange(28)) % 2 * 200
    images = checker.to(torch.uint8).expand(400, 1, 28, 28)
    view = (_view(_only(blur_probability=0.3), images) + 1) / 2 * 255
    blurred = (view - images).abs().amax(dim=(1, 2, 3)) > 1
    assert 0.22 < blurred.float().mean() < 0.38
    torch.testing.assert_close(view[blurred][..., 1:-1, 1:-1], torch.full((int(blurred.sum()), 1, 26, 26), 100.0))


def test_noise_has_another_strength_in_every_image() -> None:
    grey = torch.full((400, 1, 28, 28), 128, dtype=torch.uint8)
    deviations = (_view(_only(noise_sd=0.1), grey) / 2).std(dim=(1, 2, 3))
    assert deviations.min() < 0.005 and 0.095 < deviations.max() < 0.11
    assert deviations.mean() == pytest.approx(0.05, abs=0.005)


def test_erasing_blackens_one_rectangle() -> None:
    white = torch.full((1000, 1, 28, 28), 255, dtype=torch.uint8)
    black = _view(_only(erase_probability=0.3), white)[:, 0] < 0
    erased = black.any(dim=(1, 2))
    assert 0.25 < erased.float().mean() < 0.35
    heights, widths = black[erased].any(dim=2).sum(dim=1), black[erased].any(dim=1).sum(dim=1)
    assert torch.equal(heights * widths, black[erased].sum(dim=(1, 2)))
    assert set(heights.tolist()) == set(widths.tolist()) == set(range(4, 11))
    assert black.any(dim=(0, 1)).all() and black.any(dim=(0, 2)).all(), "every row and column can be hit"


def test_views_still_show_their_image() -> None:
    """A view resembles its own image more than the others, and the batch keeps its brightness."""
    images = _images(200)
    plain, view = to_float(images).flatten(1), _view(SmallImages(), images).flatten(1)
    similarity = torch.corrcoef(torch.cat([plain, view]))[:200, 200:]
    assert similarity.diagonal().mean() > similarity.mean() + 0.2
    assert view.mean() == pytest.approx(float(plain.mean()), abs=0.3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flip_probability": 1.5}, r"flip_probability must lie in \[0, 1\], but got 1\.5"),
        ({"crop_area": (0.0, 1.0)}, r"0 < low <= high <= 1 must hold, but got crop_area=\(0\.0, 1\.0\)"),
        ({"crop_ratio": (2.0, 1.0)}, r"0 < low <= high must hold, but got crop_ratio=\(2\.0, 1\.0\)"),
        ({"erase_pixels": (0, 4)}, r"0 < low <= high must hold, but got erase_pixels=\(0, 4\)"),
        ({"jitter_strength": -0.1}, r"jitter_strength must lie in \[0, 1\], but got -0\.1"),
        ({"noise_sd": -1.0}, r"noise_sd must be finite and >= 0, but got -1"),
    ],
)
def test_refused_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SmallImages(**settings)  # type: ignore[arg-type]


class TestLocalViews:
    def test_they_come_after_the_full_ones_and_are_small(self) -> None:
        augmentation = SmallImages(num_local_views=3, local_size=12)
        assert augmentation.num_views == 5
        sizes = [augmentation(_images(9), stream("augment", view), view).shape[-2:] for view in range(5)]
        assert sizes == [(28, 28)] * 2 + [(12, 12)] * 3

    def test_full_views_do_not_depend_on_them(self) -> None:
        images = _images()
        with_local = SmallImages(num_local_views=3)(images, stream("augment", 0), 1)
        assert torch.equal(with_local, _view(SmallImages(), images))

    def test_a_local_view_is_a_part_of_the_image(self) -> None:
        """A quarter of the area on half of the side keeps the scale."""
        augmentation = _only(local_area=(0.25, 0.25))
        augmentation = dataclasses.replace(augmentation, num_local_views=1, local_size=14)
        images = torch.randint(0, 256, (50, 1, 28, 28), dtype=torch.uint8, generator=stream("noise"))
        views = augmentation(images, stream("augment", 0), 2)
        uniform = torch.rand(15, 50, generator=stream("augment", 0))
        for image, view, x, y in zip(images, views, uniform[3], uniform[4], strict=True):
            # The corner of the crop, in pixels; between two pixels the view is their mixture.
            left, top = float(x) * 14, float(y) * 14
            grid_y, grid_x = torch.arange(14) + top, torch.arange(14) + left
            expected = _bilinear(to_float(image)[0], grid_y, grid_x)
            torch.testing.assert_close(view[0], expected, rtol=0, atol=2e-4)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"num_local_views": -1}, "num_local_views must be >= 0, but got num_local_views=-1"),
            ({"local_size": 3}, "local_size must be >= 4, but got local_size=3"),
            ({"local_area": (0.5, 0.4)}, r"0 < low <= high <= 1 must hold, but got local_area=\(0.5, 0.4\)"),
        ],
    )
    def test_refused_settings(self, settings: dict[str, int], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            SmallImages(**settings)  # type: ignore[arg-type]


def _bilinear(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """The image at every pair of positions, in pixels from its first pixel; inside of it."""
    rows, columns = y.floor().long().clamp(max=26), x.floor().long().clamp(max=26)
    v, u = (y - rows)[:, None], (x - columns)[None, :]
    corners = [image[rows + i][:, columns + j] for i in (0, 1) for j in (0, 1)]
    return (1 - v) * ((1 - u) * corners[0] + u * corners[1]) + v * ((1 - u) * corners[2] + u * corners[3])
