"""What the executor makes of refusals and of orders, with programs that say what a test wants in SLURM's place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from study.execution.slurm import base
from study.execution.slurm.base import SlurmSettings
from study.execution.slurm.workers import WorkerExecutor
from study.journal.endings import EndKind
from study.journal.files import create_once, read_json, write_json
from study.journal.process import this_process
from study.journal.replay import AttemptStatus, replay_attempt
from study.paths import AttemptPaths, HomePaths, WorkerPaths
from study.plan.site import Slurm
from study.worker.allocation import Leaving
from tests.fakes.slurm_commands import SlurmCommands


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmCommands:
    folder = tmp_path / "bin"
    folder.mkdir()
    commands = SlurmCommands(folder, monkeypatch)
    commands.says("srun")
    commands.says("scancel")
    commands.says("sbatch", "Submitted batch job 7")
    monkeypatch.setattr(base, "_PAUSES_S", (0.0, 0.0, 0.0))
    return commands


@pytest.fixture
def home(tmp_path: Path) -> HomePaths:
    home = HomePaths(tmp_path / "home")
    home.study("tiny").root.mkdir(parents=True)
    return home


@pytest.fixture
def new_executor(slurm: SlurmCommands, home: HomePaths, tmp_path: Path) -> Callable[..., WorkerExecutor]:
    def make(slots: int = 1) -> WorkerExecutor:
        return WorkerExecutor(SlurmSettings(home.study("tiny"), Slurm(poll_s=0.0), slots, tmp_path / "code"))

    return make


@pytest.fixture
def submit(home: HomePaths) -> Callable[[WorkerExecutor, str], AttemptPaths]:
    def make(executor: WorkerExecutor, name: str) -> AttemptPaths:
        run = home.study("tiny").run(name)
        attempt = run.attempt(len(run.existing_attempts()) + 1)
        attempt.root.mkdir(parents=True)
        job = {"run_id": name, "attempt": attempt.number, "phase": "tune", "job": None}
        write_json(attempt.job, job)
        write_json(attempt.job, {**job, "job": executor.submit(attempt)})
        return attempt

    return make


def start(worker: WorkerPaths) -> None:
    create_once(worker.started, {"node": "node1"})


def assigned(worker: WorkerPaths) -> list[str]:
    orders = sorted((worker.root / "assigned").iterdir())
    return [AttemptPaths(Path(read_json(order)["attempt"])).run.root.name for order in orders]


@pytest.mark.parametrize(
    "message",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: QOSMaxSubmitJobPerUserLimit",
        "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit)",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
    ],
)
def test_a_refusal_that_passes_is_waited_for(slurm, home, new_executor, submit, message: str) -> None:
    executor = new_executor()
    attempt = submit(executor, "a")
    slurm.fails("sbatch", message)
    news = [line for _ in range(10) for line in executor.poll()]
    assert message in news[0] and "trying again" in news[0]
    assert executor.is_alive(replay_attempt(attempt))
    slurm.says("sbatch", "Submitted batch job 7")
    executor.poll()
    (worker,) = [w for w in home.study("tiny").existing_workers() if read_json(w.job)["job_id"] == "7"]
    start(worker)
    executor.poll()
    assert assigned(worker) == ["a"]


def test_any_other_refusal_ends_what_waits(slurm, new_executor, submit) -> None:
    executor = new_executor()
    attempt = submit(executor, "a")
    slurm.fails("sbatch", "sbatch: error: Batch job submission failed: Invalid qos specification")
    for _ in range(3):
        assert executor.is_alive(replay_attempt(attempt))
        executor.poll()
    state = replay_attempt(attempt)
    assert not executor.is_alive(state)
    ending = executor.ending(state)
    assert ending.kind is EndKind.LAUNCH_FAILED and "Invalid qos specification" in ending.message


def test_one_order_ahead_is_given_to_another_that_idles(slurm, home, new_executor, submit) -> None:
    executor = new_executor(slots=2)
    attempts = [submit(executor, name) for name in "abc"]
    executor.poll()
    first, second = home.study("tiny").existing_workers()
    start(first)
    executor.poll()
    assert executor.capacity == 3, "two slots, and one ahead"
    assert assigned(first) == ["a", "b"], "the other worker waits in SLURM's queue"
    assert executor.is_alive(replay_attempt(attempts[2])), "waits here"
    start(second)
    executor.poll()
    assert assigned(second) == ["c"]
    write_json(first.taken(1), {})
    write_json(second.taken(1), {})
    write_json(second.ended(1), {"exit_code": 0})
    executor.poll()
    state = replay_attempt(attempts[1])
    assert state.status is AttemptStatus.REVOKED, "its run is submitted anew"
    executor.poll()
    again = submit(executor, "b")
    executor.poll()
    assert again.number == 2 and assigned(second) == ["c", "b"]


def test_what_a_worker_leaves_behind_is_given_back(slurm, home, new_executor, submit) -> None:
    executor = new_executor()
    attempts = [submit(executor, name) for name in "ab"]
    executor.poll()
    (worker,) = home.study("tiny").existing_workers()
    start(worker)
    executor.poll()
    create_once(attempts[0].claim, this_process())
    write_json(worker.taken(1), {})
    write_json(worker.left, {"reason": Leaving.LITTLE_TIME})
    executor.poll()
    running, waiting = map(replay_attempt, attempts)
    assert executor.is_alive(running) and not executor.is_alive(waiting)
    assert executor.ending(waiting).kind is EndKind.NOT_STARTED
    submit(executor, "b")
    executor.poll()
    assert len(home.study("tiny").existing_workers()) == 2, "a new worker in its place"


def test_a_successor_adopts_workers_and_orders(slurm, home, new_executor, submit) -> None:
    first = new_executor()
    attempts = [submit(first, name) for name in "ab"]
    first.poll()
    (worker,) = home.study("tiny").existing_workers()
    start(worker)
    first.poll()
    successor = new_executor()
    assert all(successor.is_alive(replay_attempt(attempt)) for attempt in attempts)
    submit(successor, "c")
    successor.poll()
    assert home.study("tiny").existing_workers() == [worker]
    write_json(worker.taken(1), {})
    write_json(worker.ended(1), {"exit_code": -11})
    successor.poll()
    assert assigned(worker) == ["a", "b", "c"]
    state = replay_attempt(attempts[0])
    assert not successor.is_alive(state)
    create_once(attempts[0].claim, this_process())
    ending = successor.ending(replay_attempt(attempts[0]))
    assert (ending.kind, ending.node) == (EndKind.LOST, "node1") and "signal 11" in ending.message
