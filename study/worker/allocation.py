"""A worker: keeps the allocation of a scheduler and forks one preloaded process per attempt.

Queueing and importing are paid once. Orders wait in the line of `PoolPaths`; the worker opens the next number by its
name and takes it unless another worker has. It takes nothing more when it is told to stop, when it has been idle, when
less time is left than its longest attempt took, and when it is warned; then it leaves as soon as what runs has ended. A
worker that the scheduler starts a second time leaves at once: its attempts have been given to others meanwhile. So does
one that its orchestrator has given up, because the scheduler says that its node is lost, when it turns out to live on.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any

from study.journal.files import create_once, read_json, read_json_or_none
from study.journal.process import this_process
from study.journal.trouble import OF_A_DISK
from study.paths import AttemptPaths, WorkerPaths
from study.worker.messages import Messages
from study.worker.oom import num_oom_kills
from study.worker.process import ENTRY, UNWRITABLE, begin

_BEAT_EVERY_S = 5.0
_LOOK_EVERY_S = 0.5
_EARLY_S = 60.0  # SLURM may send the warning that much too early (sbatch's manual, --signal)


class Leaving(StrEnum):
    """Why a worker takes nothing more."""

    STOP = "stop"
    IDLE = "idle"
    LITTLE_TIME = "little time left"
    OUT_OF_TIME = "out of time"
    WARNED = "warned"
    RESTARTED = "restarted"
    GIVEN_UP = "given up"

    @property
    def interrupts(self) -> bool:
        """Whether running attempts are asked to save and leave."""
        return self in (Leaving.OUT_OF_TIME, Leaving.WARNED)


@dataclass(frozen=True)
class Allotment:
    """What an orchestrator tells a worker once, in its job.json.

    Attributes:
        runs_at_once: attempts side by side.
        idle_s: seconds without work after which it leaves.
        time_limit_s: length of the allocation.
        warning_s: how long before its end what runs is asked to save.
        preload: module to import before the first fork; None imports nothing.
        entry: module whose `run_attempt` executes an attempt.
        first_order: number of the first order in the line that may still be there.
    """

    runs_at_once: int = 1
    idle_s: float = 60.0
    time_limit_s: float = 3600.0
    warning_s: float = 120.0
    preload: str | None = "study.worker.preload"
    entry: str = ENTRY
    first_order: int = 1


@dataclass(frozen=True)
class _Child:
    pid: int
    number: int
    slot: int
    begun: float


def serve(worker_dir: str) -> str:
    """Work until there is a reason to leave; what a scheduler's job executes."""
    return str(Allocation(WorkerPaths(Path(worker_dir))).serve())


def execute(attempt_dir: str) -> int:
    """Execute one attempt in this process: a job of its own instead of a worker's.

    A job of several machines does this on each; the first one's task is the attempt, the others stand by it.
    """
    if os.environ.get("SLURM_PROCID", "0") != "0":
        from study.worker.ranks import stand_by

        return stand_by(attempt_dir)
    code = UNWRITABLE
    try:
        code = begin(attempt_dir, None)
        return code
    finally:
        if os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1":
            AttemptPaths(Path(attempt_dir)).left.touch()
        if code == UNWRITABLE:  # neither could submitit write down the result; the job's exit code says it
            os._exit(code)


class Allocation:
    """The worker's side of the line that it takes orders from."""

    def __init__(self, paths: WorkerPaths) -> None:
        self._paths = paths
        job = read_json(paths.job)
        self._allotment = Allotment(**job["allotment"])
        self._pool = paths.pool(job["pool"])
        self._children: dict[int, _Child] = {}
        self._next = self._allotment.first_order
        self._leaving: Leaving | None = None
        self._signal: str | None = None
        self._begun = self._busy = time.monotonic()
        self._longest_s = 0.0
        self._oom_kills = num_oom_kills()
        self._next_beat = self._next_look = 0.0
        self._messages = Messages()

    def serve(self) -> Leaving:
        """Work until there is a reason to leave."""
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self._on_signal)
        who = {**this_process(), "node": os.environ.get("SLURMD_NODENAME", socket.gethostname())}
        if not create_once(self._paths.started, {**who, "t": time.time()}):
            return self._leave_again()
        self._sign("started")
        self._look()
        if self._leaving is None and self._allotment.preload:
            importlib.import_module(self._allotment.preload)
        self._busy = time.monotonic()
        while self._leaving is None or self._children or self._messages.may_arrive:
            self._look()  # before reaping: the reason to leave is written before the ends that it causes
            has_news = self._reap()
            if has_news:
                self._look()  # is there time for another?
            if self._leaving is None and len(self._children) < self._allotment.runs_at_once:
                has_news = self._take() or has_news
            self._messages.repeat()
            if not has_news:
                is_full = len(self._children) == self._allotment.runs_at_once  # nothing but their ends is waited for
                time.sleep(0.02 if is_full or time.monotonic() - self._busy < 5 * _LOOK_EVERY_S else 0.2)
        return self._leaving

    def _take(self) -> bool:
        """Fork a process for the next attempt, if one is there that no other worker has taken."""
        while not self._messages.waiting and (order := read_json_or_none(self._pool.assigned(self._next))) is not None:
            number, taken = self._next, self._pool.taken(self._next)
            if not taken.exists():
                if read_json(self._paths.job)["over"] is not None:
                    self._leave(Leaving.GIVEN_UP)
                    return False
                try:
                    is_ours = create_once(taken, {"worker": self._paths.root.name, "t": time.time()})
                except OSError as error:
                    if error.errno not in OF_A_DISK:
                        raise
                    return False  # nor could the attempt write anything; a later look may find room
                if is_ours:
                    self._next = number + 1
                    self._fork(number, order["attempt"])
                    return True
            self._next = number + 1
        return False

    def _fork(self, number: int, attempt_dir: str) -> None:
        self._busy = time.monotonic()
        slot = min(set(range(self._allotment.runs_at_once)) - {child.slot for child in self._children.values()})
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _become(attempt_dir, gpu_of(slot, self._allotment.runs_at_once), self._allotment.entry)
        self._children[pid] = _Child(pid, number, slot, time.monotonic())

    def _reap(self) -> bool:
        """Write down which processes have ended."""
        has_news = False
        while self._children:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                break
            child = self._children.pop(pid, None)
            if child is None:
                continue
            has_news, self._busy, self._next_look = True, time.monotonic(), 0.0
            self._longest_s = max(self._longest_s, self._busy - child.begun)
            exit_code, killed_before, self._oom_kills = (
                os.waitstatus_to_exitcode(status), self._oom_kills, num_oom_kills()
            )  # fmt: skip
            is_oom = exit_code == -signal.SIGKILL and self._oom_kills > killed_before
            ending = {"exit_code": exit_code, "is_oom": is_oom, "max_rss_mb": usage.ru_maxrss / 1024}
            self._messages.say(self._pool.ended(child.number), {**ending, "t": time.time()})
        return has_news

    def _look(self) -> None:
        """Look for reasons to leave, and for processes to kill."""
        now = time.monotonic()
        is_warned = self._leaving is not None and self._leaving.interrupts
        if now < self._next_look and (is_warned or not self._signal):
            return
        self._next_look = now + _LOOK_EVERY_S
        if now >= self._next_beat:
            self._next_beat = now + _BEAT_EVERY_S
            self._messages.say(self._paths.beat, {"t": time.time()})
        for child in self._children.values():
            if self._pool.kill(child.number).exists():
                os.kill(child.pid, signal.SIGKILL)
        reason = self._reason(now)
        if reason is not None and (self._leaving is None or (reason.interrupts and not self._leaving.interrupts)):
            self._leave(reason)
        if self._leaving is not None and self._leaving.interrupts:  # again and again: a process may just be forked
            for child in self._children.values():
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGTERM)

    def _reason(self, now: float) -> Leaving | None:
        limits = self._allotment
        left_s = self._begun + limits.time_limit_s - now
        if self._signal:
            is_late = left_s < limits.warning_s + _EARLY_S
            return Leaving.OUT_OF_TIME if is_late and self._signal != "SIGTERM" else Leaving.WARNED
        if left_s < limits.warning_s / 2:  # the warning should have come
            return Leaving.OUT_OF_TIME
        if self._paths.stop.exists():
            return Leaving.STOP
        if not self._children and now - self._busy > limits.idle_s:
            return Leaving.IDLE
        if self._longest_s and left_s - limits.warning_s < self._longest_s:
            return Leaving.LITTLE_TIME
        return None

    def _leave_again(self) -> Leaving:
        """Started for the second time: what the first process was at is lost."""
        while self._pool.assigned(self._next).exists():
            taken = read_json_or_none(self._pool.taken(self._next))
            if taken is not None and taken["worker"] == self._paths.root.name:
                create_once(self._pool.ended(self._next), {"exit_code": None, "t": time.time()})
            self._next += 1
        return self._leave(Leaving.RESTARTED)

    def _leave(self, reason: Leaving) -> Leaving:
        """Take nothing more, and say why."""
        self._leaving = reason
        self._messages.say(self._paths.left, {"reason": reason, "signal": self._signal, "t": time.time()})
        self._sign("left")
        return reason

    def _sign(self, what: str) -> None:
        """Let the orchestrator see, in a folder for all, that this worker's own files have news."""
        with suppress(OSError):  # a sign and no more; the files are looked at all the same
            self._pool.said.mkdir(exist_ok=True)
            (self._pool.said / f"{self._paths.root.name}-{what}").touch()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name


def gpu_of(slot: int, runs_at_once: int, environment: Mapping[str, Any] = os.environ) -> str | None:
    """The accelerators that the attempt in a slot shall see; None: all of the allocation's."""
    visible = [gpu for gpu in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    if runs_at_once == 1 or not visible:
        return None
    share = max(1, len(visible) // runs_at_once)
    first = slot * share % len(visible)
    return ",".join(visible[first : first + share])


def _become(attempt_dir: str, gpu: str | None, entry: str) -> None:
    """What a forked process does; it never returns into the worker's loop."""
    code = 1
    try:
        code = begin(attempt_dir, gpu, entry)
    except BaseException:  # noqa: BLE001 - the boundary of the process
        traceback.print_exc()
    finally:
        with suppress(OSError):  # a disk that is full
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
