"""Images decoded and resized once, kept as bytes that are mapped into memory.

::

    <cache>/<hash>.uint8    (num_images, 3, size, size), in the order of the listing
    <cache>/<hash>.json     what is in it; written last, so that a file without it is none
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from study import amounts
from study.datasets._decoding import decode_square
from study.datasets._listing import Listing, remembered, writing
from study.datasets._mapped import mapped_bytes
from study.datasets._modes import Reading
from study.datasets._survey import BrokenImagesError, reason
from study.errors import DataError
from study.journal.files import write_json
from study.journal.process import num_cpus

_CHUNK = 64  # images per task


@dataclass(frozen=True)
class Squares:
    """What is kept of image files, see `decode_square`.

    Attributes:
        size: height and width.
        crop_share: in (0, 1].
        reading: what becomes of orientation and transparency.
    """

    size: int
    crop_share: float
    reading: Reading

    @property
    def kind(self) -> dict[str, Any]:
        """What is written down beside them."""
        return {"crop_share": self.crop_share, "reading": self.reading}

    def shape(self, listing: Listing) -> tuple[int, ...]:
        """Shape of all images of a listing."""
        return len(listing), 3, self.size, self.size

    def num_bytes(self, num_images: int) -> int:
        """Room that they take."""
        return num_images * 3 * self.size**2

    def seem_kept(self, num_images: int, cache: Path) -> bool:
        """Whether as many of this kind are kept, of whatever files."""
        wanted = {"shape": [num_images, 3, self.size, self.size], **self.kind}
        records = (remembered(file) for file in cache.glob("*.json"))
        return any({"reading": Reading.AS_STORED, **record}.items() >= wanted.items() for record in records if record)

    def file(self, listing: Listing, content: str, cache: Path) -> Path:
        """Where they lie; a rule of decoding that changes has another file, for pixels of the old one are not those."""
        text = f"{self.reading.version}\0{content}\0{self.size}\0{self.crop_share!r}\n" + "\n".join(listing.names)
        return cache / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.uint8"


def cached_pixels(listing: Listing, content: str, squares: Squares, cache: Path) -> Tensor:
    """Decode the squares of a listing unless that has been done, and map them into memory.

    Args:
        listing: files in the order in which they are wanted.
        content: hash of what is in the files.
        squares: what is kept of them.
        cache: folder.

    Returns:
        uint8, shape (num_images, 3, size, size); nobody may write into it.

    Raises:
        BrokenImagesError: files cannot be decoded; all are named.
        DataError: the cache has no room or cannot be written.
    """
    target, shape = squares.file(listing, content, cache), squares.shape(listing)
    if not target.with_suffix(".json").exists():
        with writing(cache), _alone(target.with_suffix(".lock")):
            if not target.with_suffix(".json").exists():  # another process may have been first
                _decode_all(listing, target, squares)
                write_json(target.with_suffix(".json"), {"shape": shape, "files": content, **squares.kind})
    return mapped_bytes(target, shape)


def _decode_all(listing: Listing, target: Path, squares: Squares) -> None:
    shape = squares.shape(listing)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".draft.", suffix=".tmp", delete=False) as draft:
        path = Path(draft.name)
        try:
            _reserve(draft.fileno(), math.prod(shape), len(listing), target.parent)
            pixels = np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)

            def decode(start: int) -> dict[str, str]:
                rows = range(start, min(start + _CHUNK, len(listing)))
                tried = {listing.names[i]: _decode(listing.root / listing.names[i], pixels[i], squares) for i in rows}
                return {name: wrong for name, wrong in tried.items() if wrong}

            with ThreadPoolExecutor(num_cpus()) as pool:
                tried = pool.map(decode, range(0, len(listing), _CHUNK))
                broken = {name: wrong for some in tried for name, wrong in some.items()}
            if broken:
                raise BrokenImagesError(listing.root, broken, target.parent)
            pixels.flush()
            path.chmod(0o644)  # the draft's 0600 would hide it from colleagues
            path.replace(target)
        finally:
            path.unlink(missing_ok=True)


def _reserve(file: int, size: int, num_images: int, folder: Path) -> None:
    """Take the room at once: when a mapped file finds none, the process is killed."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
        else:
            os.truncate(file, size)
    except OSError as error:
        free = shutil.disk_usage(folder).free
        raise DataError(
            f"{num_images} decoded images need {amounts.size(size)} in {folder}, where {amounts.size(free)} are free "
            f"({error}); set STUDY_CACHE to a folder with more room, or make image_size smaller"
        ) from error


def _decode(path: Path, row: NDArray[np.uint8], squares: Squares) -> str | None:
    """Fill a row with an image; say what is wrong with it, if anything."""
    try:
        decode_square(path, row, squares.crop_share, squares.reading)
    except Exception as error:  # noqa: BLE001 - libraries of formats raise anything; all files are tried first
        return reason(error)
    return None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes out while images are decoded; where files cannot be locked, each decodes its own."""
    with path.open("w") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
