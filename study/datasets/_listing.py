"""Image files with labels: which there are, and a hash of what is in them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.amounts import count
from study.errors import DataError, JournalError, shown
from study.fetching import sha256_of
from study.journal.files import read_json_or_none, write_json
from study.journal.process import num_cpus

_CHUNK = 64  # files per task
_MOST_KINDS, _EXAMPLES = 6, 3
NO_FILE = "no regular file"


@dataclass(frozen=True)
class Listing:
    """Image files of one part of a dataset.

    Attributes:
        root: the folder to which names are relative.
        names: with `/`.
        labels: int64, shape (num_images,).
        skipped: names of files that lie among them and are not read.
    """

    root: Path
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> Listing:
        """The images of some rows, in their order, and nothing of what is skipped."""
        labels = self.labels[rows]
        chosen = self.names[rows] if isinstance(rows, slice) else tuple(self.names[i] for i in rows)
        return Listing(self.root, chosen, labels)

    def paths(self) -> list[Path]:
        """All files, for loaders that decode them anew for every view."""
        return [self.root / name for name in self.names]


def is_utf8(name: str) -> bool:
    """Whether a name is text: hashes and files of the cache are made of names."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def missing(listing: Listing) -> Iterator[str]:
    """Say which files are not there, or are none, as one problem; none is opened."""
    root = str(listing.root)
    absent = [name for name in listing.names if not os.path.isfile(f"{root}/{name}")]  # noqa: PTH113 - many files
    if absent:
        yield f"{listing.root}: {len(absent):,} of {count(len(listing), 'file')} not there: {shown(absent)}"


def skipped(listing: Listing) -> Iterator[str]:
    """Say which files lie among the images and are not read, by their suffixes."""
    inside, beside = ([name for name in listing.skipped if ("/" in name) is is_inside] for is_inside in (True, False))
    if inside:
        counts = Counter(Path(name).suffix.lower() or "without suffix" for name in inside)
        kinds = ", ".join(f"{number:,} {suffix}" for suffix, number in counts.most_common(_MOST_KINDS))
        some = shown(sorted(inside)[:_EXAMPLES])
        yield f"{listing.root}: skipped {count(len(inside), 'file')} of other formats ({kinds}), e.g. {some}"
    if beside:
        some = shown(sorted(beside)[:_EXAMPLES])
        yield f"{listing.root}: skipped {count(len(beside), 'file')} in no class, e.g. {some}"


def fingerprint(listing: Listing, cache: Path) -> str:
    """sha256 over names and bytes of all files, in the order of their names.

    It is remembered under names, sizes and times of modification, because the files may be hundreds of gigabytes.

    Raises:
        DataError: a file cannot be read.
    """
    names = sorted(listing.names)
    key, unreadable = state_of(listing, names)
    if unreadable:
        name, reason = next(iter(unreadable.items()))
        raise DataError(f"{listing.root / name}: cannot be read ({reason})")
    memo = cache / "fingerprints" / f"{key}.json"
    if isinstance(known := remembered(memo).get("sha256"), str):
        return known
    digest = hashlib.sha256()
    chunks = [names[i : i + _CHUNK] for i in range(0, len(names), _CHUNK)]
    with ThreadPoolExecutor(num_cpus()) as pool:
        for lines in pool.map(lambda chunk: [f"{name}\0{sha256_of(listing.root / name)}\n" for name in chunk], chunks):
            digest.update("".join(lines).encode())
    with writing(memo.parent):
        write_json(memo, {"root": str(listing.root), "num_images": len(names), "sha256": digest.hexdigest()})
    return digest.hexdigest()


def state_of(listing: Listing, names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """A hash of names, sizes and times of modification, and why some are no files that can be read.

    Args:
        listing: whose files they are.
        names: which, in the order of the hash.
    """
    key, unreadable, root = hashlib.sha256(), {}, str(listing.root)
    for name in names:
        try:
            status = os.stat(f"{root}/{name}")  # noqa: PTH116 - there are many files
        except OSError as error:
            unreadable[name] = error.strerror or str(error)
            continue
        if not stat.S_ISREG(status.st_mode):
            unreadable[name] = NO_FILE
        key.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return key.hexdigest(), unreadable


def remembered(memo: Path) -> dict[str, Any]:
    """What a file of the cache holds; nothing when it is missing or damaged, for it is written again."""
    try:
        return read_json_or_none(memo) or {}
    except (OSError, JournalError):
        return {}


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
