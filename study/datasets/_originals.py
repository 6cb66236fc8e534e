"""Image files that are decoded whenever they are looked at; nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from study.datasets._decoding import decode_crops, decode_square
from study.datasets._listing import Listing
from study.datasets._modes import Reading
from study.datasets._survey import reason
from study.datasets.base import OriginalImages
from study.errors import DataError
from study.journal.process import num_cpus
from study.tensors.crops import Crop


class Originals(OriginalImages):
    """The images of a listing, see `OriginalImages`."""

    def __init__(self, files: Listing, size: int, crop_share: float, reading: Reading) -> None:
        """`size` and `crop_share` are those of what indexing gives, `reading` that of all views."""
        import torchvision.transforms.v2  # noqa: F401 - here, before threads need it all at once

        self._files, self._crop_share, self._reading = files, crop_share, reading
        self.shape = torch.Size((len(files), 3, size, size))

    def read(self, row: int, into: Tensor) -> None:
        """Decode the view of evaluations, see the base class."""
        self._decode(row, lambda path: decode_square(path, into.numpy(), self._crop_share, self._reading))

    def cut(self, row: int, crops: Sequence[Crop], into: Sequence[Tensor]) -> None:
        """Decode an image once, and cut, see the base class."""
        self._decode(row, lambda path: decode_crops(path, crops, [view.numpy() for view in into], self._reading))

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Views of evaluations, decoded by as many threads as there are processors."""
        chosen = range(len(self))[rows] if isinstance(rows, slice) else rows.tolist()
        images = torch.empty((len(chosen), *self.shape[1:]), dtype=torch.uint8)
        with ThreadPoolExecutor(num_cpus()) as pool:
            tasks = [pool.submit(self.read, row, image) for row, image in zip(chosen, images, strict=True)]
            try:
                for task in tasks:
                    task.result()
            finally:
                pool.shutdown(cancel_futures=True)
        return images

    def _decode(self, row: int, decode: Callable[[Path], None]) -> None:
        path = self._files.root / self._files.names[row]
        try:
            decode(path)
        except MemoryError:
            raise
        except Exception as error:  # libraries of formats raise anything
            what = "read" if isinstance(error, OSError) and error.errno else "decoded"
            raise DataError(
                f"{path}: cannot be {what} ({reason(error)}); fetch it again, or take it out of the dataset"
            ) from error
