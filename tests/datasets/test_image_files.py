"""Image files: what is kept is what torchvision's transforms give, once, for as long as the files stay the same."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder as TorchvisionFolder

from study.datasets import _pixels
from study.datasets._held_out import in_turns
from study.datasets._image_files import ImageFiles
from study.datasets.base import Split
from study.datasets.image_folder import ImageFolder
from study.datasets.imagenet import ImageNet
from study.datasets.inaturalist2018 import INaturalist2018
from study.errors import DataError
from tests.fakes import tiny_datasets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes: PNG and JPEG, wide, tall, small, grey, with transparency, in sub-folders, with other files."""
    root = tmp_path / "flowers"
    for name in ("ant", "bee", "cat"):
        tiny_datasets.write_image(root / "train" / name / "wide.png", 1, (60, 30))
        tiny_datasets.write_image(root / "train" / name / "tall.JPEG", tiny_datasets.hash_of(name), (25, 50))
        tiny_datasets.write_image(root / "train" / name / "small.jpg", 3, (7, 5))
        tiny_datasets.write_image(root / "train" / name / "deeper" / "grey.png", 4, mode="L")
        tiny_datasets.write_image(root / "train" / name / "clear.png", 5, mode="RGBA")
        tiny_datasets.write_image(root / "val" / name / "0.jpg", 6)
        (root / "train" / name / "notes.txt").write_text("no image")
        (root / "train" / name / ".hidden.png").write_text("no image")
    return root


def _dataset(**settings: object) -> ImageFolder:
    return ImageFolder(
        **{"num_ssl_images": 9, "num_validation_images": 6, "num_classes": 3, "image_size": 20, **settings}
    )  # type: ignore[arg-type]


def _cache_files(folder: Path) -> list[Path]:
    return sorted((folder / ".study-cache").glob("*.uint8"))


@pytest.mark.parametrize("crop_share", [0.875, 1.0])
def test_pixels_and_labels_are_torchvisions(folder: Path, crop_share: float) -> None:
    dataset = _dataset(crop_share=crop_share)
    resize = transforms.Compose(
        [transforms.Resize(round(20 / crop_share)), transforms.CenterCrop(20), transforms.PILToTensor()]
    )
    theirs = TorchvisionFolder(str(folder / "train"), resize)
    expected = {Path(path).relative_to(folder / "train").as_posix(): i for i, (path, _) in enumerate(theirs.samples)}
    seen = []
    for split in (Split.VALIDATION, Split.TRAIN):
        files, read = dataset.files(folder, split), dataset.labelled(folder, split)
        for name, image, label in zip(files.names, read.images, read.labels, strict=True):
            pixels, theirs_label = theirs[expected[name]]
            assert torch.equal(image, pixels) and int(label) == theirs_label
            seen.append(name)
    assert sorted(seen) == sorted(name for name in expected if "hidden" not in name)
    assert torch.equal(dataset.unlabelled(folder), dataset.labelled(folder, Split.TRAIN).images)
    assert dataset.files(folder, Split.TEST).paths() == [folder / "val" / c / "0.jpg" for c in ("ant", "bee", "cat")]


def test_images_are_decoded_once_and_mapped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = _dataset()
    first = dataset.unlabelled(folder)
    (file,) = _cache_files(folder)
    assert file.stat().st_size == 15 * 3 * 20 * 20 == first.untyped_storage().nbytes()  # a slice of one mapping
    monkeypatch.setattr(_pixels, "_decode", lambda *arguments: pytest.fail("decoded again"))
    for split in (Split.TRAIN, Split.VALIDATION):
        dataset.labelled(folder, split)
    assert torch.equal(dataset.unlabelled(folder), first)


def test_the_cache_belongs_to_the_bytes_not_to_their_times(folder: Path) -> None:
    dataset = _dataset()
    pixels, fingerprint = dataset.unlabelled(folder).clone(), dataset.fingerprint(folder)
    for path in (folder / "train").rglob("*.png"):
        os.utime(path, (1, 1))
    assert dataset.fingerprint(folder) == fingerprint
    dataset.unlabelled(folder)
    assert len(_cache_files(folder)) == 1
    tiny_datasets.write_image(folder / "train" / "ant" / "wide.png", 99, (60, 30))
    assert dataset.fingerprint(folder) != fingerprint
    assert not torch.equal(dataset.unlabelled(folder), pixels)
    assert len(_cache_files(folder)) == 2


def test_other_settings_do_not_share_pixels(folder: Path) -> None:
    _dataset().unlabelled(folder)
    for change in ({"image_size": 12}, {"crop_share": 1.0}, {"split_seed": 1}, {"num_ssl_images": 8}):
        replace(_dataset(), **change).unlabelled(folder)
    assert len(_cache_files(folder)) == 5


@pytest.mark.parametrize("is_imagenet", [False, True])
def test_pixels_that_an_older_rule_has_kept_are_taken_only_where_the_rule_is_the_same(
    folder: Path, is_imagenet: bool
) -> None:
    """Once everything was read as torchvision's loader does; ImageNet still is."""
    dataset: ImageFiles = _dataset()
    if is_imagenet:
        folder = tiny_datasets.write_imagenet(folder.parent / "imagenet")
        numbers = {"num_ssl_images": 32, "num_validation_images": 8, "num_classes": 4}
        dataset = ImageNet(**numbers, image_size=20, crops_from="squares")  # type: ignore[arg-type]
    names = [*dataset.files(folder, Split.VALIDATION).names, *dataset.files(folder, Split.TRAIN).names]
    key = f"1\0{dataset.fingerprint(folder)}\0{20}\0{0.875!r}\n" + "\n".join(names)
    old = folder / ".study-cache" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.uint8"
    old.write_bytes(bytes(len(names) * 3 * 20 * 20))
    old.with_suffix(".json").write_text(json.dumps({"shape": [len(names), 3, 20, 20], "crop_share": 0.875}))
    cache, needed = dataset.room_needed(folder)
    assert (cache, needed) == (old.parent, 0 if is_imagenet else old.stat().st_size)
    assert bool(dataset.unlabelled(folder)[:].any()) != is_imagenet
    assert dataset.room_needed(folder) == (old.parent, 0)


def test_the_fingerprint_is_not_that_of_the_test_files(folder: Path) -> None:
    before = _dataset().fingerprint(folder)
    tiny_datasets.write_image(folder / "val" / "ant" / "1.jpg", 7)
    assert _dataset().fingerprint(folder) == before
    (folder / "train" / "ant" / "wide.png").rename(folder / "train" / "ant" / "wider.png")
    assert _dataset().fingerprint(folder) != before


def test_each_split_opens_its_own_files_alone(folder: Path) -> None:
    (folder / "val" / "bee" / "0.jpg").write_text("no image")
    assert len(_dataset().labelled(folder, Split.TRAIN).labels) == 9
    with pytest.raises(DataError, match=r"1 image cannot be decoded; fetch it again(.|\n)*val/bee/0\.jpg"):
        _dataset().labelled(folder, Split.TEST)
    (folder / "val" / "bee" / "0.jpg").unlink()
    tiny_datasets.write_image(folder / "val" / "bee" / "0.jpg", 1)
    (folder / "train" / "cat" / "small.jpg").write_text("no image")
    assert _dataset().labelled(folder, Split.TEST).labels.tolist() == [0, 1, 2]


def test_all_damaged_images_are_named_and_nothing_is_left(folder: Path) -> None:
    whole = (folder / "train" / "ant" / "tall.JPEG").read_bytes()
    (folder / "train" / "ant" / "tall.JPEG").write_bytes(whole[: len(whole) // 2])
    (folder / "train" / "bee" / "wide.png").write_bytes(b"")
    with pytest.raises(DataError, match="2 images cannot be decoded") as caught:
        _dataset().unlabelled(folder)
    assert "ant/tall.JPEG" in str(caught.value) and "bee/wide.png" in str(caught.value)
    assert [path.suffix for path in (folder / ".study-cache").iterdir() if path.is_file()] == [".lock"]


def test_only_one_of_many_decodes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    original = _pixels._decode_all
    monkeypatch.setattr(_pixels, "_decode_all", lambda *a: (decoded.append(1), original(*a)))
    threads = [threading.Thread(target=_dataset().unlabelled, args=(folder,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decoded == [1]


def test_the_cache_may_lie_elsewhere(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "elsewhere"))
    _dataset().unlabelled(folder)
    assert list((tmp_path / "elsewhere").glob("*.uint8")) and not (folder / ".study-cache").exists()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot write to .*; set STUDY_CACHE to a folder that can be written"):
        _dataset().unlabelled(folder)


def test_no_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"15 decoded images need 18 kB in .*set STUDY_CACHE to a folder with more"):
        _dataset().unlabelled(folder)
    assert _cache_files(folder) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 4}, "holds 3 classes, but dataset.num_classes is 4; write num_classes: 3"),
        (
            {"num_ssl_images": 10},
            r"holds 15 training images of 3 classes, fewer than .* = 6 \+ 10; write num_ssl_images: 9",
        ),
    ],
)
def test_settings_that_do_not_fit_the_files(folder: Path, settings: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _dataset(**settings).unlabelled(folder)


def test_folders_that_are_something_else(folder: Path) -> None:
    (folder / "val" / "dog").mkdir()
    with pytest.raises(DataError, match=r"val: folders that are no class of the training images: \['dog'\]"):
        _dataset().labelled(folder, Split.TEST)
    (folder / "train" / "dog").mkdir()
    with pytest.raises(DataError, match=r"train: no image files in the folders of 1 class: \['dog'\]; read are \.jpg"):
        _dataset(num_classes=4).unlabelled(folder)
    with pytest.raises(DataError, match="expected one folder per class, but there is none"):
        _dataset(train_folder="train/ant/deeper").unlabelled(folder)
    with pytest.raises(DataError, match="lacks photos"):
        _dataset(train_folder="photos").locate([folder])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 0}, "image_size must be >= 1"),
        ({"crop_share": 1.5}, r"crop_share must lie in \(0, 1\], but got crop_share=1\.5"),
        ({"num_validation_images": 0}, "num_validation_images must be >= 1"),
    ],
)
def test_refused_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _dataset(**settings)


class TestTurns:
    def test_every_beginning_has_equal_parts_while_they_last(self) -> None:
        labels = np.repeat([0, 1, 2], [50, 20, 5])
        order = in_turns("x", labels, 1, np.zeros(75, dtype=bool))
        assert sorted(order.tolist()) == list(range(75))
        for rounds in range(1, 6):
            assert np.bincount(labels[order[: 3 * rounds]]).tolist() == [rounds] * 3
        assert np.bincount(labels[order[:45]]).tolist() == [20, 20, 5]

    def test_what_is_last_comes_last(self) -> None:
        labels = np.repeat([0, 1], 10)
        is_last = np.zeros(20, dtype=bool)
        is_last[[0, 1, 2, 15]] = True
        assert set(in_turns("x", labels, 1, is_last)[-4:].tolist()) == {0, 1, 2, 15}

    def test_another_seed_gives_another_order(self) -> None:
        labels, none = np.zeros(50, dtype=np.int64), np.zeros(50, dtype=bool)
        assert in_turns("x", labels, 1, none).tolist() == in_turns("x", labels, 1, none).tolist()
        assert in_turns("x", labels, 1, none).tolist() != in_turns("x", labels, 2, none).tolist()


class TestINaturalist:
    @pytest.fixture
    def inat(self, tmp_path: Path) -> Path:
        return tiny_datasets.write_inaturalist(tmp_path / "inaturalist2018")

    def _dataset(self) -> INaturalist2018:
        return INaturalist2018(num_ssl_images=18, num_validation_images=6, num_classes=3, image_size=16)

    def test_categories_are_those_of_the_annotations(self, inat: Path) -> None:
        for split, counts in ((Split.VALIDATION, [2, 2, 2]), (Split.TRAIN, [10, 6, 2]), (Split.TEST, [3, 3, 3])):
            files, read = self._dataset().files(inat, split), self._dataset().labelled(inat, split)
            assert [int(name.split("/")[2]) for name in files.names] == read.labels.tolist()
            assert torch.bincount(read.labels).tolist() == counts

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"images": []}, "damaged or no annotation file of iNaturalist .KeyError"),
            ({"annotations": []}, "24 images, but 0 annotations"),
            ({"annotations": None}, "damaged or no annotation file of iNaturalist .TypeError"),
        ],
    )
    def test_damaged_annotations(self, inat: Path, change: dict[str, object], message: str) -> None:
        file = inat / "train2018.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
        with pytest.raises(DataError, match=message):
            self._dataset().unlabelled(inat)

    def test_annotations_that_lead_elsewhere_or_nowhere(self, inat: Path) -> None:
        file = inat / "train2018.json"
        content = json.loads(file.read_text())
        name = content["images"][0]["file_name"]
        content["images"][0]["file_name"] = "../../etc/passwd"
        file.write_text(json.dumps(content))
        with pytest.raises(DataError, match=r"'\.\./\.\./etc/passwd' lies outside of the dataset"):
            self._dataset().unlabelled(inat)
        content["images"][0]["file_name"] = name
        content["annotations"][0]["category_id"] = 3
        file.write_text(json.dumps(content))
        with pytest.raises(DataError, match=r"categories must be in \[0, 3\), found 0–3"):
            self._dataset().unlabelled(inat)
        file.write_text("{")
        with pytest.raises(DataError, match="damaged or no annotation file"):
            self._dataset().unlabelled(inat)

    def test_a_missing_image(self, inat: Path) -> None:
        file = self._dataset().files(inat, Split.TRAIN).paths()[0]
        file.unlink()
        for crops_from in ("squares", "originals"):
            with pytest.raises(DataError, match=f"{file}: cannot be read"):
                replace(self._dataset(), crops_from=crops_from).unlabelled(inat)[:]


def test_jpegs_with_four_colours_become_red_green_blue(tmp_path: Path) -> None:
    """ImageNet holds some CMYK files."""
    for name in ("a", "b"):
        for part in ("train", "val"):
            path = tmp_path / part / name / "0.jpg"
            path.parent.mkdir(parents=True)
            Image.new("CMYK", (30, 30), (0, 255, 255, 0)).save(path)
    dataset = ImageFolder(num_ssl_images=1, num_validation_images=1, num_classes=2, image_size=8)
    red, green, blue = dataset.unlabelled(tmp_path)[0].float().mean(dim=(1, 2)).tolist()
    assert red > 200 and green < 60 and blue < 60
