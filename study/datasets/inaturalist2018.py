"""iNaturalist 2018: 461,939 photographs of 8,142 species, as unequally many as people took."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from study.datasets._image_files import CropsFrom, ImageFiles
from study.datasets._listing import Listing, is_utf8
from study.datasets._modes import Reading
from study.datasets._places import find_folder, missing_files
from study.errors import DataError, shown

_HELP = """\
One of these helps:
  - unpack train_val2018.tar.gz, train2018.json.tar.gz and val2018.json.tar.gz into <root>/inaturalist2018
  - set STUDY_DATA=<root>, where <root> already holds them
The archives are listed at https://github.com/visipedia/inat_comp/tree/master/2018."""


@dataclass(frozen=True)
class INaturalist2018(ImageFiles):
    """Settings of iNaturalist 2018; see `ImageFiles` for the others.

    The official validation set, three images per species, is the test split here; as many are held out of the training
    set (our choice). The official test set has no public labels.

    Source: https://github.com/visipedia/inat_comp/tree/master/2018; Van Horn et al., CVPR 2018,
    https://arxiv.org/abs/1707.06642, describes the dataset of the year before.

    Attributes:
        num_classes: number of species.
    """

    reading = Reading.AS_STORED  # as published numbers have it

    num_ssl_images: int = 413_087
    num_validation_images: int = 24_426
    num_classes: int = 8142
    crops_from: CropsFrom = "originals"

    def locate(self, roots: Sequence[Path]) -> Path:
        """Return the first `<root>/{inaturalist2018,inat2018,.}` with `train2018.json`, `val2018.json` and images."""
        lacks = missing_files(("train2018.json", "val2018.json", "train_val2018"))
        return find_folder("iNaturalist 2018", roots, ("inaturalist2018", "inat2018", "."), lacks, _HELP)

    def download(self, root: Path) -> Path:
        """Raise DataError unless it is there: the archives are too large to be fetched unasked."""
        return self.locate([root])

    def training_files(self, folder: Path) -> Listing:
        """The images of `train2018.json`."""
        return self._listing(folder, "train2018.json")

    def test_files(self, folder: Path) -> Listing:
        """The images of `val2018.json`."""
        return self._listing(folder, "val2018.json")

    def _listing(self, folder: Path, name: str) -> Listing:
        """Images of an annotation file: each has `id` and `file_name`, its annotation `image_id` and `category_id`."""
        path = folder / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            names = {image["id"]: str(image["file_name"]) for image in content["images"]}
            pairs = sorted((names[a["image_id"]], int(a["category_id"])) for a in content["annotations"])
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error})\n{_HELP}") from error
        except (ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DataError(
                f"{path}: damaged or no annotation file of iNaturalist ({reason}); fetch it again"
            ) from error
        if len(pairs) != len(names):
            raise DataError(f"{path}: {len(names)} images, but {len(pairs)} annotations; fetch it again")
        if strange := [f for f, _ in pairs if f.startswith("/") or ".." in f.split("/") or not is_utf8(f)]:
            raise DataError(f"{path}: {shown(strange[0])} lies outside of the dataset")
        labels = np.array([label for _, label in pairs], dtype=np.int64)
        if len(labels) == 0 or labels.min() < 0 or labels.max() >= self.num_classes:
            found = f"{labels.min()}–{labels.max()}" if len(labels) else "none"
            raise DataError(f"{path}: categories must be in [0, {self.num_classes}), found {found}")
        if absent := sorted({*range(self.num_classes)} - {*labels.tolist()}):
            raise DataError(f"{path}: no images of {len(absent)} categories: {shown(absent)}; fetch it again")
        return Listing(folder, tuple(file for file, _ in pairs), labels)
