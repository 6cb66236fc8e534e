"""Work that loads torch, in a child that takes it along when it ends.

An orchestrator waits for days, often with others on a machine where people log in, and needs a sixth of the memory
without it.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def apart(work: Callable[[], T]) -> T:
    """What `work`, which can be pickled as well as its result, returns or raises."""
    sys.stdout.flush()  # or the child would say again what is still to be said
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("fork"), initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    ) as child:
        return child.submit(work).result()
