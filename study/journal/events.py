"""Facts that a worker appends to its attempt's journal, one JSON object a line.

    {"t": 1763800000.123, "event": "started", "attempt": 1, "process": {…}, "resumed_step": 0, "code": …, …}
    {"t": …, "event": "step", "step": 1, "metrics": {"train/loss": …, "train/criterion/entropy": …, …}}
    {"t": …, "event": "checkpoint", "step": 40}
    {"t": …, "event": "interim", "epoch": 1, "objective": …}
    {"t": …, "event": "trained", "step": 80, "cpu_s": …}
    {"t": …, "event": "evaluated", "key": "linear_probe-test-1a2b3c4d", "cpu_s": …}
    {"t": …, "event": "finished"} | {"event": "stopped", "reason": …, "step": …}
        | {"event": "failed", "kind": "diverged" | "pruned" | "data" | "memory" | "error", "message": …, "traceback": …}

`t` is seconds since the epoch. A step counts optimiser steps from 1. Every event but `step` carries `cpu_s`, the CPU
seconds this attempt has used so far. A killed writer leaves half a line behind; reading ignores it, and nobody appends
to it, because every attempt has a file of its own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from study.errors import JournalError
from study.journal.files import named


class EventWriter:
    """Appends events to one file; the only writer of that file."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("ab")
        self._start_cpu_s = time.process_time()

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with named(self._path):
            self._file.close()

    def append(self, event: str, *, durable: bool = False, **fields: Any) -> None:
        """Append one event, flushed to the system; `durable` waits until it is on the disk and adds `cpu_s`."""
        record = {"t": time.time(), "event": event, **fields}
        if durable:
            record["cpu_s"] = time.process_time() - self._start_cpu_s
        with named(self._path):
            self._file.write(json.dumps(record, allow_nan=True).encode() + b"\n")
            self._file.flush()
            if durable:
                os.fsync(self._file.fileno())


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of one attempt in order; nothing when there is no file.

    Raises:
        JournalError: a line other than the last is damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    *lines, torn = data.split(b"\n")
    del torn  # empty, or half a line of a killed writer
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except ValueError as error:
            message = f"{path}:{number} is damaged ({error}); move the run's folder away and start the study again"
            raise JournalError(message) from error
