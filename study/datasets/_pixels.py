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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from study.datasets._decoding import decode_square
from study.datasets._listing import Listing, writing
from study.datasets._mapped import mapped_bytes
from study.errors import DataError
from study.journal.files import write_json
from study.journal.process import num_cpus

_CHUNK = 64  # images per task
_MOST_NAMED = 20


def cached_pixels(listing: Listing, content: str, size: int, crop_share: float, cache: Path) -> Tensor:
    """Decode the squares of a listing (see `decode_square`) unless that has been done, and map them into memory.

    Args:
        listing: files in the order in which they are wanted.
        content: hash of what is in the files.
        size: height and width.
        crop_share: in (0, 1].
        cache: folder.

    Returns:
        uint8, shape (num_images, 3, size, size); nobody may write into it.

    Raises:
        DataError: files cannot be decoded (they are named), or the cache has no room or cannot be written.
    """
    key = hashlib.sha256(f"1\0{content}\0{size}\0{crop_share!r}\n".encode() + "\n".join(listing.names).encode())
    target = cache / f"{key.hexdigest()[:24]}.uint8"
    shape = (len(listing), 3, size, size)
    if not target.with_suffix(".json").exists():
        with writing(cache), _alone(target.with_suffix(".lock")):
            if not target.with_suffix(".json").exists():  # another process may have been first
                _decode_all(listing, target, shape, crop_share)
                write_json(target.with_suffix(".json"), {"shape": shape, "files": content, "crop_share": crop_share})
    return mapped_bytes(target, shape)


def _decode_all(listing: Listing, target: Path, shape: tuple[int, ...], crop_share: float) -> None:
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".draft.", suffix=".tmp", delete=False) as draft:
        path = Path(draft.name)
        try:
            _reserve(draft.fileno(), math.prod(shape), len(listing), target.parent)
            pixels = np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)

            def decode(start: int) -> list[str]:
                rows = range(start, min(start + _CHUNK, len(listing)))
                problems = [_decode(listing.root / listing.names[i], pixels[i], crop_share) for i in rows]
                return [problem for problem in problems if problem]

            with ThreadPoolExecutor(num_cpus()) as pool:
                failed = [problem for some in pool.map(decode, range(0, len(listing), _CHUNK)) for problem in some]
            if failed:
                named = "".join(f"\n  - {problem}" for problem in failed[:_MOST_NAMED])
                more = f"\n  … and {len(failed) - _MOST_NAMED} more" if len(failed) > _MOST_NAMED else ""
                raise DataError(
                    f"{len(failed)} images cannot be decoded; fetch them again or take them out:{named}{more}"
                )
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
            f"{num_images} decoded images need {size / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free "
            f"({error}); set STUDY_CACHE to a folder with more room, or make image_size smaller"
        ) from error


def _decode(path: Path, row: NDArray[np.uint8], crop_share: float) -> str | None:
    """Fill a row with an image; say what is wrong with it, if anything."""
    try:
        decode_square(path, row, crop_share)
    except Exception as error:  # noqa: BLE001 - libraries of formats raise anything; all files are tried first
        return f"{path}: {error or type(error).__name__}"
    return None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes out while images are decoded; where files cannot be locked, each decodes its own."""
    with path.open("w") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
