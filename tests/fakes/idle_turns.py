"""An orchestrator's executor in turns in which nothing happens: for counting what that costs.

    python -m tests.fakes.idle_turns FOLDER MODE NUM TURNS

Makes a study of NUM workers, or jobs, that all run, and looks at it; the turns lie between a look at `FOLDER/begin` and
one at `FOLDER/end`.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from study.execution.slurm import jobs, launcher
from study.execution.slurm.base import SlurmSettings
from study.execution.slurm.jobs import JobExecutor
from study.execution.slurm.records import JobRecord, JobState
from study.execution.slurm.workers import WorkerExecutor
from study.journal.files import create_once, read_json, write_json
from study.journal.process import this_process
from study.journal.replay import replay_attempt
from study.paths import AttemptPaths, HomePaths
from study.plan.site import Mode, Slurm
from tests.fakes.worker_files import start, take


def main(folder: Path, mode: Mode, num: int, turns: int) -> None:
    study = HomePaths(folder / "home").study("tiny")
    study.root.mkdir(parents=True)
    numbers = itertools.count(7)  # submissions have tests of their own, and take long beside what is counted here
    launcher.submit_worker = lambda *_: str(next(numbers))
    jobs.submit_attempts = lambda _folder, attempts, *_: [str(next(numbers)) for _ in attempts]
    settings = SlurmSettings(study, Slurm(mode=mode, poll_s=1000), num, folder / "code")
    executor = WorkerExecutor(settings) if mode is Mode.WORKERS else JobExecutor(settings)
    executor._ask = lambda **_: None  # type: ignore[method-assign]  # SLURM has its own tests
    attempts = [_submit(executor, study.run(f"r{i}").attempt(1)) for i in range(num)]
    while executor._backlog:
        executor.poll()
    for job_id in list(executor._alive_once):
        executor._watch._records[job_id] = JobRecord(job_id, JobState.RUNNING, "RUNNING", node="node1")
    for number, worker in enumerate(study.existing_workers(), start=1):
        if mode is Mode.WORKERS:
            start(worker)
            write_json(worker.beat, {"t": 1.0})
            take(worker, number)
    for attempt in attempts:
        create_once(attempt.claim, {**this_process(), "host": "node1"})
    states = [replay_attempt(attempt) for attempt in attempts]
    assert all(map(executor.is_alive, states))
    clock = _Clock()
    _settle(executor, clock)
    (folder / "begin").exists()
    for _ in range(turns):
        clock.now += 0.2
        executor.poll()
        assert all(executor.is_alive(state) for state in states)
        assert not any(executor.is_paused(state) for state in states)
    (folder / "end").exists()


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _settle(executor: WorkerExecutor | JobExecutor, clock: _Clock) -> None:
    """Go on until all that has happened is known, by a clock that makes runs of this program alike."""
    if isinstance(executor, WorkerExecutor):
        for pool in executor._roster.pools.values():
            for folder in (pool._taken, pool._ended, pool._said):
                folder._clock = clock
                folder._next_open = 0.0
                folder._again = []
    for _ in range(400):
        clock.now += 0.2
        executor.poll()


def _submit(executor: WorkerExecutor | JobExecutor, attempt: AttemptPaths) -> AttemptPaths:
    attempt.root.mkdir(parents=True)
    job = {"run_id": attempt.run.root.name, "attempt": 1, "phase": "tune", "study": "tiny", "job": None}
    write_json(attempt.job, job)
    write_json(attempt.job, {**read_json(attempt.job), "job": executor.submit(attempt)})
    return attempt


if __name__ == "__main__":
    main(Path(sys.argv[1]), Mode(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
