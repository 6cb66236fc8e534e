"""Image files with labels: which there are, and a hash of what is in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.errors import DataError, JournalError, shown
from study.fetching import sha256_of
from study.journal.files import read_json_or_none, write_json
from study.journal.process import num_cpus

_CHUNK = 64  # files per task
_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Listing:
    """Image files of one part of a dataset.

    Attributes:
        root: the folder to which names are relative.
        names: with `/`.
        labels: int64, shape (num_images,).
    """

    root: Path
    names: tuple[str, ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> Listing:
        """The images of some rows, in their order."""
        labels = self.labels[rows]
        chosen = self.names[rows] if isinstance(rows, slice) else tuple(self.names[i] for i in rows)
        return Listing(self.root, chosen, labels)

    def paths(self) -> list[Path]:
        """All files, for loaders that decode them anew for every view."""
        return [self.root / name for name in self.names]


def class_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; classes are numbered in that order.

    Raises:
        DataError: there is no such folder, or none in it.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error})") from error
    if not names:
        raise DataError(f"{folder}: expected one folder per class, but there is none in it")
    return names


def list_classes(folder: Path, classes: Sequence[str]) -> Listing:
    """All JPEG and PNG files below `<folder>/<class>`, sorted by name within each class.

    Raises:
        DataError: a class has no folder, or no images.
    """
    names: list[str] = []
    counts = []
    for name in classes:
        found = sorted(_images_below(folder, name))
        names += found
        counts.append(len(found))
    if empty := [name for name, count in zip(classes, counts, strict=True) if not count]:
        raise DataError(f"{folder}: no JPEG or PNG files for {len(empty)} classes: {shown(empty)}")
    return Listing(folder, tuple(names), np.repeat(np.arange(len(classes), dtype=np.int64), counts))


def fingerprint(listing: Listing, cache: Path) -> str:
    """sha256 over names and bytes of all files, in the order of their names.

    It is remembered under names, sizes and times of modification, because the files may be hundreds of gigabytes.

    Raises:
        DataError: a file cannot be read.
    """
    names = sorted(listing.names)
    key = hashlib.sha256()
    for name in names:
        try:
            status = (listing.root / name).stat()
        except OSError as error:
            raise DataError(f"{listing.root / name}: cannot be read ({error})") from error
        key.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    memo = cache / "fingerprints" / f"{key.hexdigest()}.json"
    if (known := _remembered(memo)) is not None:
        return known
    digest = hashlib.sha256()
    chunks = [names[i : i + _CHUNK] for i in range(0, len(names), _CHUNK)]
    with ThreadPoolExecutor(num_cpus()) as pool:
        for lines in pool.map(lambda chunk: [f"{name}\0{sha256_of(listing.root / name)}\n" for name in chunk], chunks):
            digest.update("".join(lines).encode())
    with writing(memo.parent):
        write_json(memo, {"root": str(listing.root), "num_images": len(names), "sha256": digest.hexdigest()})
    return digest.hexdigest()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Create a folder of the cache, and say what helps when it cannot be written.

    Raises:
        DataError: it cannot be created, or what is done meanwhile cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DataError(
            f"cannot write to {folder}, where decoded images are kept ({error}); "
            "set STUDY_CACHE to a folder that can be written"
        ) from error


def _remembered(memo: Path) -> str | None:
    try:
        known = (read_json_or_none(memo) or {}).get("sha256")
    except (OSError, JournalError):
        return None  # it is written again
    return known if isinstance(known, str) else None


def _images_below(root: Path, name: str) -> Iterator[str]:
    try:
        entries = list(os.scandir(root / name))
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{root / name}: cannot be read ({error})") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _images_below(root, f"{name}/{entry.name}")
        elif entry.name.lower().endswith(_SUFFIXES):
            yield f"{name}/{entry.name}"
