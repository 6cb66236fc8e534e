"""From what SLURM, workers and the logs say to the class of an ending."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from study.execution.slurm.records import JobRecord, JobState
from study.execution.slurm.verdict import ending_of_job, ending_of_process, ending_of_warned, log_tail
from study.journal.endings import EndKind

SAID_BY_SLURM = [
    (JobState.PREEMPTED, EndKind.PREEMPTED),
    (JobState.QUEUED, EndKind.PREEMPTED),
    (JobState.NODE_LOST, EndKind.NODE_LOST),
    (JobState.MISSING, EndKind.NODE_LOST),
    (JobState.OUT_OF_TIME, EndKind.OUT_OF_TIME),
    (JobState.OUT_OF_MEMORY, EndKind.HOST_MEMORY),
    (JobState.FAILED, EndKind.LOST),
    (JobState.COMPLETED, EndKind.LOST),
]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "7_0_log.err").write_text("")
    return tmp_path


def record(state: JobState, **details: object) -> JobRecord:
    return JobRecord("7", state, state.name, node="node1", is_over=True, **details)


@pytest.mark.parametrize(("state", "kind"), SAID_BY_SLURM)
def test_every_end_of_a_job_has_a_class(logs: Path, state: JobState, kind: EndKind) -> None:
    ending = ending_of_job(record(state), logs, has_started=True)
    assert (ending.kind, ending.node) == (kind, "node1")
    assert f"SLURM says {state.name} of job 7" in ending.message


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.COMPLETED])
def test_a_job_that_ends_before_our_code_runs_did_not_start(logs: Path, state: JobState) -> None:
    (logs / "7_0_log.err").write_text("module: command not found\n")
    ending = ending_of_job(record(state, exit_code=127), logs, has_started=False)
    assert ending.kind is EndKind.LAUNCH_FAILED
    assert "exit code 127:0" in ending.message and ending.message.endswith("module: command not found")


def test_only_the_users_own_scancel_is_respected(logs: Path) -> None:
    def kind(uid: int | None) -> EndKind:
        return ending_of_job(record(JobState.CANCELLED, cancelled_by=uid), logs, has_started=True).kind

    assert kind(os.getuid()) is EndKind.CANCELLED
    assert kind(None) is EndKind.CANCELLED, "SLURM does not say by whom"
    assert kind(os.getuid() + 1) is EndKind.PREEMPTED, "an administrator needed the node"


@pytest.mark.parametrize(
    "line",
    [
        "slurmstepd: error: Step 7.0 exceeded memory limit (1524 > 1500), being killed",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been OOM Killed.",
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.batch",
    ],
)
def test_memory_is_recognised_in_the_log(logs: Path, line: str) -> None:
    """Without cgroups SLURM says FAILED, 0:9 or 9:0."""
    (logs / "7_0_log.err").write_text(f"something else\n{line}\nsrun: error: node1: task 0: Killed\n")
    assert ending_of_job(record(JobState.FAILED, signal=9), logs, has_started=True).kind is EndKind.HOST_MEMORY
    assert ending_of_process(-9, (logs,), "node1").kind is EndKind.HOST_MEMORY
    assert ending_of_process(1, (logs,), "node1").kind is EndKind.LOST, "an exit code of its own is no kill"


def test_the_kernels_word_on_memory_is_enough() -> None:
    assert ending_of_process(-9, (), "node1", is_oom=True).kind is EndKind.HOST_MEMORY
    assert ending_of_process(-9, (), "node1").kind is EndKind.LOST


def test_what_is_told_to_end_believes_slurm_before_its_clock(logs: Path) -> None:
    def kind(state: JobState | None, *, is_late: bool) -> EndKind:
        return ending_of_warned(None if state is None else record(state), logs, "node1", is_late=is_late).kind

    assert kind(JobState.PREEMPTED, is_late=True) is EndKind.PREEMPTED
    assert kind(JobState.OUT_OF_TIME, is_late=False) is EndKind.OUT_OF_TIME
    assert kind(JobState.CANCELLED, is_late=False) is EndKind.CANCELLED
    for state in (None, JobState.COMPLETED, JobState.FAILED, JobState.UNKNOWN):
        assert kind(state, is_late=True) is EndKind.OUT_OF_TIME
        assert kind(state, is_late=False) is EndKind.PREEMPTED


def test_a_process_that_ends_says_how(tmp_path: Path) -> None:
    log = tmp_path / "log.err"
    assert "was killed by signal 11" in ending_of_process(-11, (log,), None).message
    log.write_text("Fatal Python error: Segmentation fault\n")
    ending = ending_of_process(3, (log,), "node2")
    assert ending.kind is EndKind.LOST
    assert "exited with code 3" in ending.message and ending.message.endswith("Segmentation fault")
    assert "its process ended without" in ending_of_process(None, (), None).message


def test_the_tail_of_a_log_is_bounded_and_of_the_newest_file(tmp_path: Path) -> None:
    assert log_tail(tmp_path) == log_tail(tmp_path / "none") == ""
    (tmp_path / "1_0_log.err").write_text("old\n")
    os.utime(tmp_path / "1_0_log.err", (0, 0))
    (tmp_path / "2_0_log.err").write_text("x" * 10_000 + "\nnew\n")
    assert log_tail(tmp_path).endswith("\nnew") and len(log_tail(tmp_path)) <= 4000
