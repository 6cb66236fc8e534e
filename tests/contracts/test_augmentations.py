"""What every augmentation keeps to, whatever it does to images; a new file in its folder is judged here unasked."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from study import registry
from study.augmentations.base import NUM_FULL_VIEWS, Augmentation, CropAugmentation
from study.tensors.crops import Crops
from study.tensors.streams import global_draws, global_states, seed_global_generators, stream

_SIZES = (28, 33)
_LOCAL = {"num_local_views": 2, "local_size": 12}


@pytest.fixture(params=registry.names("augmentations"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["default", "local views"])
def augmentation(name: str, request: pytest.FixtureRequest) -> Augmentation:
    """One augmentation with its defaults, and where it has local views, with some of these."""
    cls = registry.component("augmentations", name)
    if request.param == "default":
        made: Augmentation = cls()
    elif {*_LOCAL} <= {field.name for field in dataclasses.fields(cls)}:
        made = cls(**_LOCAL)
    else:
        pytest.skip("it has no local views")
    return made


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _images(batch: int = 12, size: int = 28, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=stream("images", seed))


def _views(
    augmentation: Augmentation, images: Tensor, seed: int = 0, part: tuple[int, int] | None = None
) -> list[Tensor]:
    """All views, drawn as the training loop draws them."""
    return [augmentation(images, stream("view", seed, i), i, part) for i in range(augmentation.num_views)]


def _equal(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


def test_settings_are_a_frozen_dataclass(augmentation: Augmentation) -> None:
    assert dataclasses.is_dataclass(augmentation)
    assert type(augmentation).__dataclass_params__.frozen  # type: ignore[attr-defined]
    same = dataclasses.replace(augmentation)  # type: ignore[type-var]
    assert same == augmentation == pickle.loads(pickle.dumps(augmentation)) and hash(same) == hash(augmentation)


@pytest.mark.parametrize("size", _SIZES)
@pytest.mark.parametrize("batch", [1, 12])
def test_views_are_normalised_images(augmentation: Augmentation, batch: int, size: int) -> None:
    views = _views(augmentation, _images(batch, size))
    assert len(views) == augmentation.num_views >= NUM_FULL_VIEWS
    for number, view in enumerate(views):
        assert view.dtype == torch.float32 and view.isfinite().all()
        assert float(view.abs().max()) <= 1 + 1e-5
        assert view.shape[:2] == (batch, 3) and view.shape[2] == view.shape[3]
        assert view.shape[2] == size if number < NUM_FULL_VIEWS else view.shape[2] < size


@pytest.mark.parametrize("value", [0, 1, 255])
def test_images_of_one_colour_stay_finite(augmentation: Augmentation, value: int) -> None:
    for view in _views(augmentation, torch.full((12, 3, 28, 28), value, dtype=torch.uint8)):
        assert view.isfinite().all() and view.abs().max() <= 1 + 1e-5


def test_the_generator_alone_decides(augmentation: Augmentation) -> None:
    """Whatever was drawn from the generators that a process has for all, which stay where they are."""
    seed_global_generators("before")
    before = global_states()
    views = _views(augmentation, _images())
    assert global_draws(before) == []
    seed_global_generators("elsewhere")
    assert _equal(_views(augmentation, _images()), views)
    assert not any(map(torch.equal, views, _views(augmentation, _images(), seed=1)))


def test_another_instance_and_calls_before_do_not_matter(augmentation: Augmentation) -> None:
    expected = _views(augmentation, _images())
    _views(augmentation, _images(seed=1), seed=1)
    assert _equal(_views(augmentation, _images()), expected)
    assert _equal(_views(dataclasses.replace(augmentation), _images()), expected)  # type: ignore[type-var]


def test_the_generator_advances_whatever_the_images_are(augmentation: Augmentation) -> None:
    for view in range(augmentation.num_views):
        ends = []
        for seed in (0, 1):
            generator = stream("view")
            augmentation(_images(seed=seed), generator, view)
            ends.append(generator.get_state())
        assert torch.equal(*ends)


def test_every_image_is_seen_otherwise(augmentation: Augmentation) -> None:
    same = _images(1).expand(12, -1, -1, -1).contiguous()
    for view in _views(augmentation, same):
        assert len({image.numpy().tobytes() for image in view}) == 12


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_images_stay_as_they_are_in_either_layout(augmentation: Augmentation, layout: torch.memory_format) -> None:
    images = _images().contiguous(memory_format=layout)
    views = _views(augmentation, images)
    assert torch.equal(images, _images()) and images.is_contiguous(memory_format=layout)
    for ours, theirs in zip(views, _views(augmentation, _images()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cuts", [(6, 6), (4, 4, 4), (1, 11)], ids=str)
def test_parts_see_what_they_see_in_the_whole(augmentation: Augmentation, cuts: tuple[int, ...]) -> None:
    images, parts, start = _images(), [], 0
    for count in cuts:
        parts.append(_views(augmentation, images[start : start + count], part=(start, len(images))))
        start += count
    for whole, pieces in zip(_views(augmentation, images), zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(pieces), whole, rtol=0, atol=1e-5)


class TestCrops:
    """Those that begin with a crop may have it cut elsewhere."""

    @pytest.fixture
    def cropping(self, augmentation: Augmentation) -> CropAugmentation:
        if not isinstance(augmentation, CropAugmentation):
            pytest.skip("it cuts for itself")
        return augmentation

    def test_crops_lie_in_the_image(self, cropping: CropAugmentation) -> None:
        for view, expected in enumerate(_views(cropping, _images())):
            crops = cropping.crops(12, 28, stream("view", 0, view), view)
            assert (len(crops), crops.size) == (12, tuple(expected.shape[2:]))
            for values, low, high in ((crops.area, 0, 1), (crops.across, 0, 1), (crops.down, 0, 1)):
                assert low <= float(values.min()) and float(values.max()) <= high
            part = cropping.crops(5, 28, stream("view", 0, view), view, (4, 12))
            assert torch.equal(part.area, crops.area[4:9]) and torch.equal(part.is_flipped, crops.is_flipped[4:9])

    def test_calling_it_is_cutting_and_photometry(self, cropping: CropAugmentation) -> None:
        """Up to the rounding of what was cut to bytes."""
        images = _smooth()
        for view in range(cropping.num_views):
            crops = cropping.crops(len(images), 28, stream("view", view), view)
            made = cropping.photometry(_cut(images, crops), stream("view", view), view)
            difference = (made - cropping(images, stream("view", view), view)).abs()
            assert float(difference.median()) < 0.01 and float(difference.mean()) < 0.02

    def test_photometry_keeps_to_its_part(self, cropping: CropAugmentation) -> None:
        for view, whole in enumerate(_views(cropping, _images())):
            cut = _images(size=whole.shape[-1])
            expected = cropping.photometry(cut, stream("view", view), view)
            found = cropping.photometry(cut[4:9], stream("view", view), view, (4, 12))
            torch.testing.assert_close(found, expected[4:9], rtol=0, atol=1e-5)


def _smooth() -> Tensor:
    """Images without edges, so that it matters little where between two pixels a crop begins."""
    coarse = torch.rand(12, 3, 4, 4, generator=stream("smooth"))
    return (functional.interpolate(coarse, (28, 28), mode="bicubic").clamp(0, 1) * 255).round().to(torch.uint8)


def _cut(images: Tensor, crops: Crops) -> Tensor:
    """Every pixel of a crop the mean of four samples; not how any augmentation does it."""
    height, width = crops.size
    grid = crops.grid(2 * height, 2 * width, torch.device("cpu"))
    fine = functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return functional.avg_pool2d(fine, 2).round().to(torch.uint8)
