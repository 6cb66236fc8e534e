"""What SLURM's commands say about jobs: the accounting, the queue, the controller's memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from study.execution.slurm.commands import ask
from study.execution.slurm.records import JobRecord, record_of

_NO_ACCOUNTING = "accounting storage is disabled"
_NO_SUCH_JOB = "Invalid job id"


def find_by_name(prefix: str) -> Mapping[str, str] | None:
    """Job id → name of this user's jobs in the queue whose name begins with `prefix`; None when SLURM is silent."""
    answer = ask("squeue", "--noheader", "--all", "--array", "--user", str(os.getuid()), "--format=%i|%j")
    if answer is None:
        return None
    rows = [line.strip().split("|", 1) for line in answer.splitlines() if "|" in line]
    return {job_id: name for job_id, name in rows if name.startswith(prefix)}


def in_queue(job_ids: Iterable[str], timeout_s: float = 30.0) -> set[str] | None:
    """Which of these jobs wait, run or are just ending; None when SLURM is silent."""
    queued = ask_squeue(timeout_s)
    return None if queued is None else {i for i in job_ids if i in queued and not queued[i].is_over}


def ask_sacct(ids: Iterable[str], timeout_s: float) -> dict[str, JobRecord] | None:
    """The newest row of every job that the accounting knows; members of an array that never started are not there."""
    answer = ask(
        "sacct", "-X", "-P", "-n", "-j", ",".join(ids), "-o", "JobID,State,ExitCode,NodeList",
        timeout_s=timeout_s, answers=[_NO_ACCOUNTING],
    )  # fmt: skip
    if answer is None:
        return None
    rows = [line.split("|") for line in answer.splitlines() if line.count("|") == 3]
    return {job_id: record_of(job_id, raw, exit_code, node) for job_id, raw, exit_code, node in rows}


def ask_squeue(timeout_s: float) -> dict[str, JobRecord] | None:
    """This user's jobs that are in the queue, or have just left it."""
    answer = ask(
        "squeue", "--noheader", "--all", "--array", "--states=all", "--me", "--format=%i|%T|%N|%r", timeout_s=timeout_s
    )  # fmt: skip
    if answer is None:
        return None
    rows = [line.strip().split("|", 3) for line in answer.splitlines() if line.count("|") >= 3]
    return {job_id: record_of(job_id, raw, "", node, reason) for job_id, raw, node, reason in rows}


def ask_scontrol(job_id: str, timeout_s: float) -> dict[str, JobRecord] | None:
    """The job, when the controller remembers it."""
    unknown = [_NO_SUCH_JOB, f"Job {job_id} not found"]  # the second for members of an array that it does know
    answer = ask("scontrol", "--oneliner", "show", "job", job_id, timeout_s=timeout_s, answers=unknown)
    if answer is None:
        return None
    fields = dict(word.split("=", 1) for word in answer.split() if "=" in word)
    if "JobState" not in fields:
        return {}
    details = (fields.get(name, "") for name in ("JobState", "ExitCode", "NodeList", "Reason"))
    return {job_id: record_of(job_id, *details)}
