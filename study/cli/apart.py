"""Work that loads torch, in a child that takes it along when it ends.

An orchestrator waits for days, often with others on a machine where people log in, and needs a sixth of the memory
without it.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from study.cli.common import fault_of_component
from study.errors import StudyError, UserError
from study.orchestration.typed import same_command

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

T = TypeVar("T")
_LOOK_EVERY_S = 0.5


class Apart:
    """One child, started when it is needed; what it has loaded serves all that is asked of it until `end`."""

    def __init__(self) -> None:
        self._child: ProcessPoolExecutor | None = None
        self._asked: list[Future[Any]] = []

    def __call__(self, work: Callable[[], T]) -> T:
        """What `work`, which can be pickled as well as its result, returns or raises."""
        return self.begin(work)()

    def begin(self, work: Callable[[], T]) -> Callable[[], T]:
        """The same, begun now: what is returned waits for it.

        Raises:
            UserError: when waiting; the child was killed, as a machine without memory does.
        """
        if self._child is None:
            self._child = _start()
            atexit.register(self.end)
        asked = self._child.submit(_do, work)
        self._asked.append(asked)

        def wait() -> T:
            from concurrent.futures import BrokenExecutor

            try:
                return asked.result()
            except BrokenExecutor:
                killed = "the process that checks the study for this command was killed, perhaps for lack of memory"
                again = f"make room and start the same command again, nothing is lost: {same_command()}"
                raise UserError(f"{killed} (`dmesg` says so); {again}") from None

        return wait

    def end(self) -> None:
        """Let the child go, and its memory; what it has not done yet is given up."""
        if self._child is None:
            return
        if not all(work.done() for work in self._asked):
            from multiprocessing import active_children

            for process in active_children():  # there is one: whoever waits for it has been interrupted
                process.terminate()
        self._child.shutdown()
        self._child, self._asked = None, []


def _do(work: Callable[[], T]) -> T:
    """What `work` returns; errors lose their tracebacks on the way home, so that faults of components are told here."""
    try:
        return work()
    except StudyError:
        raise
    except Exception as error:
        told = fault_of_component(error)
        if told is None:
            raise
        raise UserError(told) from None


def _start() -> ProcessPoolExecutor:
    from concurrent.futures import ProcessPoolExecutor  # late: `status` and a finished study answer at once
    from multiprocessing import get_context

    sys.stdout.flush()  # or the child would say again what is still to be said
    return ProcessPoolExecutor(1, get_context("fork"), initializer=_begin, initargs=(os.getpid(),))


def _begin(parent: int) -> None:
    """Leave Ctrl-C to the parent, which it reaches as well, and which ends its child; do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.enable()
    Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent has been killed, and can no longer end it."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)


apart = Apart()
