"""News on a shared file system, found by a number of operations that does not grow with what might have news.

Three signs, each for what the others miss. The folder's time of change tells at once on a local disk. On NFS that time
is remembered for up to a minute, unless the folder is opened: then the client asks the server (close-to-open
consistency, `nfs_lookup_verify_inode` in Linux's fs/nfs/dir.c), which is done every two seconds. And in every turn a
few files are opened by their names, one after the other, for file systems that keep neither promise.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

_OPEN_EVERY_S = 2.0
_AGAIN_AFTER_S = (0.05, 1.5)  # what arrives within one tick of a clock, coarse on some servers, changes the time once
_BY_NAME = 4  # files that are opened by their names in one turn

T = TypeVar("T")


class Arrivals:
    """The names that appear in one folder."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._changed_ns = -1
        self._seen: set[str] = set()
        self._next_open = -float("inf")
        self._again: list[float] = []

    def new(self) -> list[str]:
        """Names that have not been returned before, without drafts of files; without news it costs one operation."""
        now = self._clock()
        try:
            changed_ns = self._time_of_change(now)
            if changed_ns != self._changed_ns:
                self._changed_ns = changed_ns
                self._again = [now + after_s for after_s in _AGAIN_AFTER_S]
            elif self._again and now >= self._again[0]:
                del self._again[0]
            else:
                return []
            names = [name for name in os.listdir(self._folder) if not name.startswith(".")]  # noqa: PTH208 (no Path each)
        except FileNotFoundError:  # made by a worker, or by nobody: an earlier release did without
            return []
        fresh = sorted(set(names) - self._seen)
        self._seen.update(fresh)
        return fresh

    def _time_of_change(self, now: float) -> int:
        if now < self._next_open:
            return self._folder.stat().st_mtime_ns
        self._next_open = now + _OPEN_EVERY_S
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return os.fstat(handle).st_mtime_ns
        finally:
            os.close(handle)


class Round(Generic[T]):
    """Goes through what may have news, a few in every turn."""

    def __init__(self) -> None:
        self._position = 0

    def next(self, members: Collection[T]) -> list[T]:
        """The next few of them."""
        if self._position >= len(members):
            self._position = 0
        found = list(islice(members, self._position, self._position + _BY_NAME))
        self._position += _BY_NAME
        return found
