"""Reading of thousands of runs: a file system answers many questions at once, but each one slowly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_THREADS, _CHUNK = 16, 32  # cold disks and network file systems take ten times as long for one thread

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(read: Callable[[T], R], of: Sequence[T]) -> Iterator[R]:
    """What `read` makes of each, in their order, like `map`; several threads wait where there are many."""
    if len(of) <= _CHUNK:
        yield from map(read, of)
        return
    from concurrent.futures import ThreadPoolExecutor  # late: few ask for many

    chunks = [of[start : start + _CHUNK] for start in range(0, len(of), _CHUNK)]
    with ThreadPoolExecutor(_THREADS) as threads:
        for results in threads.map(lambda chunk: [read(one) for one in chunk], chunks):
            yield from results
