"""Images that are decoded when they are looked at, against torchvision's functions of single images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets.folder import pil_loader
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2 import functional as vision

from study.datasets.base import OriginalImages, Split
from study.datasets.image_folder import ImageFolder
from study.datasets.imagenet import ImageNet
from study.datasets.inaturalist2018 import INaturalist2018
from study.errors import DataError
from study.tensors.crops import Crop
from tests.fakes import tiny_datasets

_DATASET = ImageFolder(num_ssl_images=6, num_validation_images=4, num_classes=2, image_size=20, crops_from="originals")
_CROPS = (
    Crop(area=0.3, ratio=1.2, across=0.9, down=0.1, is_flipped=False, size=(20, 20)),
    Crop(area=1.0, ratio=0.8, across=0.5, down=0.5, is_flipped=True, size=(20, 20)),
    Crop(area=0.06, ratio=0.75, across=0.0, down=0.999, is_flipped=True, size=(8, 8)),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """JPEG and PNG, wide, tall, small, grey, with transparency, with four colours."""
    root = tmp_path / "flowers"
    for name in ("ant", "bee"):
        train = root / "train" / name
        tiny_datasets.write_image(train / "wide.png", tiny_datasets.hash_of(name), (60, 30))
        tiny_datasets.write_image(train / "tall.JPEG", 2, (25, 50))
        tiny_datasets.write_image(train / "small.jpg", 3, (7, 5))
        tiny_datasets.write_image(train / "grey.jpg", 4, mode="L")
        tiny_datasets.write_image(train / "clear.png", 5, mode="RGBA")
        Image.new("CMYK", (30, 40), (0, 255, 255, 0)).save(train / "four.jpg")
        tiny_datasets.write_image(root / "val" / name / "0.jpg", 6)
    return root


def _files(dataset: ImageFolder, folder: Path) -> OriginalImages:
    images = dataset.unlabelled(folder)
    assert isinstance(images, OriginalImages)
    return images


def _cut(images: OriginalImages, row: int, crops: tuple[Crop, ...] = _CROPS) -> list[Tensor]:
    into = [torch.empty((3, *crop.size), dtype=torch.uint8) for crop in crops]
    images.cut(row, crops, into)
    return into


def _expected(image: Image.Image, crop: Crop) -> Tensor:
    view = vision.resized_crop(image, *crop.box(*image.size), list(crop.size), antialias=True)
    return vision.pil_to_tensor(vision.horizontal_flip(view) if crop.is_flipped else view)


def test_evaluations_see_what_they_see_of_decoded_images(folder: Path) -> None:
    kept = replace(_DATASET, crops_from="squares")
    for split in Split:
        images, expected = _DATASET.labelled(folder, split), kept.labelled(folder, split)
        assert torch.equal(images.images[:], expected.images[:]) and torch.equal(images.labels, expected.labels)
    rows = torch.tensor([4, 0, 0])
    assert torch.equal(_DATASET.unlabelled(folder)[rows], kept.unlabelled(folder)[rows])
    assert torch.equal(_DATASET.unlabelled(folder)[2:40], kept.unlabelled(folder)[2:40])


def test_nothing_is_decoded_ahead_or_kept(folder: Path) -> None:
    _DATASET.check(folder)
    for path in (folder / "train").rglob("*.jpg"):
        path.write_bytes(b"")
    assert _DATASET.labelled(folder, Split.TRAIN).images.shape == (6, 3, 20, 20)
    assert not (folder / ".study-cache").exists()


def test_crops_are_torchvisions(folder: Path) -> None:
    dataset = replace(_DATASET, num_ssl_images=8)
    images, paths = _files(dataset, folder), dataset.files(folder, Split.TRAIN).paths()
    assert {path.suffix for path in paths} == {".png", ".jpg", ".JPEG"}
    for row, path in enumerate(paths):
        for crop, view in zip(_CROPS, _cut(images, row), strict=True):
            assert torch.equal(view, _expected(pil_loader(str(path)), crop)), path


@pytest.mark.parametrize(("size", "scale"), [((100, 75), 1), ((560, 420), 4), ((1600, 1200), 8)])
def test_large_jpegs_are_decoded_smaller(size: tuple[int, int], scale: int, folder: Path) -> None:
    crops = tuple(replace(crop, area=0.25, ratio=1.0) for crop in _CROPS)  # half of each side
    for path in (folder / "train").rglob("*.JPEG"):
        tiny_datasets.write_image(path, 9, size)
    dataset = replace(_DATASET, num_ssl_images=8)
    names = dataset.files(folder, Split.TRAIN).names
    row = next(i for i, name in enumerate(names) if name.endswith("JPEG"))
    views = _cut(_files(dataset, folder), row, crops)
    whole = pil_loader(str(folder / "train" / names[row]))
    with Image.open(folder / "train" / names[row]) as opened:
        opened.draft(None, (size[0] // scale, size[1] // scale))
        small = opened.convert("RGB")
    assert small.width == -(-size[0] // scale)
    for crop, view in zip(crops, views, strict=True):
        assert torch.equal(view, _expected(small, crop))
        difference = (view.float() - _expected(whole, crop).float()).abs()
        assert difference.mean() < 4, "levels of 255"


class TestBoxes:
    def test_they_are_as_large_as_drawn_and_lie_within(self) -> None:
        for area in (0.05, 0.3, 0.9):
            for ratio in (0.75, 1.0, 4 / 3):
                for place in (0.0, 0.4, 0.9999):
                    crop = Crop(area, ratio, place, 1 - place - 1e-6, False, (8, 8))
                    top, left, height, width = crop.box(500, 375)
                    assert 0 <= top <= 375 - height and 0 <= left <= 500 - width
                    if height < 375 and width < 500:
                        assert width * height == pytest.approx(area * 500 * 375, rel=0.01)
                        assert width / height == pytest.approx(ratio, rel=0.01)
        assert Crop(1.0, 1.0, 0.5, 0.5, False, (8, 8)).box(500, 375) == (0, 34, 375, 433)  # of 68 places
        assert Crop(0.01, 1.0, 0.5, 0.5, False, (8, 8)).box(3, 2) == (1, 1, 1, 1)

    def test_places_and_sizes_are_distributed_as_torchvisions(self) -> None:
        """Where no box leaves the image, so that torchvision takes the first that it draws."""
        torch.manual_seed(0)
        theirs = torch.tensor([_theirs() for _ in range(4000)], dtype=torch.float64)
        uniform = torch.rand(4000, 4, dtype=torch.float64)
        area, ratio = 0.05 + 0.2 * uniform[:, 0], (4 / 3) ** (2 * uniform[:, 1] - 1)
        drawn = zip(area.tolist(), ratio.tolist(), uniform[:, 2].tolist(), uniform[:, 3].tolist(), strict=True)
        ours = torch.tensor([Crop(*numbers, False, (8, 8)).box(500, 375) for numbers in drawn], dtype=torch.float64)
        standard_error = ((theirs.var(0) + ours.var(0)) / 4000).sqrt()
        assert ((theirs.mean(0) - ours.mean(0)).abs() < 4 * standard_error).all()
        torch.testing.assert_close(ours.std(0), theirs.std(0), rtol=0.06, atol=0)
        torch.testing.assert_close(ours.quantile(0.9, 0), theirs.quantile(0.9, 0), rtol=0.06, atol=0)


def _theirs() -> list[int]:
    crop = RandomResizedCrop(8, scale=(0.05, 0.25)).make_params([torch.empty(3, 375, 500)])
    return [crop[name] for name in ("top", "left", "height", "width")]


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:300]), Path.unlink])
def test_damaged_files_are_named(folder: Path, damage: Callable[[Path], object]) -> None:
    images, path = _files(_DATASET, folder), _DATASET.files(folder, Split.TRAIN).paths()[3]
    damage(path)
    message = rf"{path}: cannot be (read|decoded) \(.*\); fetch it again, or take it out of the dataset"
    with pytest.raises(DataError, match=message):
        _cut(images, 3)
    with pytest.raises(DataError, match=message):
        images[:]


def test_a_few_files_are_looked_at_before_anything_is_started(folder: Path) -> None:
    path = _DATASET.files(folder, Split.VALIDATION).paths()[1]
    path.write_bytes(b"no image")
    with pytest.raises(DataError, match=f"1 image cannot be decoded(.|\n)*{path}: no image that can be read"):
        _DATASET.check(folder)


def test_large_datasets_are_read_from_their_files_unless_it_is_said() -> None:
    assert ImageNet().crops_from == INaturalist2018().crops_from == "originals"
    assert ImageFolder(num_ssl_images=1, num_validation_images=1).crops_from == "squares"
