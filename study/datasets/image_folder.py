"""Any images in folders: one for each part, and in it one for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from study.datasets._image_files import ImageFiles
from study.datasets._listing import Listing, class_folders, list_classes
from study.datasets._places import find_folder, missing_files
from study.errors import DataError, shown

_HELP = """\
One of these helps:
  - put JPEG or PNG files into <root>/{folder}/{train}/<class>/ and <root>/{folder}/{test}/<class>/
  - set STUDY_DATA=<root>, where <root> already holds them
  - name the folders in the sweep file: dataset.folder, dataset.train_folder, dataset.test_folder"""


@dataclass(frozen=True)
class ImageFolder(ImageFiles):
    """Settings of a dataset in the layout of torchvision's `ImageFolder`; see `ImageFiles` for the others.

    Classes are numbered by the sorted names of the training folders. Validation images are held out of them.

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
        text = _HELP.format(folder=self.folder, train=self.train_folder, test=self.test_folder)
        parts = missing_files((self.train_folder, self.test_folder))
        return find_folder("the image folder", roots, (self.folder,), parts, text)

    def download(self, root: Path) -> Path:
        """Raise DataError: nobody knows from where."""
        return self.locate([root])

    def training_files(self, folder: Path) -> Listing:
        """All files below `<folder>/<train_folder>`."""
        return list_classes(folder / self.train_folder, self._classes(folder))

    def test_files(self, folder: Path) -> Listing:
        """All files below `<folder>/<test_folder>`, by the classes of the training folder."""
        classes = self._classes(folder)
        if unknown := sorted({*class_folders(folder / self.test_folder)} - {*classes}):
            raise DataError(f"{folder / self.test_folder}: {shown(unknown)} are no classes of {self.train_folder}")
        return list_classes(folder / self.test_folder, classes)

    def _classes(self, folder: Path) -> list[str]:
        classes = class_folders(folder / self.train_folder)
        if len(classes) != self.num_classes:
            raise DataError(
                f"{folder / self.train_folder} holds {len(classes)} classes, but dataset.num_classes is "
                f"{self.num_classes}; write num_classes: {len(classes)}"
            )
        return classes
