"""One job per run: submissions that nobody heard of, and jobs of other studies."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from study.execution.slurm.base import SlurmSettings
from study.execution.slurm.jobs import JobExecutor
from study.journal.endings import EndKind
from study.journal.files import write_json
from study.journal.replay import replay_attempt
from study.paths import AttemptPaths, HomePaths
from study.plan.site import Mode, Slurm
from tests.fakes.slurm_commands import SlurmCommands


@pytest.fixture
def executor(slurm: SlurmCommands, tmp_path: Path) -> JobExecutor:
    study = HomePaths(tmp_path / "home").study("tiny")
    study.root.mkdir(parents=True)
    return JobExecutor(SlurmSettings(study, Slurm(poll_s=0.0, mode=Mode.JOBS), 2, tmp_path / "code"))


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[..., AttemptPaths]:
    """An attempt that an earlier orchestrator has handed to SLURM."""

    def make(job_id: str | None, *, study: str = "tiny", age_s: float = 0.0) -> AttemptPaths:
        paths = HomePaths(tmp_path / "home").study("tiny").run("a").attempt(1)
        paths.root.mkdir(parents=True)
        binding = {"batch": "b0001", "name": "study-x-b0001", "logs": str(tmp_path), "index": 0, "job_id": job_id}
        job = {"run_id": "a", "attempt": 1, "study": study, "intent_t": time.time() - age_s, "job": binding}
        write_json(paths.job, job)
        return paths

    return make


def test_jobs_that_nobody_heard_of_are_cancelled_and_their_attempts_given_back(slurm, executor, attempt) -> None:
    """Their pickles are lost with the orchestrator that was killed before sbatch answered."""
    executor._prefix = "study-x-"
    slurm.queue("7_0|study-x-b0001", "7_1|study-x-b0001", "8|study-x-b0002", "9|somebody's")
    state = replay_attempt(attempt(None))
    assert not executor.is_alive(state)
    assert slurm.calls("scancel") == ["7_0 7_1"]
    assert executor.ending(state).kind is EndKind.NOT_STARTED


def test_a_silent_scheduler_may_have_taken_them(slurm, executor, attempt) -> None:
    slurm.controller_is_away()
    state = replay_attempt(attempt(None, age_s=1000))
    assert executor.is_alive(state)
    slurm.queue()
    executor._next_search = 0.0
    assert not executor.is_alive(state)


def test_sbatch_may_still_be_on_its_way(slurm, executor, attempt) -> None:
    assert executor.is_alive(replay_attempt(attempt(None, age_s=1)))


def test_jobs_are_adopted_and_only_those_of_the_study_are_cancelled(slurm, executor, attempt) -> None:
    assert executor.is_alive(replay_attempt(attempt("7_0", study="another")))
    executor.cancel()
    assert slurm.calls("scancel") == []
    assert executor.capacity == 2, "as many as may run at once"


def test_arrays_are_no_longer_than_the_cluster_takes_and_all_slots_are_used(slurm, home, tmp_path) -> None:
    """MaxArraySize is one more than the largest index (slurm.conf's manual)."""
    site = Slurm(poll_s=0.0, mode=Mode.JOBS)
    executor = JobExecutor(SlurmSettings(home.study("tiny"), site, 7, tmp_path / "code", max_array_size=3))
    assert executor.capacity == 7
    for name in "abcdefghi":
        paths = home.study("tiny").run(name).attempt(1)
        paths.root.mkdir(parents=True)
        write_json(paths.job, {"run_id": name, "attempt": 1, "phase": "tune", "study": "tiny", "job": None})
        executor.submit(paths)
    for _ in range(5):
        executor.poll()
    scripts = [next(folder.glob("log/*_submission.sh")) for folder in sorted(home.study("tiny").workers.iterdir())]
    arrays = [re.search(r"--array=(.*)", script.read_text()) for script in scripts]
    assert [array and array[1] for array in arrays] == ["0-2%3", "0-2%3", None], "seven of the nine"


def test_more_than_a_thousand_slots_are_no_thousand(home, slurm, tmp_path) -> None:
    slots = [
        JobExecutor(SlurmSettings(home.study("tiny"), Slurm(mode=Mode.JOBS), 1200, tmp_path, limit)).capacity
        for limit in (None, 5000, 1100)
    ]
    assert slots == [1200, 1200, 1100]
