"""Looking at many image files before anything is started: what cannot be read, and what is unusual.

Of every file the header is read, and whether its end is the one that its format asks for, which shows what was cut off
on the way. A file whose end says nothing is decoded. What is damaged in the middle is found when it is decoded.
"""

from __future__ import annotations

import stat
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from study.amounts import count
from study.datasets._listing import NO_FILE, Listing, remembered, state_of
from study.datasets._modes import Reading, Remark, refusal, remarks
from study.errors import DataError, shown
from study.journal.files import write_json

if TYPE_CHECKING:
    from PIL.Image import Image

_CHUNK, _THREADS = 64, 16  # files per task; more threads than processors, because file systems answer late
_FEWEST_REMEMBERED = 1000  # fewer files are looked at again sooner than a memo is found
_MOST_NAMED, _EXAMPLES = 20, 3
_LATEST = 12  # bytes at the end of a file that are looked at


class BrokenImagesError(DataError):
    """Image files cannot be decoded.

    Attributes:
        broken: name → why.
    """

    def __init__(self, root: Path, broken: Mapping[str, str], cache: Path) -> None:
        self.broken = broken
        super().__init__(_report(root, broken, cache))


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        num_files: files that were looked at.
        problems: name → why it cannot be read.
        absent: those of them that are no files at all.
        remarks: what is unusual → how many files, and the names of the first.
    """

    num_files: int = 0
    problems: Mapping[str, str] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    remarks: Mapping[str, tuple[int, list[str]]] = field(default_factory=dict)


def survey(listing: Listing, reading: Reading, cache: Path, patience_s: float | None = None) -> Survey:
    """Look at all files, or at as many as some seconds allow; at many files that have not changed since once.

    Args:
        listing: the files.
        reading: how they will be read.
        cache: where it is remembered that nothing was wrong with them.
        patience_s: None: as long as it takes; else files are taken in a random order until the time is over.
    """
    from PIL import __version__ as pillow

    if patience_s is not None:
        order = np.random.default_rng(0).permutation(len(listing))
        return _looked_at([listing.names[i] for i in order], listing, reading, time.monotonic() + patience_s)
    key, unreadable = state_of(listing, sorted(listing.names))
    memo = cache / "surveys" / f"{key}-{reading.version}-{pillow}.json"
    known = remembered(memo)
    if not unreadable and isinstance(known.get("remarks"), dict):
        return Survey(len(listing), remarks={name: (n, some) for name, (n, some) in known["remarks"].items()})
    found = _looked_at([name for name in listing.names if name not in unreadable], listing, reading, None)
    if not unreadable and not found.problems and len(listing) >= _FEWEST_REMEMBERED:
        with suppress(OSError):  # what cannot be remembered is looked at again
            memo.parent.mkdir(parents=True, exist_ok=True)
            write_json(memo, {"root": str(listing.root), "num_images": len(listing), "remarks": dict(found.remarks)})
    return Survey(len(listing), {**unreadable, **found.problems}, frozenset(unreadable), found.remarks)


def reason(error: Exception) -> str:
    """Why a file could not be decoded, in words that do not name it again."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "no image that can be read"
    if isinstance(error, OSError) and error.errno:
        return error.strerror or str(error)
    return str(error) or type(error).__name__


def in_words(root: Path, found: Survey, reading: Reading) -> Iterator[str]:
    """What is unusual, and what becomes of it."""
    as_shown = reading is Reading.AS_SHOWN
    published = "as torchvision's loader and published evaluations have it"
    fate = {
        Remark.TURNED: "they are turned by it" if as_shown else f"they are read as stored, {published}",
        Remark.TRANSPARENT: "it is laid on white" if as_shown else f"it is dropped, {published}",
        Remark.DEEP: "the upper 8 are used",
        Remark.FRAMES: "the first is used",
    }
    for remark, (number, some) in found.remarks.items():
        images = f"{number:,} of {count(found.num_files, 'image')}"
        yield f"{root}: {images} {remark}; {fate[Remark(remark)]}, e.g. {shown(some)}"


def _report(root: Path, problems: Mapping[str, str], cache: Path) -> str:
    """Broken files as one problem: how many, the first by name, and where the others are listed."""
    lines = [f"{root / name}: {why}" for name, why in sorted(problems.items())]
    named = "".join(f"\n  - {line}" for line in lines[:_MOST_NAMED])
    more = ""
    if len(lines) > _MOST_NAMED:
        more = f"\n  … and {len(lines) - _MOST_NAMED} more" + _written(cache / "unreadable.txt", lines)
    them = "it" if len(lines) == 1 else "them"
    images = f"{count(len(lines), 'image')} cannot be decoded"
    return f"{images}; fetch {them} again, or take {them} out of the dataset:{named}{more}"


def _written(file: Path, lines: Iterable[str]) -> str:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="backslashreplace")
    except OSError:
        return ""
    return f"; all of them are listed in {file}"


def _looked_at(names: list[str], listing: Listing, reading: Reading, deadline: float | None) -> Survey:
    def look(chunk: list[str]) -> list[tuple[str, str | None, list[Remark]]] | None:
        if deadline is not None and time.monotonic() > deadline:
            return None
        return [(name, *_look(listing.root / name, reading)) for name in chunk]

    problems: dict[str, str] = {}
    noted: dict[str, tuple[int, list[str]]] = {}
    num_files = 0
    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        warnings.simplefilter("ignore")  # of EXIF data that is damaged, and of large images
        for some in pool.map(look, (names[i : i + _CHUNK] for i in range(0, len(names), _CHUNK))):
            for name, wrong, unusual in some or ():
                num_files += 1
                if wrong is not None:
                    problems[name] = wrong
                for remark in unusual:
                    number, examples = noted.get(remark, (0, []))
                    noted[remark] = number + 1, [*examples, name][:_EXAMPLES]
    return Survey(num_files, problems, remarks=noted)


def _look(path: Path, reading: Reading) -> tuple[str | None, list[Remark]]:
    """What is wrong with a file, and what is unusual about it."""
    from PIL import Image

    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            return NO_FILE, []
        if not status.st_size:
            return "the file is empty", []
        with path.open("rb") as file, Image.open(file) as opened:
            if wrong := refusal(opened, reading):
                return wrong, []
            unusual = list(remarks(opened))
            if not _has_its_end(file, status.st_size, opened):
                opened.load()
            return None, unusual
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - libraries of formats raise anything; all files are looked at first
        return reason(error), []


def _has_its_end(file: BinaryIO, num_bytes: int, opened: Image) -> bool:
    """Whether the end of a file shows that nothing was cut off; False where it does not say."""
    place = file.tell()
    file.seek(max(0, num_bytes - _LATEST))
    end = file.read(_LATEST)
    file.seek(0)
    start = file.read(8)
    file.seek(place)
    match opened.format:
        case "JPEG":
            return end.endswith(b"\xff\xd9")
        case "PNG":
            return end[-8:-4] == b"IEND"
        case "GIF":
            return end.endswith(b";")
        case "WEBP":
            return int.from_bytes(start[4:8], "little") + 8 <= num_bytes
        case "BMP":
            return 0 < int.from_bytes(start[2:6], "little") <= num_bytes
        case _:
            return False
