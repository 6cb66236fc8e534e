"""What a user cancels is respected; what others cancel is replaced, at a bounded rate."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from study.execution.slurm import gate
from study.execution.slurm.base import SlurmSettings
from study.execution.slurm.jobs import JobExecutor
from study.execution.slurm.workers import WorkerExecutor
from study.journal.endings import EndKind
from study.journal.files import create_once, read_json, write_json
from study.journal.process import this_process
from study.journal.replay import replay_attempt
from study.orchestration.policy import RULES
from study.paths import AttemptPaths, HomePaths
from study.plan.site import Mode, Slurm
from study.worker.allocation import Leaving
from tests.fakes.slurm_commands import SlurmCommands
from tests.fakes.tiny_study import wait_for
from tests.fakes.worker_files import assigned, end, leave, start, take

ME, ADMIN = os.getuid(), os.getuid() + 1


@pytest.fixture
def new_jobs(slurm: SlurmCommands, home: HomePaths, tmp_path: Path) -> Callable[[int], JobExecutor]:
    def make(slots: int) -> JobExecutor:
        site = Slurm(poll_s=0.0, mode=Mode.JOBS)
        return JobExecutor(SlurmSettings(home.study("tiny"), site, slots, tmp_path / "code"))

    return make


def polled(executor: WorkerExecutor | JobExecutor, until: Callable[[], object], what: str) -> list[str]:
    """Poll until something is so; what was said meanwhile."""
    said: list[str] = []

    def is_so() -> bool:
        said.extend(executor.poll())
        return bool(until())

    wait_for(is_so, what, 30)
    return said


def polls(executor: WorkerExecutor | JobExecutor, seconds: float = 1.0) -> list[str]:
    """Poll for a while; what was said."""
    end, said = time.monotonic() + seconds, []
    while time.monotonic() < end:
        said += executor.poll()
        time.sleep(0.01)
    return said


def test_pending_workers_that_the_user_cancels_are_not_replaced(slurm, home, new_executor, submit) -> None:
    executor = new_executor(slots=3)
    attempts = [submit(executor, name) for name in "abcd"]
    executor.poll()
    slurm.queue("7|PENDING||Resources", "8|PENDING||Resources", "9|PENDING||Resources")
    slurm.accounting(f"8|CANCELLED by {ME}|0:0|None assigned")
    said = polled(executor, lambda: executor.capacity == 2, "the user's will") + polls(executor)
    assert len(slurm.calls("sbatch")) == 3
    goes_on = "the study goes on with at most 2 jobs at once until you start it again"
    assert [line for line in said if "cancelled" in line] == [f"You cancelled job 8: it is not replaced; {goes_on}"]
    assert executor.closed() is None
    assert all(executor.is_alive(replay_attempt(attempt)) for attempt in attempts), "the others will take them"
    slurm.accounting(*(f"{job}|CANCELLED by {ME}|0:0|None assigned" for job in (7, 8, 9)))
    slurm.queue()
    polled(executor, executor.closed, "the end")
    polls(executor)
    assert executor.closed() == "You cancelled jobs 7, 9: no job of the study is left."
    assert len(slurm.calls("sbatch")) == 3
    assert len(new_executor(slots=3).poll()) == 0 and new_executor(slots=3).closed() is None, "until it starts again"


def test_the_study_goes_on_with_the_jobs_that_were_left_not_with_the_slots_that_there_are(
    slurm, new_executor, submit
) -> None:
    """Of eight slots two were needed: whoever cancels one of them does not want seven."""
    executor = new_executor(slots=8)
    for name in "ab":
        submit(executor, name)
    executor.poll()
    slurm.queue("7|PENDING||Priority", "8|PENDING||Priority")
    slurm.accounting(f"7|CANCELLED by {ME}|0:0|None assigned")
    polled(executor, lambda: executor.capacity == 1, "the user's will")
    for name in "cdef":
        submit(executor, name)
    polls(executor)
    assert len(slurm.calls("sbatch")) == 2


def test_what_ran_in_a_cancelled_worker_is_carried_on_by_the_others(slurm, home, new_executor, submit) -> None:
    executor = new_executor(slots=2)
    first, second = submit(executor, "a"), submit(executor, "b")
    executor.poll()
    workers = home.study("tiny").existing_workers()
    for number, (worker, attempt) in enumerate(zip(workers, (first, second), strict=True), start=1):
        start(worker)
        take(worker, number)
        create_once(attempt.claim, {**this_process(), "host": "node1"})
    slurm.queue("7|RUNNING|node1|None", "8|RUNNING|node1|None")
    polled(executor, lambda: executor._watch.num_answers > 1, "a look")
    slurm.queue("8|RUNNING|node1|None")
    slurm.accounting(f"7|CANCELLED by {ME}|0:15|node1")
    polled(executor, lambda: not executor.is_alive(replay_attempt(first)), "its end")
    ending = executor.ending(replay_attempt(first))
    assert ending.kind is EndKind.WORKER_CANCELLED and RULES[ending.kind].num_tries is None
    assert executor.is_alive(replay_attempt(second))
    submit(executor, "a")
    polls(executor)
    assert len(slurm.calls("sbatch")) == 2 and assigned(workers[1])[-1] == "a", "the second worker's next"


def test_a_worker_that_was_warned_is_not_replaced_before_slurm_has_said_why(slurm, home, submit, tmp_path) -> None:
    """`scancel` sends SIGTERM first, as preemption does; the worker leaves, and says so at once."""
    executor = WorkerExecutor(SlurmSettings(home.study("tiny"), Slurm(poll_s=0.4), 2, tmp_path / "code"))
    attempt, _ = submit(executor, "a"), submit(executor, "b")
    executor.poll()
    first, _ = home.study("tiny").existing_workers()
    slurm.queue("7|RUNNING|node1|None", "8|PENDING||Resources")
    start(first)
    take(first, 1)
    create_once(attempt.claim, {**this_process(), "host": "node1"})
    polled(executor, lambda: executor._watch.num_answers > 1, "a look")
    leave(first, Leaving.WARNED)
    end(first, 1, -15)
    submit(executor, "c")
    polls(executor, 0.5)
    assert len(slurm.calls("sbatch")) == 2
    slurm.queue("8|PENDING||Resources")
    slurm.accounting(f"7|CANCELLED by {ME}|0:15|node1")
    said = polled(executor, lambda: executor.capacity == 1, "the user's will") + polls(executor, 0.5)
    assert len(slurm.calls("sbatch")) == 2 and any("with at most 1 job at once" in line for line in said)
    assert executor.ending(replay_attempt(attempt)).kind is EndKind.WORKER_CANCELLED


def test_a_preempted_worker_is_replaced_as_soon_as_slurm_has_said_so(slurm, home, submit, tmp_path) -> None:
    executor = WorkerExecutor(SlurmSettings(home.study("tiny"), Slurm(poll_s=0.4), 1, tmp_path / "code"))
    submit(executor, "a")
    executor.poll()
    (first,) = home.study("tiny").existing_workers()
    slurm.queue("7|RUNNING|node1|None")
    start(first)
    polled(executor, lambda: executor._watch.num_answers > 1, "a look")
    leave(first, Leaving.WARNED)
    submit(executor, "b")
    slurm.queue()
    slurm.accounting(f"7|CANCELLED by {ADMIN}|0:15|node1")
    polled(executor, lambda: len(slurm.calls("sbatch")) == 2, "another one")


def test_a_cancelled_job_of_its_own_was_the_run(slurm, home, new_jobs, submit) -> None:
    executor = new_jobs(2)
    slurm.says("sbatch", "Submitted batch job 7")
    attempts = [submit_job(executor, home, name) for name in "ab"]
    executor.poll()
    slurm.queue("7_0|PENDING||Resources", "7_1|RUNNING|node1|None")
    polled(executor, lambda: executor._watch.num_answers > 1, "a look")
    slurm.accounting(f"7_0|CANCELLED by {ME}|0:0|None assigned")
    said = polled(executor, lambda: not executor.is_alive(replay_attempt(attempts[0])), "its end") + polls(executor)
    ending = executor.ending(replay_attempt(attempts[0]))
    assert ending.kind is EndKind.CANCELLED and RULES[ending.kind].num_tries == 1
    assert executor.capacity == 1 and sum("You cancelled job 7_0: it is not replaced" in line for line in said) == 1
    slurm.says("sbatch", "Submitted batch job 8")
    submit_job(executor, home, "c")
    polls(executor)
    assert len(slurm.calls("sbatch")) == 1, "as many as were left run"
    slurm.accounting(f"7_0|CANCELLED by {ME}|0:0|node1", f"7_1|CANCELLED by {ME}|0:0|node1")
    polled(executor, executor.closed, "the end")
    polls(executor)
    assert len(slurm.calls("sbatch")) == 1


def submit_job(executor: JobExecutor, home: HomePaths, name: str) -> AttemptPaths:
    """As orchestrators do: the intent, then what the executor answers."""
    attempt = home.study("tiny").run(name).attempt(1)
    attempt.root.mkdir(parents=True)
    job = {"run_id": name, "attempt": 1, "phase": "tune", "study": "tiny", "job": None}
    write_json(attempt.job, job)
    write_json(attempt.job, {**job, "job": executor.submit(attempt)})
    return attempt


def test_what_this_program_cancels_is_not_the_users_will(slurm, home, new_executor, submit) -> None:
    executor = new_executor(slots=2)
    submit(executor, "a")
    executor.poll()
    slurm.queue("7|PENDING||Resources")
    polled(executor, lambda: executor._watch.num_answers > 1, "a look")
    executor.cancel()
    slurm.queue()
    slurm.accounting(f"7|CANCELLED by {ME}|0:0|None assigned")
    (worker,) = home.study("tiny").existing_workers()
    polled(executor, lambda: read_json(worker.job)["over"], "its end")
    assert executor.closed() is None and executor.capacity == 2


def test_what_was_cancelled_while_nobody_orchestrated_is_over(slurm, home, new_executor, submit) -> None:
    """Starting the command again is what takes a `scancel` back."""
    submit(new_executor(slots=2), "a")
    first = new_executor(slots=2)
    submit(first, "a")
    first.poll()
    slurm.accounting(*(f"{job}|CANCELLED by {ME}|0:0|None assigned" for job in range(7, 20)))
    successor = new_executor(slots=2)
    (worker,) = home.study("tiny").existing_workers()
    polled(successor, lambda: read_json(worker.job)["over"], "its end")
    assert successor.closed() is None and successor.capacity == 2


ENDINGS = ["CANCELLED by {admin}", "PREEMPTED", "NODE_FAIL", "FAILED", "BOOT_FAIL", "COMPLETED", "TIMEOUT"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("mode", Mode)
def test_whatever_becomes_of_jobs_that_do_nothing_they_are_not_replaced_without_a_pause(
    slurm, home, new_executor, new_jobs, submit, monkeypatch, ending: str, mode: Mode
) -> None:
    monkeypatch.setattr(gate, "_FRUITLESS_S", 1000.0)
    executor = new_executor(slots=1) if mode is Mode.WORKERS else new_jobs(1)
    code = "1:0" if ending == "FAILED" else "0:0"
    rows = [f"{job}|{ending.format(admin=ADMIN)}|{code}|node1" for job in range(7, 60)]
    slurm.accounting(*rows)
    attempt = submit(executor, "a") if mode is Mode.WORKERS else submit_job(executor, home, "a")
    for _ in range(12):  # as an orchestrator does that tries again whatever has ended
        polls(executor, 0.05)
        state = replay_attempt(attempt)
        if not executor.is_alive(state) and executor.ending(state) is not None:
            attempt = submit_next(executor, home, "a")
    assert len(slurm.calls("sbatch")) == 2, "the first is replaced at once"
    assert executor.closed() is None


def submit_next(executor: WorkerExecutor | JobExecutor, home: HomePaths, name: str) -> AttemptPaths:
    run = home.study("tiny").run(name)
    attempt = run.attempt(len(run.existing_attempts()) + 1)
    attempt.root.mkdir(parents=True)
    job = {"run_id": name, "attempt": attempt.number, "phase": "tune", "study": "tiny", "job": None}
    write_json(attempt.job, job)
    write_json(attempt.job, {**job, "job": executor.submit(attempt)})
    return attempt


def test_an_array_whose_member_is_cancelled_says_by_whom(slurm, home, new_jobs) -> None:
    executor = new_jobs(2)
    slurm.says("sbatch", "Submitted batch job 7")
    attempts = [submit_job(executor, home, name) for name in "ab"]
    executor.poll()
    slurm.queue("7_0|PENDING||Resources", "7_1|PENDING||Resources")
    polled(executor, lambda: executor._watch.num_answers > 1, "a look")
    slurm.accounting(f"7_0|CANCELLED by {ADMIN}|0:0|None assigned")
    polled(executor, lambda: not executor.is_alive(replay_attempt(attempts[0])), "its end")
    assert executor.ending(replay_attempt(attempts[0])).kind is EndKind.PREEMPTED
    assert executor.capacity == 2, "an administrator's will is no will of the user's"
