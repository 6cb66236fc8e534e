"""Work that loads torch, in a child that takes it along when it ends.

An orchestrator waits for days, often with others on a machine where people log in, and needs a sixth of the memory
without it.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

T = TypeVar("T")


class Apart:
    """One child, started when it is needed; what it has loaded serves all that is asked of it until `end`."""

    def __init__(self) -> None:
        self._child: ProcessPoolExecutor | None = None

    def __call__(self, work: Callable[[], T]) -> T:
        """What `work`, which can be pickled as well as its result, returns or raises."""
        return self.begin(work).result()

    def begin(self, work: Callable[[], T]) -> Future[T]:
        """The same, to be waited for later."""
        if self._child is None:
            self._child = _start()
            atexit.register(self.end)
        return self._child.submit(work)

    def end(self) -> None:
        """Let the child go, and its memory."""
        if self._child is not None:
            self._child.shutdown()
            self._child = None


def _start() -> ProcessPoolExecutor:
    import multiprocessing  # late: `status` answers at once
    import signal
    from concurrent.futures import ProcessPoolExecutor

    sys.stdout.flush()  # or the child would say again what is still to be said
    fork = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(1, fork, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))


apart = Apart()
