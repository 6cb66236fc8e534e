"""ImageNet (ILSVRC 2012): 1.28 million photographs of a thousand kinds of things."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.datasets._folders import class_folders, list_classes
from study.datasets._image_files import CropsFrom, ImageFiles, cache_folder
from study.datasets._listing import Listing
from study.datasets._modes import Reading
from study.datasets._places import find_folder, missing_files
from study.datasets.base import Split
from study.errors import DataError, shown
from study.fetching import Source

_CLASS = re.compile(r"n\d{8}")
_HELP = """\
One of these helps:
  - put the files into <root>/imagenet/{train,val}/<class, n and 8 digits>/, as torchvision's ImageFolder reads them
  - set STUDY_DATA=<root>, where <root> already holds them
They are given to registered researchers at https://image-net.org/download-images."""


@dataclass(frozen=True)
class ImageNet(ImageFiles):
    """Settings of ImageNet, whole or of some classes; see `ImageFiles` for the others.

    The official validation set is the test split here; validation images are held out of the training set, ten per
    class by default (our choice).

    Lists are files by path or address, best with `#sha256=<64 hex digits>` behind it. Source of the dataset:
    Russakovsky et al. 2015, https://arxiv.org/abs/1409.0575; of the lists with 1 % and 10 % of the labels: SimCLR,
    https://github.com/google-research/simclr, imagenet_subsets/{1,10}percent.txt; of a list of 100 classes:
    https://github.com/HobbitLong/CMC, imagenet100.txt.

    Attributes:
        num_classes: 1000, or as many as `class_list` has.
        class_list: file with one class (`n01440764`) per line; None: all.
        label_lists: pairs of a percentage and a file with one training image (`n01440764_10026.JPEG`) per line.
            Evaluations that see this percentage of the labels see these images instead of drawing anew for every
            unit, so that the luck of the draw is no part of the spread. What a list names is not held out; lines of
            other classes are passed over.

    Raises:
        ValueError: a percentage is out of (0, 100] or stands twice; see also `ImageFiles`.
    """

    reading = Reading.AS_STORED  # every published number on ImageNet has it

    num_ssl_images: int = 1_271_167
    num_validation_images: int = 10_000
    num_classes: int = 1000
    class_list: str | None = None
    label_lists: tuple[tuple[int, str], ...] = ()
    crops_from: CropsFrom = "originals"

    def __post_init__(self) -> None:
        super().__post_init__()
        percents = [percent for percent, _ in self.label_lists]
        if len(set(percents)) < len(percents) or not all(0 < percent <= 100 for percent in percents):
            raise ValueError(f"label_lists must hold distinct percentages in (0, 100], got {percents}")

    def locate(self, roots: Sequence[Path]) -> Path:
        """Return the first `<root>/{imagenet,ILSVRC2012,.}` with `train` and `val`."""
        parts = missing_files(("train", "val"))
        return find_folder("ImageNet", roots, ("imagenet", "ImageNet", "ILSVRC2012", "."), parts, _HELP)

    def download(self, root: Path) -> Path:
        """Raise DataError unless it is there: ImageNet is given to registered researchers alone."""
        return self.locate([root])

    def training_files(self, folder: Path) -> Listing:
        """All files of the chosen classes in `train`."""
        return list_classes(folder / "train", self._classes(folder))

    def test_files(self, folder: Path) -> Listing:
        """All files of the chosen classes in `val`."""
        there = [name for name in class_folders(folder / "val") if _CLASS.fullmatch(name)]
        if not there:
            raise DataError(f"{folder / 'val'}: expected one folder per class; sort the validation images into them")
        classes = self._chosen(folder)
        others = [] if self.class_list else sorted({*there} - {*classes})
        return list_classes(folder / "val", classes, others)

    def kept_in_pool(self, folder: Path, files: Listing) -> NDArray[np.bool_]:
        """Training files that stand in a list of labels."""
        listed = {name for _, source in self.label_lists for name in _lines(source, folder)[0]}
        return np.array([name.rpartition("/")[2] in listed for name in files.names], dtype=np.bool_)

    def label_lists_in(self, folder: Path) -> Mapping[int, NDArray[np.int64]]:
        """Find the images of the lists in the TRAIN split."""
        if not self.label_lists:
            return {}
        classes = {*self._classes(folder)}
        pool = {name.rpartition("/")[2]: row for row, name in enumerate(self.files(folder, Split.TRAIN).names)}
        found = {}
        for percent, source in self.label_lists:
            wanted = {name for name in _lines(source, folder)[0] if name.partition("_")[0] in classes}
            if missing := sorted(wanted - pool.keys()):
                raise DataError(
                    f"{source}: {len(missing)} of {len(wanted)} images are not among the {len(pool)} of the TRAIN "
                    f"split: {shown(missing)}; raise dataset.num_ssl_images to all there are"
                )
            if strange := classes - {name.partition("_")[0] for name in wanted}:
                missed = shown(sorted(strange))
                raise DataError(f"{source}: no image of {len(strange)} classes: {missed}; use a list of all of them")
            found[percent] = np.array(sorted(pool[name] for name in wanted), dtype=np.int64)
        return found

    def fingerprint(self, folder: Path) -> str:
        """sha256 over names and bytes of the training files, and over the lists, which choose what is held out."""
        files = super().fingerprint(folder)
        if not self.label_lists:
            return files
        lists = "\n".join(_lines(source, folder)[1] for _, source in self.label_lists)
        return sha256(f"{files}\n{lists}".encode()).hexdigest()

    def _classes(self, folder: Path) -> list[str]:
        """The chosen classes, as many as there must be."""
        place, wanted = self.class_list or folder / "train", self._chosen(folder)
        if strange := sorted({*wanted} - {*self._there(folder)}):
            raise DataError(f"{place}: {folder / 'train'} has no folders for {len(strange)} classes: {shown(strange)}")
        if len(wanted) != self.num_classes:
            raise DataError(
                f"{place} has {len(wanted)} classes, but dataset.num_classes is {self.num_classes}; "
                + ("the dataset is incomplete, or " if self.class_list is None else "")
                + f"write num_classes: {len(wanted)}"
            )
        return wanted

    def _chosen(self, folder: Path) -> list[str]:
        return self._there(folder) if self.class_list is None else sorted(_lines(self.class_list, folder)[0])

    def _there(self, folder: Path) -> list[str]:
        return [name for name in class_folders(folder / "train") if _CLASS.fullmatch(name)]


def _lines(source: str, folder: Path) -> tuple[list[str], str]:
    """Distinct lines of a list, and the hash of its file."""
    path, digest = Source.parse(source).file(cache_folder(folder) / "downloads")
    try:
        lines = list(dict.fromkeys(path.read_text(encoding="utf-8").split()))
    except ValueError as error:
        raise DataError(f"{path}: not a text file ({error})") from error
    if not lines or not all(_CLASS.match(line) for line in lines):
        strange = next((line for line in lines if not _CLASS.match(line)), "")
        raise DataError(f"{path}: expected lines that begin with n and 8 digits, but found {shown(strange)}")
    return lines, digest
