"""What workers write, without workers."""

from __future__ import annotations

from pathlib import Path

from study.execution.slurm.workers import WorkerExecutor
from study.journal.files import create_once, read_json, write_json
from study.paths import AttemptPaths, PoolPaths, StudyPaths, WorkerPaths
from study.worker.allocation import Leaving


def only_worker(executor: WorkerExecutor, study: StudyPaths) -> WorkerPaths:
    """The study's one worker, once it has started and got its orders."""
    executor.poll()
    (worker,) = study.existing_workers()
    start(worker)
    executor.poll()
    return worker


def start(worker: WorkerPaths) -> None:
    create_once(worker.started, {"node": "node1"})


def line_of(worker: WorkerPaths) -> PoolPaths:
    return worker.pool(read_json(worker.job)["pool"])


def take(worker: WorkerPaths, number: int) -> None:
    assert create_once(line_of(worker).taken(number), {"worker": worker.root.name})


def assigned(worker: WorkerPaths) -> list[str]:
    orders = sorted((line_of(worker).root / "assigned").iterdir())
    return [AttemptPaths(Path(read_json(order)["attempt"])).run.root.name for order in orders]


def end(worker: WorkerPaths, number: int, exit_code: int = 0) -> None:
    write_json(line_of(worker).ended(number), {"exit_code": exit_code})


def leave(worker: WorkerPaths, reason: Leaving) -> None:
    write_json(worker.left, {"reason": reason})
