"""What SLURM says about jobs: one poll for all of them, and our own reading of its states."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from study.execution.slurm.commands import ask
from study.execution.slurm.reasons import Obstacle, reason_of_waiting


class JobState(StrEnum):
    """What to make of a job; SLURM's words are many, and some depend on what happens next."""

    QUEUED = "queued"
    HELD = "held"  # will not start until somebody releases it
    RUNNING = "running"
    PAUSED = "paused"
    PREEMPTED = "preempted"
    NODE_LOST = "node lost"
    OUT_OF_TIME = "out of time"
    OUT_OF_MEMORY = "out of memory"
    CANCELLED = "cancelled"
    FAILED = "failed"
    COMPLETED = "completed"
    MISSING = "missing"  # all commands answered, none knows it
    UNKNOWN = "unknown"  # nobody has answered yet


_STATES = {
    JobState.QUEUED: "PENDING PD CONFIGURING CF POWER_UP_NODE PU REQUEUED RQ REQUEUE_FED RF RESIZING RS",
    JobState.HELD: "REQUEUE_HOLD RH SPECIAL_EXIT SE RESV_DEL_HOLD RD",
    JobState.RUNNING: "RUNNING R COMPLETING CG SIGNALING SI STAGE_OUT SO",
    JobState.PAUSED: "SUSPENDED S STOPPED ST",
    JobState.PREEMPTED: "PREEMPTED PR",
    JobState.NODE_LOST: "NODE_FAIL NF BOOT_FAIL BF RECONFIG_FAIL RC REVOKED RV",
    JobState.OUT_OF_TIME: "TIMEOUT TO DEADLINE DL",
    JobState.OUT_OF_MEMORY: "OUT_OF_MEMORY OOM",
    JobState.CANCELLED: "CANCELLED CA",
    JobState.FAILED: "FAILED F LAUNCH_FAILED LF",
    JobState.COMPLETED: "COMPLETED CD",
}
_BY_WORD = {word: state for state, words in _STATES.items() for word in words.split()}
_OVER = (
    JobState.NODE_LOST, JobState.OUT_OF_TIME, JobState.OUT_OF_MEMORY, JobState.CANCELLED, JobState.FAILED,
    JobState.COMPLETED,
)  # fmt: skip
_SIGNAL_OF_THE_OOM_KILLER = 125
_NO_ACCOUNTING = "accounting storage is disabled"
_NO_SUCH_JOB = "Invalid job id"
_PREEMPTED_FOR_GOOD_AFTER = 3  # polls without a sign that SLURM will requeue it
_MISSING_AFTER = 2  # polls in which everybody answered
_UNACCOUNTED_AFTER = 10  # polls in which the accounting was silent, which alone could tell how it ended
_ACCOUNTED_AFTER = 3  # polls; the accounting may be behind
_VISIBLE_AFTER_S = 10.0  # a job just submitted may not be known everywhere yet


@dataclass(frozen=True)
class JobRecord:
    """What is known about one job.

    Attributes:
        job_id: `123`, or `123_4` for a member of an array.
        state: our reading.
        raw: SLURM's word.
        exit_code, signal: of the batch script.
        node: where it runs or ran.
        reason: why it waits.
        cancelled_by: numeric id of the user who cancelled it.
        is_over: nothing more will happen to it.
    """

    job_id: str
    state: JobState
    raw: str = ""
    exit_code: int | None = None
    signal: int | None = None
    node: str | None = None
    reason: str | None = None
    cancelled_by: int | None = None
    is_over: bool = False

    @property
    def is_certain(self) -> bool:
        """Whether the queue need not be asked: it is over, and SLURM does not put such jobs back."""
        return self.is_over and self.state is not JobState.NODE_LOST


def interpret(raw: str, *, reason: str = "", signal: int | None = None) -> JobState:
    """Our reading of SLURM's word for a state, long or short, with what it may be followed by."""
    word = raw.strip().split(" ")[0].rstrip("+")
    state = _BY_WORD.get(word, JobState.UNKNOWN)
    if state is JobState.QUEUED and reason_of_waiting(reason).obstacle is Obstacle.HELD:
        return JobState.HELD
    if state is JobState.FAILED and signal == _SIGNAL_OF_THE_OOM_KILLER:
        return JobState.OUT_OF_MEMORY
    return state


class JobWatch:
    """The newest record of every watched job; while SLURM is silent the last one stays.

    Attributes:
        num_answers: how often the queue has been told.
    """

    def __init__(
        self, interval_s: float = 30.0, clock: Callable[[], float] = time.monotonic, timeout_s: float = 30.0
    ) -> None:
        """`interval_s` is the time between two polls, `timeout_s` the longest that one command may take."""
        self._interval_s, self._clock, self._timeout_s = interval_s, clock, timeout_s
        self._records: dict[str, JobRecord] = {}
        self._since: dict[str, float] = {}
        self._findings: dict[str, tuple[str, int]] = {}  # what is not believed at once, seen so many times in a row
        self._last = -float("inf")
        self.num_answers = 0

    def watch(self, job_id: str) -> None:
        """Begin to ask about a job."""
        self._since.setdefault(job_id, self._clock())

    def forget(self, job_id: str) -> None:
        """Ask no more; the last record stays."""
        self._since.pop(job_id, None)
        self._findings.pop(job_id, None)

    def hurry(self) -> None:
        """Ask anew when `refresh` is called next: something has just been changed."""
        self._last = -float("inf")

    def state(self, job_id: str) -> JobRecord:
        """What is known now."""
        return self._records.get(job_id) or JobRecord(job_id, JobState.UNKNOWN)

    def refresh(self, *, force: bool = False) -> bool:
        """Poll when it is time, or four times as often with `force`; says whether SLURM was asked."""
        now = self._clock()
        ids = [job_id for job_id in list(self._since) if not self.state(job_id).is_over]
        if not ids or now - self._last < self._interval_s / (4 if force else 1):
            return False
        self._last = now
        poll = _Poll(ids, self._timeout_s)
        for job_id in ids:
            record = self._settled(job_id, poll, is_new=now - self._since.get(job_id, now) < _VISIBLE_AFTER_S)
            if record is not None:
                self._records[job_id] = record
        self.num_answers += poll.has_queue
        return True

    def _settled(self, job_id: str, poll: _Poll, *, is_new: bool) -> JobRecord | None:
        """What to believe after this poll; None: the last record."""
        accounted = poll.accounted.get(job_id)
        if accounted is not None and accounted.is_certain:
            return accounted
        behind = accounted if accounted and not accounted.is_over and job_id not in self._records else None
        try:
            live = poll.ask_controller(job_id)
        except _SilentError:  # nothing starts without a controller, but it may yet put back what a lost node has ended
            return behind
        if live is not None and not live.is_over and live.state is not JobState.PREEMPTED:
            self._findings.pop(job_id, None)
            return live
        if live is None or live.state is JobState.PREEMPTED:
            if accounted is not None and accounted.is_over:
                return accounted
            preempted = next((r for r in (live, accounted) if r and r.state is JobState.PREEMPTED), None)
            if preempted is not None:
                times = self._count(job_id, "preempted")
                return replace(preempted, node=_node_of(accounted, live), is_over=times >= _PREEMPTED_FOR_GOOD_AFTER)
            return self._missing(job_id, accounted, poll, is_new=is_new)
        if accounted is not None and accounted.state is live.state:
            return accounted
        # Only the accounting tells who has cancelled a job.
        is_told = accounted is None and (live.state is not JobState.CANCELLED or poll.accounting_is_silent)
        if is_told or self._count(job_id, "over") >= _ACCOUNTED_AFTER:
            return live
        return behind

    def _missing(self, job_id: str, accounted: JobRecord | None, poll: _Poll, *, is_new: bool) -> JobRecord | None:
        """The controller does not know it: over, but the accounting may yet tell how."""
        behind = accounted if job_id not in self._records else None
        if is_new:
            return behind
        patience = _ACCOUNTED_AFTER if accounted else _MISSING_AFTER
        if poll.accounting_is_silent:
            patience = _UNACCOUNTED_AFTER
        if self._count(job_id, "missing") < patience:
            return behind
        return JobRecord(job_id, JobState.MISSING, node=_node_of(accounted, self.state(job_id)), is_over=True)

    def _count(self, job_id: str, finding: str) -> int:
        before, times = self._findings.get(job_id, (finding, 0))
        times = times + 1 if before == finding else 1
        self._findings[job_id] = (finding, times)
        return times


class _SilentError(Exception):
    """The controller does not answer."""


class _Poll:
    """What the commands answer at one time."""

    def __init__(self, ids: Sequence[str], timeout_s: float) -> None:
        accounted = _ask_sacct(ids, timeout_s)
        self.accounting_is_silent, self.accounted = accounted is None, accounted or {}
        is_needed = not all(i in self.accounted and self.accounted[i].is_certain for i in ids)
        self._queued = _ask_squeue(timeout_s) if is_needed else {}
        self.has_queue = is_needed and self._queued is not None
        self._timeout_s, self._wasted_s = timeout_s, 0.0

    def ask_controller(self, job_id: str) -> JobRecord | None:
        """What the queue says of a job, and the controller's memory where it may know more.

        Raises:
            _SilentError: the controller does not answer, or not soon enough to go on with the next job.
        """
        if self._queued is None:
            raise _SilentError
        record = self._queued.get(job_id)
        if record is not None and (job_id in self.accounted or not record.is_over):
            return record
        known, start = None, time.monotonic()
        if self._wasted_s < self._timeout_s / 2:
            known = _ask_scontrol(job_id, self._timeout_s)
        if known is None:
            self._wasted_s += time.monotonic() - start
            raise _SilentError
        return known.get(job_id, record)


def find_by_name(prefix: str) -> Mapping[str, str] | None:
    """Job id → name of this user's jobs in the queue whose name begins with `prefix`; None when SLURM is silent."""
    answer = ask("squeue", "--noheader", "--all", "--array", "--user", str(os.getuid()), "--format=%i|%j")
    if answer is None:
        return None
    rows = [line.strip().split("|", 1) for line in answer.splitlines() if "|" in line]
    return {job_id: name for job_id, name in rows if name.startswith(prefix)}


def in_queue(job_ids: Iterable[str], timeout_s: float = 30.0) -> set[str] | None:
    """Which of these jobs wait, run or are just ending; None when SLURM is silent."""
    queued = _ask_squeue(timeout_s)
    return None if queued is None else {i for i in job_ids if i in queued and not queued[i].is_over}


def _ask_sacct(ids: Iterable[str], timeout_s: float) -> dict[str, JobRecord] | None:
    """The newest row of every job that the accounting knows; members of an array that never started are not there."""
    answer = ask(
        "sacct", "-X", "-P", "-n", "-j", ",".join(ids), "-o", "JobID,State,ExitCode,NodeList",
        timeout_s=timeout_s, answers=[_NO_ACCOUNTING],
    )  # fmt: skip
    if answer is None:
        return None
    rows = [line.split("|") for line in answer.splitlines() if line.count("|") == 3]
    return {job_id: _record(job_id, raw, exit_code, node) for job_id, raw, exit_code, node in rows}


def _ask_squeue(timeout_s: float) -> dict[str, JobRecord] | None:
    """This user's jobs that are in the queue, or have just left it."""
    answer = ask(
        "squeue", "--noheader", "--all", "--array", "--states=all", "--me", "--format=%i|%T|%N|%r", timeout_s=timeout_s
    )  # fmt: skip
    if answer is None:
        return None
    rows = [line.strip().split("|", 3) for line in answer.splitlines() if line.count("|") >= 3]
    return {job_id: _record(job_id, raw, "", node, reason) for job_id, raw, node, reason in rows}


def _ask_scontrol(job_id: str, timeout_s: float) -> dict[str, JobRecord] | None:
    """The job, when the controller remembers it."""
    unknown = [_NO_SUCH_JOB, f"Job {job_id} not found"]  # the second for members of an array that it does know
    answer = ask("scontrol", "--oneliner", "show", "job", job_id, timeout_s=timeout_s, answers=unknown)
    if answer is None:
        return None
    fields = dict(word.split("=", 1) for word in answer.split() if "=" in word)
    if "JobState" not in fields:
        return {}
    details = (fields.get(name, "") for name in ("JobState", "ExitCode", "NodeList", "Reason"))
    return {job_id: _record(job_id, *details)}


def _record(job_id: str, raw: str, exit_code: str, node: str, reason: str = "") -> JobRecord:
    code, _, number = exit_code.partition(":")
    signal = int(number) if number.isdigit() else None
    state = interpret(raw, reason=reason, signal=signal)
    by = re.search(r"by (\d+)", raw)
    return JobRecord(
        job_id, state, raw, int(code) if code.isdigit() else None, signal,
        node if node not in ("", "(null)", "None assigned") else None, reason.strip("()") or None,
        cancelled_by=int(by.group(1)) if by else None, is_over=state in _OVER,
    )  # fmt: skip


def _node_of(*records: JobRecord | None) -> str | None:
    return next((record.node for record in records if record is not None and record.node), None)
