"""Fashion-MNIST: 70,000 grey 28×28 images of ten kinds of clothing."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from study.datasets._idx import find_idx, idx_bytes, read_idx
from study.datasets._mapped import wrong_size
from study.datasets.base import Dataset, LabelledImages, Split
from study.errors import DataError, noting, raise_any
from study.tensors.streams import stream

_NUM_IMAGES = {"train": 60_000, "t10k": 10_000}
_FOLDERS = ("fashion-mnist", "FashionMNIST/raw", "fashion_mnist", ".")
_HELP = """\
One of these helps:
  - apt-get install dataset-fashion-mnist      (Debian, Ubuntu; installs to /usr/share/datasets/fashion-mnist)
  - put the four files {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz] into <root>/fashion-mnist
  - set STUDY_DATA=<root>, where <root> already holds them"""


@dataclass(frozen=True)
class FashionMNIST(Dataset):
    """Settings of the splits.

    One seeded permutation of the official training set: first the validation images, then those for
    pre-training, which are also the labelled pool of the probes; the rest is unused. The test split is the
    official one.

    Source: Xiao, Rasul & Vollgraf 2017, https://arxiv.org/abs/1708.07747.

    Attributes:
        num_ssl_images: images for pre-training and probes.
        num_validation_images: images that only judge; with `num_ssl_images` at most 60,000.
        split_seed: which permutation.

    Raises:
        ValueError: a count is not positive, or both exceed the training set.
    """

    num_ssl_images: int = 10_000
    num_validation_images: int = 5_000
    split_seed: int = 12345

    num_classes = 10
    num_channels = 1
    image_size = 28

    def __post_init__(self) -> None:
        for name in ("num_ssl_images", "num_validation_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, but got {name}={getattr(self, name)}")
        total = self.num_ssl_images + self.num_validation_images
        if total > _NUM_IMAGES["train"]:
            raise ValueError(
                f"num_ssl_images + num_validation_images <= {_NUM_IMAGES['train']} must hold, but got "
                f"{self.num_ssl_images} + {self.num_validation_images} = {total}"
            )

    def locate(self, roots: Sequence[Path]) -> Path:
        """Return the first `<root>/{fashion-mnist,FashionMNIST/raw,fashion_mnist,.}` with all four files."""
        looked = []
        for folder in (root / name for root in roots for name in _FOLDERS):
            names = (*_file_names("train"), *_file_names("t10k"))
            missing = [name for name in names if not find_idx(folder, name)]
            if not missing:
                return folder
            reason = "no such folder" if not folder.is_dir() else f"lacks {', '.join(missing)}"
            looked.append(f"  - {folder}: {reason}")
        where = "\n".join(looked) or "  (no root was given)"
        raise DataError(f"Fashion-MNIST not found. Looked in:\n{where}\n{_HELP}")

    def download(self, root: Path) -> Path:
        """Download with torchvision into `root/FashionMNIST/raw`."""
        try:
            datasets = importlib.import_module("torchvision.datasets")
            datasets.FashionMNIST(str(root), download=True)
        except Exception as error:
            raise DataError(f"cannot download Fashion-MNIST into {root}: {error}\n{_HELP}") from error
        return self.locate([root])

    def unlabelled(self, folder: Path) -> Tensor:
        """Images of the TRAIN split in its order, uint8, shape (num_ssl_images, 1, 28, 28)."""
        return _read_images(folder, "train")[self._rows(Split.TRAIN)]

    def labelled(self, folder: Path, split: Split) -> LabelledImages:
        """Images and labels of one split; TEST opens the `t10k` files alone, others the `train` files."""
        if split is Split.TEST:
            return LabelledImages(_read_images(folder, "t10k"), _read_labels(folder, "t10k"))
        rows = self._rows(split)
        return LabelledImages(_read_images(folder, "train")[rows], _read_labels(folder, "train")[rows])

    def check(self, folder: Path) -> Sequence[str]:
        """Read the training files, and compare the sizes of test files, unless compressed, with what they must be."""
        problems: list[str] = []
        num_test = _NUM_IMAGES["t10k"]
        sizes = (16 + num_test * self.image_size**2, 8 + num_test)
        for name, expected in zip(_file_names("t10k"), sizes, strict=True):
            path = find_idx(folder, name)
            if path is not None and path.suffix != ".gz":
                problems += wrong_size(path, expected)
        with noting(problems):
            super().check(folder)
        raise_any(problems)
        return ()

    def fingerprint(self, folder: Path) -> str:
        """sha256 over names and decompressed bytes of the training files; compression does not matter."""
        digest = hashlib.sha256()
        for name in _file_names("train"):
            digest.update(name.encode())
            digest.update(idx_bytes(_require(folder, name)))
        return digest.hexdigest()

    def _rows(self, split: Split) -> Tensor:
        """Which official training images belong to TRAIN or VALIDATION."""
        generator = stream("fashion_mnist", "split", self.split_seed)
        order = torch.randperm(_NUM_IMAGES["train"], generator=generator)
        start = self.num_validation_images
        return order[:start] if split is Split.VALIDATION else order[start : start + self.num_ssl_images]


def _file_names(part: str) -> tuple[str, str]:
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


def _require(folder: Path, name: str) -> Path:
    path = find_idx(folder, name)
    if path is None:
        raise DataError(f"{folder} holds neither {name}.gz nor {name}.\n{_HELP}")
    return path


def _read_images(folder: Path, part: str) -> Tensor:
    """Images of an official part, uint8, shape (num_images, 1, 28, 28)."""
    shape = (_NUM_IMAGES[part], FashionMNIST.image_size, FashionMNIST.image_size)
    return torch.from_numpy(read_idx(_require(folder, _file_names(part)[0]), shape).copy()).unsqueeze(1)


def _read_labels(folder: Path, part: str) -> Tensor:
    """Labels of an official part, int64, shape (num_images,)."""
    path = _require(folder, _file_names(part)[1])
    labels = torch.from_numpy(read_idx(path, (_NUM_IMAGES[part],)).astype("int64"))
    if int(labels.max()) >= FashionMNIST.num_classes:
        raise DataError(f"{path}: labels must be < {FashionMNIST.num_classes}, found {int(labels.max())}")
    return labels
