"""Reading of thousands of runs: a file system answers many questions at once, but perhaps each one slowly.

What is in memory is read fastest by one thread: Python's threads hinder each other. So others help only once reading
waits, which the kernel counts, and as many as there is waiting to be shared.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_MOST_THREADS, _CHUNK = 32, 32
_ME = getattr(resource, "RUSAGE_THREAD", None)  # Linux alone knows it

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(read: Callable[[T], R], of: Sequence[T]) -> Iterator[R]:
    """What `read` makes of each, in their order, like `map`; by several threads from where it waits once per member."""
    position, num_threads = 0, 1
    while position < len(of) and num_threads == 1:
        chunk, watch = of[position : position + _CHUNK], _Watch()
        results = [read(one) for one in chunk]
        num_threads = watch.num_threads(len(chunk))
        position += len(chunk)
        yield from results
    if position == len(of):
        return
    from concurrent.futures import ThreadPoolExecutor  # late: few need it

    chunks = [of[start : start + _CHUNK] for start in range(position, len(of), _CHUNK)]
    with ThreadPoolExecutor(num_threads) as threads:
        for results in threads.map(lambda chunk: [read(one) for one in chunk], chunks):
            yield from results


class _Watch:
    """How much of its time this thread waits, from now on."""

    def __init__(self) -> None:
        self._num_waits, self._wall_s, self._cpu_s = _num_waits(), time.perf_counter(), time.thread_time()

    def num_threads(self, num_read: int) -> int:
        """Threads that would keep a processor busy; 1 unless most of what was read had to be waited for."""
        if _num_waits() - self._num_waits < num_read:
            return 1
        share = (time.thread_time() - self._cpu_s) / (time.perf_counter() - self._wall_s)
        return min(_MOST_THREADS, max(2, math.ceil(2 / max(share, 1e-3))))


def _num_waits() -> int:
    """How often this thread has waited for something so far, rather than for a processor."""
    return 0 if _ME is None else resource.getrusage(_ME).ru_nvcsw
