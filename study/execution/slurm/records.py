"""One job as SLURM describes it, and our own reading of its states."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

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


def record_of(job_id: str, raw: str, exit_code: str, node: str, reason: str = "") -> JobRecord:
    """From the words of SLURM's commands to a record."""
    code, _, number = exit_code.partition(":")
    signal = int(number) if number.isdigit() else None
    state = interpret(raw, reason=reason, signal=signal)
    by = re.search(r"by (\d+)", raw)
    return JobRecord(
        job_id, state, raw, int(code) if code.isdigit() else None, signal,
        node if node not in ("", "(null)", "None assigned") else None, reason.strip("()") or None,
        cancelled_by=int(by.group(1)) if by else None, is_over=state in _OVER,
    )  # fmt: skip
