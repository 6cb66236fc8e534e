"""Facts that a worker appends to its attempt's journal, one JSON object a line.

    {"t": 1763800000.123, "event": "started", "attempt": 1, "process": {…}, "resumed_step": 0, "code": …, …}
    {"t": …, "event": "step", "step": 1, "metrics": {"train/loss": …, "train/criterion/entropy": …, …}}
    {"t": …, "event": "checkpoint", "step": 40}
    {"t": …, "event": "interim", "epoch": 1, "objective": …}
    {"t": …, "event": "trained", "step": 80, "cpu_s": …}
    {"t": …, "event": "evaluated", "key": "linear_probe-test-1a2b3c4d", "cpu_s": …}
    {"t": …, "event": "finished"} | {"event": "stopped", "reason": …, "step": …}
        | {"event": "failed", "kind": "diverged" | "pruned" | "data" | "memory" | "error", "message": …, "traceback": …}

`t` is seconds since the epoch. A step counts optimiser steps from 1. Of runs with up to 2,000 steps every step is
written; of longer ones about a thousand, evenly spaced, beside the first one, the last of each epoch, and the last ones
before a divergence (`study.journal.thinning`; `log_every` in a site file says otherwise). So 20,000 steps with 20
metrics are about 1 MB. Journals of earlier code hold every step.

Every event but `step` carries `cpu_s`, the CPU seconds this attempt has used so far. Every line is handed to the system
before the next step is waited for. A killed writer leaves half a line behind; reading ignores it, and nobody appends to
it, because every attempt has a file of its own.
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

_decode = json.JSONDecoder().decode  # json.loads would first guess the encoding
_STEP, _HEAD = b'"event": "step"', 64  # within text, quotes would be escaped


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


def read_events(path: Path | str, *, with_steps: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the events of one attempt in order; nothing when there is no file.

    Args:
        path: the journal.
        with_steps: whether training steps are wanted, which are nearly all of a journal. Without them, but for one that
            is the newest event, it is read many times as fast, and damage to a line of a step is not noticed.

    Raises:
        JournalError: a line other than the last is damaged.
    """
    try:
        file = open(path, "rb")  # noqa: PTH123, SIM115 (closed below)
    except FileNotFoundError:
        return
    number, skipped = 0, b""
    with file:
        for line in file:
            if not line.endswith(b"\n"):
                break  # half a line of a killed writer
            number += 1
            skipped = b"" if with_steps or _STEP not in line[:_HEAD] else line
            if not skipped:
                yield _event(line, path, number)
    if skipped:
        yield _event(skipped, path, number)


def _event(line: bytes, path: Path | str, number: int) -> dict[str, Any]:
    try:
        event: dict[str, Any] = _decode(line.decode())
    except ValueError as error:
        message = f"{path}:{number} is damaged ({error}); move the run's folder away and start the study again"
        raise JournalError(message) from error
    return event
