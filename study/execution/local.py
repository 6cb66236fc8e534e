"""Attempts run on this machine, each in a process forked from a server that has torch loaded.

The server is `multiprocessing`'s: it outlives a killed orchestrator until its last child ends, and its children lead
sessions of their own, so that Ctrl-C in a terminal reaches the orchestrator alone.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from study.execution.base import Executor, claimant_lives, intender_lives, seems_alive
from study.journal.endings import Ending, EndKind
from study.journal.replay import AttemptState
from study.journal.trouble import describe_place
from study.paths import AttemptPaths
from study.worker.process import UNWRITABLE, begin

_ROOT = Path(__file__).parents[2]


class LocalExecutor(Executor):
    """As many attempts at once as there are slots; one per accelerator where there are any."""

    name = "local"

    def __init__(self, slots: int | None = None, processes_per_run: int = 1) -> None:
        """Start the server in the background.

        Args:
            slots: attempts at once; default: one per NVIDIA GPU, else one per core this process may use, divided by
                the processes of an attempt.
            processes_per_run: processes, and GPUs where there are any, of one attempt.
        """
        gpus, size = visible_gpus(), processes_per_run
        self._gpus = [",".join(gpus[i : i + size]) for i in range(0, len(gpus) - size + 1, size)]
        self.slots = slots or usual_slots(len(gpus), size)
        self._processes: dict[tuple[str, int], tuple[multiprocessing.process.BaseProcess, str | None]] = {}
        self._unwritable: set[tuple[str, int]] = set()
        os.environ["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["study.worker.preload"])
        # While it imports, the server would die of a Ctrl-C that the orchestrator wants to outlive for its runs.
        with _interrupts(signal.SIG_IGN):
            multiprocessing.forkserver.ensure_running()

    def submit(self, attempt: AttemptPaths) -> Mapping[str, Any]:
        """Fork a process for the attempt."""
        gpu = self._free_gpu()
        process = self._context.Process(target=_child, args=(str(attempt.root), gpu), name=attempt.run.root.name)
        with _interrupts_held():  # a process that is not written down could not be stopped
            process.start()
            self._processes[attempt.run.root.name, attempt.number] = (process, gpu)
        return {"pid": process.pid, "gpu": gpu}

    def is_alive(self, attempt: AttemptState) -> bool:
        """Whether the process lives: the one that claimed the attempt, or one just started that has not yet."""
        if attempt.claim is not None:
            return seems_alive(attempt)
        process, _ = self._processes.get(_key(attempt), (None, None))
        return (process is not None and process.is_alive()) or intender_lives(attempt)

    def has_ended(self, attempt: AttemptState) -> bool:
        """Whether its process, one of ours, has ended."""
        process, _ = self._processes.get((str(attempt.job.get("run_id")), attempt.number), (None, None))
        return process is not None and not process.is_alive()

    def stop(self, paths: AttemptPaths, attempt: AttemptState) -> bool:  # noqa: ARG002 - the interface
        """Send SIGTERM, which the worker takes as: save and leave."""
        self._send(signal.SIGTERM, attempt)
        return attempt.claim is not None  # else it is just being forked

    def kill(self, attempt: AttemptState) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL, attempt)

    def ending(self, attempt: AttemptState) -> Ending | None:
        """How an attempt ended: its exit code, which comes a moment later, tells when it could not write that down."""
        self._forget_dead()
        ending = super().ending(attempt)
        if ending is not None and ending.kind is EndKind.LOST and _key(attempt) in self._processes:
            return None
        if ending is None or ending.kind is not EndKind.LOST or _key(attempt) not in self._unwritable:
            return ending
        return Ending(EndKind.DISK, f"it could not write to {describe_place(Path(attempt.job['request']['home']))}")

    def close(self) -> None:
        """Forget the processes; `multiprocessing` would wait for them at exit."""
        for process, _ in self._processes.values():
            multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]
        self._processes.clear()

    def _forget_dead(self) -> None:
        """Each process holds a descriptor; of dead ones the exit code may matter."""
        dead = {key: process for key, (process, _) in self._processes.items() if not process.is_alive()}
        self._unwritable |= {key for key, process in dead.items() if process.exitcode == UNWRITABLE}
        self._processes = {key: known for key, known in self._processes.items() if key not in dead}

    def _send(self, number: signal.Signals, attempt: AttemptState) -> None:
        if attempt.claim is not None and claimant_lives(attempt):
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(int(attempt.claim["pid"]), number)

    def _free_gpu(self) -> str | None:
        self._forget_dead()
        taken = [gpu for _, gpu in self._processes.values()]
        return min(self._gpus, key=taken.count, default=None)


def _key(attempt: AttemptState) -> tuple[str, int]:
    return str(attempt.job.get("run_id")), attempt.number


def usual_slots(num_gpus: int, processes_per_run: int) -> int:
    """Attempts at once where nothing says how many: as many as have GPUs, where there are any, else cores of their own.

    Args:
        num_gpus: GPUs of this machine.
        processes_per_run: processes of an attempt, each with a GPU or a core.
    """
    return num_gpus // processes_per_run or max(1, num_cores() // processes_per_run)


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1


def visible_gpus() -> Sequence[str]:
    """NVIDIA GPUs by index or UUID, without asking torch, which would initialise CUDA in the parent."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    return [line.split(":")[0].removeprefix("GPU ") for line in listed.stdout.splitlines() if line.startswith("GPU ")]


@contextmanager
def _interrupts(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    """Another reaction to Ctrl-C, which only ever interrupts the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the end. Blocking the signal would not do: another thread of this process would take it."""
    held: list[int] = []
    with _interrupts(lambda number, _frame: held.append(number)):
        yield
    if held:
        signal.raise_signal(held[0])


def _child(attempt_dir: str, gpu: str | None) -> None:
    sys.exit(begin(attempt_dir, gpu))
