"""What a file system that refuses to work is called, in words: which file, where it is mounted, what is free there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
AWAY = (errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ENXIO, errno.ENODEV)
OF_A_DISK = (*FULL, errno.EROFS, *AWAY)  # what becomes of a run says nothing about the run
_GB = 2**30


def describe_trouble(error: OSError, fallback: Path) -> str | None:
    """What the file system refuses, and what to do there; None when it is no fault of a file system's.

    Args:
        error: what was raised.
        fallback: a file or folder on the same file system, for errors that name none.
    """
    file = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else fallback
    where = f"the file system mounted at {mount_point(file)}"
    if error.errno == errno.EDQUOT:
        return f"cannot write {file}: your quota on {where} is used up ({_free(file)}). Remove something there"
    if error.errno == errno.EFBIG:
        return f"cannot write {file}: {where} takes no file of that size. Use another one"
    if error.errno in FULL:
        return f"cannot write {file}: {where} is full ({_free(file)}). Make room there"
    if error.errno == errno.EROFS:
        return f"cannot write {file}: {where} is read-only. Make it writable"
    if error.errno in REFUSED:
        return f"cannot use {file}: {error.strerror}. Make it readable and writable for you"
    if error.errno == errno.ESTALE:
        return f"cannot use {file}: {where} has lost it (stale file handle). Mount it anew"
    if error.errno in AWAY:
        return f"cannot use {file}: {where} does not work ({error.strerror}). Have it mended"
    return None


def describe_place(path: Path) -> str:
    """The file system of a path, and what is free there."""
    return f"the file system mounted at {mount_point(path)} ({_free(path)})"


def mount_point(path: Path) -> Path:
    """Where the file system of a path is mounted, whether the path exists or not."""
    place = path.absolute()
    while not os.path.ismount(place) and place != place.parent:
        place = place.parent
    return place


def _free(path: Path) -> str:
    """What is left on the file system of a path."""
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        numbers = os.statvfs(place)
    except OSError as error:
        return f"how much is free is not known: {error.strerror}"
    free, size = numbers.f_bavail * numbers.f_frsize, numbers.f_blocks * numbers.f_frsize
    left = f"{_amount(free)} of {_amount(size)} free"
    return left if numbers.f_favail or not numbers.f_files else f"{left}, but no file more: all inodes are used"


def _amount(num_bytes: int) -> str:
    return f"{num_bytes / _GB:.1f} GB" if num_bytes >= _GB else f"{num_bytes / 2**20:.1f} MB"
