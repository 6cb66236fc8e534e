"""The process of one attempt, just forked from a parent that has torch loaded."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from study.paths import AttemptPaths

ENTRY = "study.worker.entry"
UNWRITABLE = 74  # exit code, EX_IOERR: the file system did not take the attempt's last word


def begin(attempt_dir: str, gpu: str | None, entry: str = ENTRY) -> int:
    """Become the process of an attempt: a session of its own, default signals, log files; then execute it.

    Args:
        attempt_dir: the attempt.
        gpu: indices or UUIDs, with commas between, of the GPUs that it shall see; None leaves what the parent sees.
        entry: module whose `run_attempt` does the work.

    Returns:
        Exit code.
    """
    with suppress(PermissionError):  # a scheduler may have made it the leader of a group already
        os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    paths = AttemptPaths(Path(attempt_dir))
    sys.stdout.flush()
    for file, descriptor in ((paths.stdout, 1), (paths.stderr, 2)):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    return int(importlib.import_module(entry).run_attempt(attempt_dir))
