"""From what SLURM, workers and the logs say about a job to the ending of an attempt."""

from __future__ import annotations

import os
import re
from pathlib import Path

from study.execution.slurm.records import JobRecord, JobState
from study.journal.endings import Ending, EndKind
from study.journal.trouble import describe_place
from study.worker.process import UNWRITABLE

_OUT_OF_MEMORY = re.compile(
    r"oom[-_ ]kill|out of memory|exceeded (job |step )?memory limit|memory cgroup", re.IGNORECASE
)
_TAIL_BYTES = 4000
_OUR_KINDS = {
    JobState.NODE_LOST: EndKind.NODE_LOST,
    JobState.OUT_OF_TIME: EndKind.OUT_OF_TIME,
    JobState.OUT_OF_MEMORY: EndKind.HOST_MEMORY,
    JobState.PREEMPTED: EndKind.PREEMPTED,
    JobState.QUEUED: EndKind.PREEMPTED,  # SLURM has put the job back into its queue
    JobState.HELD: EndKind.PREEMPTED,
}


def ending_of_job(record: JobRecord, log: Path, *, has_started: bool) -> Ending:
    """Why an attempt ended together with its job.

    Args:
        record: what SLURM says about the job.
        log: folder with the job's logs, or one log.
        has_started: whether our code got to run.
    """
    said = f"SLURM says {record.raw} of job {record.job_id}" if record.raw else f"job {record.job_id} is gone"
    if record.exit_code or record.signal:
        said += f" (exit code {record.exit_code}:{record.signal or 0})"
    tail = log_tail(log)
    kind = _OUR_KINDS.get(record.state)
    if kind is None and record.exit_code == UNWRITABLE:
        return Ending(EndKind.DISK, f"{_unwritable(log)}; {said}", record.node)
    if kind is None and _OUT_OF_MEMORY.search(tail):
        kind = EndKind.HOST_MEMORY
    if kind is None and record.state is JobState.CANCELLED:
        kind = EndKind.CANCELLED if record.cancelled_by in (None, os.getuid()) else EndKind.PREEMPTED
    if kind is None:
        if record.state is JobState.MISSING:
            kind = EndKind.NODE_LOST
        else:
            kind = EndKind.LOST if has_started else EndKind.LAUNCH_FAILED
    if kind in (EndKind.LOST, EndKind.LAUNCH_FAILED) and tail:
        said += f"; its log ends with: {tail.splitlines()[-1]}"
    return Ending(kind, said, record.node)


def ending_of_warned(record: JobRecord | None, log: Path, node: str | None, *, is_late: bool) -> Ending:
    """Why an attempt saved and left because its job was told to end.

    Args:
        record: how the job ended; None, or an end of its own making, says nothing.
        log: folder with the job's logs.
        node: where it ran.
        is_late: the warning came near its time limit.
    """
    if record is not None and record.state not in (JobState.COMPLETED, JobState.FAILED, JobState.UNKNOWN):
        return ending_of_job(record, log, has_started=True)
    if is_late:
        return Ending(EndKind.OUT_OF_TIME, "its job was warned of its time limit", node)
    return Ending(EndKind.PREEMPTED, "its job was told to end", node)


def ending_of_process(
    exit_code: int | None, logs: tuple[Path, ...], node: str | None, *, is_oom: bool | None = None
) -> Ending:
    """Why an attempt ended whose worker lives on, which says whether the kernel has killed for want of memory."""
    tails = [log_tail(log) for log in logs]
    if exit_code == UNWRITABLE:
        return Ending(EndKind.DISK, _unwritable(logs[0]), node)
    if is_oom:
        return Ending(EndKind.HOST_MEMORY, "the kernel has killed its process for want of memory", node)
    if exit_code == -9 and any(map(_OUT_OF_MEMORY.search, tails)):
        return Ending(EndKind.HOST_MEMORY, "its process was killed, and the log speaks of memory", node)
    how = "ended"
    if exit_code is not None:
        how = f"exited with code {exit_code}" if exit_code >= 0 else f"was killed by signal {-exit_code}"
    last = next((f"; its log ends with: {tail.splitlines()[-1]}" for tail in tails if tail), "")
    return Ending(EndKind.LOST, f"its process {how} without a last word{last}", node)


def _unwritable(near: Path) -> str:
    return f"it could not write to {describe_place(near)}"


def log_tail(path: Path) -> str:
    """The end of a log, or of the newest `*log.err` of a folder; empty when there is none."""
    try:
        if path.is_dir():
            path = max(path.glob("*log.err"), key=lambda file: file.stat().st_mtime)
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
    except (OSError, ValueError):
        return ""
