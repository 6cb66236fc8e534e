"""The heartbeat of an attempt, from a thread: it beats while the process works, whatever the process is at.

A beat says nothing by itself; what is in it does. Steps and units are counted by the loops that do them. What has no
loop to hook into, such as scikit-learn's fits, leaves other evidence: CPU time that grows, or bytes that are read. Of a
read that hangs on NFS, of threads that wait for each other and of a stopped process neither grows.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from study.journal.files import write_json
from study.journal.heartbeat import Heartbeat, Stage

_EVERY_S = 2.0
_IO = Path("/proc/self/io")  # proc(5)


class Pulse:
    """Says what an attempt is at; a context manager, inside of which it beats. Without a file it keeps quiet."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._beat = Heartbeat()
        self._wake, self._is_over = Event(), False
        self._thread = Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Pulse:
        if self._file is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._is_over = True
        self._wake.set()
        if self._file is not None:
            self._thread.join(_EVERY_S)  # it may hang in a file system that the work does not need any more

    def train(self, step: int, num_steps: int) -> None:
        """A training has come to a step."""
        is_new = self._beat.phase is not Stage.TRAINING
        self._beat = replace(self._beat, phase=Stage.TRAINING, what="", step=step, num_steps=num_steps)
        if is_new:
            self._wake.set()

    @contextmanager
    def evaluating(self, what: str) -> Iterator[None]:
        """Inside, an evaluation goes on; a training may go on afterwards."""
        before = self._beat
        self._beat = replace(before, phase=Stage.EVALUATING, what=what)
        self._wake.set()
        try:
            yield
        finally:
            self._beat = replace(self._beat, phase=before.phase, what=before.what)

    def count(self) -> None:
        """A unit of work is done."""
        self._beat = replace(self._beat, done=self._beat.done + 1)

    def _run(self) -> None:
        while not self._is_over:
            self._wake.clear()
            with suppress(OSError):  # a file system in trouble is reported by what it stops
                self._write()
            self._wake.wait(_EVERY_S)

    def _write(self) -> None:
        if self._file is None:
            return
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu_s = sum(each.ru_utime + each.ru_stime for each in used)
        beat = replace(self._beat, t=time.time(), cpu_s=round(cpu_s, 2), read_mb=round(_read_mb(), 1))
        write_json(self._file, beat.as_json())


def _read_mb() -> float:
    with suppress(OSError, ValueError):
        for line in _IO.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "rchar":
                return int(value) / 1e6
    return 0.0
