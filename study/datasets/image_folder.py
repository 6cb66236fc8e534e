"""Any images in folders: one for each part, and in it one for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from study.datasets._folders import READ_SUFFIXES, class_folders, is_inside, list_classes
from study.datasets._image_files import ImageFiles
from study.datasets._listing import Listing
from study.datasets._places import find_folder, missing_files
from study.errors import DataError, noting, raise_any

_HELP = """\
One of these helps:
  - put image files ({suffixes}) into <root>/{folder}{train}/<class>/ and <root>/{folder}{test}/<class>/
  - set STUDY_DATA=<root>, where <root> already holds them
  - name the folders in the sweep file: dataset.folder, dataset.train_folder, dataset.test_folder"""


@dataclass(frozen=True)
class ImageFolder(ImageFiles):
    """Settings of a dataset in the layout of torchvision's `ImageFolder`; see `ImageFiles` for the others.

    Classes are numbered by the sorted names of the training folders; the test part must have just these. Validation
    images are held out of the training part. Images are read as a browser shows them, see `Reading`.

    Attributes:
        num_classes: number of classes, as a check.
        folder: sub-folder of a root that holds the parts; `.` is the root itself.
        train_folder: name of the part that is trained with.
        test_folder: name of the part that is read at the very end.
    """

    num_classes: int = 2
    folder: str = "."
    train_folder: str = "train"
    test_folder: str = "val"

    def locate(self, roots: Sequence[Path]) -> Path:
        """Return the first `<root>/<folder>` that has both parts."""
        place = "" if self.folder == "." else f"{self.folder}/"
        names = {"folder": place, "train": self.train_folder, "test": self.test_folder}
        text = _HELP.format(suffixes=", ".join(READ_SUFFIXES), **names)
        parts = missing_files((self.train_folder, self.test_folder))
        return find_folder("the image folder", roots, (self.folder,), parts, text)

    def download(self, root: Path) -> Path:
        """Raise DataError: nobody knows from where."""
        return self.locate([root])

    def training_files(self, folder: Path) -> Listing:
        """All files below `<folder>/<train_folder>`."""
        part = folder / self.train_folder
        classes = class_folders(part)
        problems = []
        if len(classes) != self.num_classes:
            problems.append(
                f"{part} holds {len(classes)} classes, but dataset.num_classes is {self.num_classes}; write "
                f"num_classes: {len(classes)}"
            )
        with noting(problems):
            files = list_classes(part, classes)
        raise_any(problems)
        return files

    def test_files(self, folder: Path) -> Listing:
        """All files below `<folder>/<test_folder>`, by the classes of the training folder."""
        train, test = folder / self.train_folder, folder / self.test_folder
        if is_inside(test, train) or is_inside(train, test):
            raise DataError(
                f"{test} and {train} are the same folder, or one holds the other: images that were trained with would "
                "be tested on; name another dataset.test_folder"
            )
        classes = class_folders(train)
        return list_classes(test, classes, others=sorted({*class_folders(test)} - {*classes}))
