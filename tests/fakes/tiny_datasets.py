"""Tiny datasets in the layouts on disk of the originals, with random pixels."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from study import registry
from study.datasets.base import Dataset

WORDNET = ("n01440764", "n01443537", "n01484850", "n01491361")


def write(name: str, root: Path, patch: pytest.MonkeyPatch) -> Dataset:
    """Write a dataset below `root` and return settings that fit it; official sizes are patched to tiny ones."""
    cls = registry.component("datasets", name)
    match name:
        case "cifar10" | "cifar100":
            num_classes = cls.num_classes
            patch.setattr(cls, "num_train", 20 * num_classes)
            patch.setattr(cls, "num_test", 2 * num_classes)
            (write_cifar10 if name == "cifar10" else write_cifar100)(root, 20 * num_classes, 2 * num_classes)
            dataset: Dataset = cls(num_ssl_images=12 * num_classes, num_validation_images=8 * num_classes)
        case "stl10":
            for size, value in (("num_unlabelled", 30), ("num_train", 120), ("num_test", 20)):
                patch.setattr(cls, size, value)
            write_stl10(root, 30, 120, 20)
            dataset = cls(num_ssl_images=25, num_validation_images=60)
        case "image_folder":
            write_folders(root / "train", ("ant", "bee", "cat"), 9, ".png", seed=1)
            write_folders(root / "val", ("ant", "bee", "cat"), 2, ".jpg", seed=2)
            dataset = cls(num_ssl_images=15, num_validation_images=9, num_classes=3, image_size=16)
        case "imagenet":
            write_imagenet(root / "imagenet")
            dataset = cls(num_ssl_images=32, num_validation_images=8, num_classes=4, image_size=16)
        case "inaturalist2018":
            write_inaturalist(root / "inaturalist2018")
            dataset = cls(num_ssl_images=12, num_validation_images=6, num_classes=3, image_size=16)
        case _:
            raise NotImplementedError(f"no tiny files for {name}")
    return dataset


def damage(name: str, folder: Path, copy: Path) -> tuple[Path, Path]:
    """Copy a dataset's files and spoil both parts; returns what a check must name: of the test part, of the other."""
    shutil.copytree(folder, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".study-cache"))

    def shorten(path: Path) -> Path:
        path.write_bytes(path.read_bytes()[:100])
        return path

    match name:
        case "cifar10":
            return shorten(copy / "test_batch"), shorten(copy / "data_batch_3")
        case "cifar100":
            return shorten(copy / "test"), shorten(copy / "train")
        case "stl10":
            return shorten(copy / "test_X.bin"), shorten(copy / "train_X.bin")
        case "fashion_mnist":
            (copy / "t10k-images-idx3-ubyte.gz").unlink()
            (copy / "t10k-images-idx3-ubyte").write_bytes(bytes(100))
            return copy / "t10k-images-idx3-ubyte", shorten(copy / "train-labels-idx1-ubyte.gz")
        case "image_folder" | "imagenet":
            first = sorted((copy / "train").iterdir())[0]
            shutil.rmtree(copy / "val" / first.name)
            return copy / "val", shorten(sorted(first.iterdir())[0])
        case "inaturalist2018":
            names = {
                part: json.loads((copy / f"{part}2018.json").read_text())["images"][0]["file_name"]
                for part in ("train", "val")
            }
            (copy / names["val"]).unlink()
            return Path(names["val"]), shorten(copy / names["train"])
        case _:
            raise NotImplementedError(f"no damage for {name}")


def write_cifar10(root: Path, num_train: int, num_test: int) -> Path:
    """Five pickled batches and a test batch, as https://www.cs.toronto.edu/~kriz/cifar.html describes them."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for i in range(1, 6):
        write_batch(folder / f"data_batch_{i}", num_train // 5, 10, "labels", i)
    write_batch(folder / "test_batch", num_test, 10, "labels", 6)
    return folder


def write_cifar100(root: Path, num_train: int, num_test: int) -> Path:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for seed, (name, count) in enumerate((("train", num_train), ("test", num_test))):
        write_batch(folder / name, count, 100, "fine_labels", seed)
    return folder


def write_batch(path: Path, num_images: int, num_classes: int, label_key: str, seed: int) -> None:
    """A dict as Python 2 pickled it: protocol 2, labels as a list."""
    pixels = np.random.default_rng(seed).integers(0, 256, (num_images, 3072), dtype=np.uint8)
    labels = [i % num_classes for i in range(num_images)]
    batch = {"batch_label": "batch", label_key: labels, "data": pixels, "filenames": [f"{i}.png" for i in labels]}
    path.write_bytes(pickle.dumps(batch, protocol=2))


def write_stl10(root: Path, num_unlabelled: int, num_train: int, num_test: int) -> Path:
    """Bytes of images, each channel column by column; labels from 1."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, count in (("unlabeled", num_unlabelled), ("train", num_train), ("test", num_test)):
        random.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8).tofile(folder / f"{name}_X.bin")
        if name != "unlabeled":
            (np.arange(count, dtype=np.uint8) % 10 + 1).tofile(folder / f"{name}_y.bin")
    return folder


def write_imagenet(folder: Path, per_class: int = 10) -> Path:
    for name in WORDNET:
        for i in range(per_class):
            write_image(folder / "train" / name / f"{name}_{i * 7}.JPEG", seed=hash_of(name, i))
        for i in range(2):
            write_image(folder / "val" / name / f"ILSVRC2012_val_{hash_of(name, i):08d}.JPEG", seed=hash_of(name, -i))
    return folder


def write_inaturalist(folder: Path, counts: Sequence[int] = (12, 8, 4)) -> Path:
    """`train_val2018/<supercategory>/<category>/<hash>.jpg` and annotation files; species are unequally frequent."""
    for part, numbers in (("train", counts), ("val", (3,) * len(counts))):
        images, annotations = [], []
        for category, count in enumerate(numbers):
            for i in range(count):
                number = len(images) + (10_000 if part == "val" else 0)
                name = f"train_val2018/Plantae/{category}/{hash_of(part, category, i):032x}.jpg"
                write_image(folder / name, seed=number)
                images.append(
                    {"id": number, "license": 3, "rights_holder": "x", "file_name": name, "width": 40, "height": 30}
                )
                annotations.append({"id": number, "image_id": number, "category_id": category})
        categories = [{"id": i, "name": str(i), "supercategory": "Plantae"} for i in range(len(numbers))]
        content = {"info": {}, "images": images, "annotations": annotations[::-1], "categories": categories}
        (folder / f"{part}2018.json").write_text(json.dumps(content))
    return folder


def write_folders(folder: Path, classes: Sequence[str], per_class: int, suffix: str, seed: int) -> None:
    for name in classes:
        for i in range(per_class):
            write_image(folder / name / f"{i}{suffix}", seed=hash_of(seed, name, i))


def write_image(path: Path, seed: int, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> NDArray[np.uint8]:
    """An image file of width × height with smooth random colours; returns its pixels before compression."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(abs(seed)).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)
    image.save(path, **({"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg") else {}))
    return np.asarray(image)


def hash_of(*keys: object) -> int:
    """A number that belongs to keys, the same in every process."""
    return int.from_bytes(repr(keys).encode(), "big") % 99_999_989
