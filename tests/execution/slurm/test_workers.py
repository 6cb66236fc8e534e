"""What the executor makes of refusals and of orders, with programs that say what a test wants in SLURM's place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from study.execution.slurm import base, workers
from study.execution.slurm.base import SlurmSettings
from study.execution.slurm.state import JobState
from study.execution.slurm.workers import WorkerExecutor
from study.journal.endings import EndKind
from study.journal.files import create_once, read_json, write_json
from study.journal.process import this_process
from study.journal.replay import replay_attempt
from study.paths import AttemptPaths, HomePaths, PoolPaths, WorkerPaths
from study.plan.site import Slurm
from study.worker.allocation import Leaving
from tests.fakes.slurm_commands import SlurmCommands
from tests.fakes.tiny_study import wait_for


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
    def make(slots: int = 1, **site: object) -> WorkerExecutor:
        return WorkerExecutor(SlurmSettings(home.study("tiny"), Slurm(poll_s=0.0, **site), slots, tmp_path / "code"))

    return make


@pytest.fixture
def submit(home: HomePaths) -> Callable[[WorkerExecutor, str], AttemptPaths]:
    def make(executor: WorkerExecutor, name: str) -> AttemptPaths:
        run = home.study("tiny").run(name)
        attempt = run.attempt(len(run.existing_attempts()) + 1)
        attempt.root.mkdir(parents=True)
        job = {"run_id": name, "attempt": attempt.number, "phase": "tune", "study": "tiny", "job": None}
        write_json(attempt.job, job)
        write_json(attempt.job, {**job, "job": executor.submit(attempt)})
        return attempt

    return make


def start(worker: WorkerPaths) -> None:
    create_once(worker.started, {"node": "node1"})


def line_of(worker: WorkerPaths) -> PoolPaths:
    return worker.pool(read_json(worker.job)["pool"])


def take(worker: WorkerPaths, number: int) -> None:
    assert create_once(line_of(worker).taken(number), {"worker": worker.root.name})


def assigned(worker: WorkerPaths) -> list[str]:
    orders = sorted((line_of(worker).root / "assigned").iterdir())
    return [AttemptPaths(Path(read_json(order)["attempt"])).run.root.name for order in orders]


@pytest.mark.parametrize(
    "message",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: QOSMaxSubmitJobPerUserLimit",
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


def test_a_limit_is_waited_for_while_jobs_of_the_study_are_there(slurm, new_executor, submit) -> None:
    """SLURM names the limit on submissions together with limits that do not pass."""
    executor = new_executor(slots=2)
    attempts = [submit(executor, name) for name in "ab"]
    executor.poll()
    slurm.fails(
        "sbatch", "sbatch: error: Job violates accounting/QOS policy (job submit limit, user's size and/or ...)"
    )
    for _ in range(10):
        executor.poll()
    assert all(executor.is_alive(replay_attempt(attempt)) for attempt in attempts)


@pytest.mark.parametrize("message", ["Invalid qos specification", "QOSMaxGRESPerJob", "QOSMaxWallDurationPerJobLimit"])
def test_any_other_refusal_ends_what_waits(slurm, new_executor, submit, message: str) -> None:
    executor = new_executor()
    attempt = submit(executor, "a")
    slurm.fails("sbatch", f"sbatch: error: Batch job submission failed: {message}")
    for _ in range(3):
        assert executor.is_alive(replay_attempt(attempt))
        executor.poll()
    state = replay_attempt(attempt)
    assert not executor.is_alive(state)
    ending = executor.ending(state)
    assert ending.kind is EndKind.LAUNCH_FAILED and message in ending.message


def test_pending_workers_of_an_older_site_file_make_room(slurm, home, new_executor, submit) -> None:
    """Else a request that SLURM can never fulfil would hold the place of the mended one."""
    submit(first := new_executor(), "a")
    first.poll()
    (old,) = home.study("tiny").existing_workers()
    successor = new_executor(setup=("module load cuda",))
    submit(successor, "b")
    successor.poll()
    assert "7" in slurm.calls("scancel") and read_json(old.job)["over"]["state"] == "cancelled"
    successor.poll()
    new = home.study("tiny").existing_workers()[-1]
    start(new)
    successor.poll()
    assert assigned(new) == ["b"]


def test_an_attempt_whose_order_was_not_written_is_given_back(slurm, home, new_executor, submit) -> None:
    """Its orchestrator was killed between the binding and the order; the next order has the same number."""
    first = new_executor()
    submit(first, "a")
    first.poll()
    (worker,) = home.study("tiny").existing_workers()
    start(worker)
    lost = submit(first, "b")
    write_json(lost.job, {**read_json(lost.job), "job": {"pool": str(line_of(worker).root), "number": 1}})
    successor = new_executor()
    assert not successor.is_alive(replay_attempt(lost))
    submit(successor, "c")
    successor.poll()
    assert assigned(worker) == ["c"]
    assert not successor.is_alive(replay_attempt(lost))
    assert successor.ending(replay_attempt(lost)).kind is EndKind.NOT_STARTED


def test_an_attempt_without_a_job_is_no_error(slurm, home, new_executor) -> None:
    """Its orchestrator was killed after it had made the folder."""
    attempt = home.study("tiny").run("a").attempt(1)
    attempt.root.mkdir(parents=True)
    executor = new_executor()
    assert not executor.is_alive(replay_attempt(attempt))
    assert executor.ending(replay_attempt(attempt)).kind is EndKind.NOT_STARTED


def test_a_worker_that_says_nothing_hangs_with_its_node(slurm, home, new_executor, submit, monkeypatch) -> None:
    executor = new_executor()
    attempt = submit(executor, "a")
    executor.poll()
    (worker,) = home.study("tiny").existing_workers()
    start(worker)
    slurm.queue("7|RUNNING|node1|None")
    wait_for(lambda: executor.poll() is not None and assigned(worker), "an order", 10)
    take(worker, 1)
    wait_for(lambda: executor.poll() is not None and executor._watch.state("7").state is JobState.RUNNING, "a poll", 10)
    assert executor.is_alive(replay_attempt(attempt))
    monkeypatch.setattr(workers, "_HUNG_S", 0.0)
    executor.poll()
    state = replay_attempt(attempt)
    assert not executor.is_alive(state) and "7" in slurm.calls("scancel")
    assert executor.ending(state).kind is EndKind.NODE_LOST, "not cancelled by the user"


def test_one_order_ahead_for_each_worker_that_takes_them(slurm, home, new_executor, submit) -> None:
    executor = new_executor(slots=2)
    attempts = [submit(executor, name) for name in "abcde"]
    executor.poll()
    executor.poll()
    first, second = home.study("tiny").existing_workers()
    start(first)
    executor.poll()
    assert executor.capacity == 3, "two slots, and one ahead"
    assert assigned(first) == ["a", "b"], "the other worker waits in SLURM's queue"
    assert executor.is_alive(replay_attempt(attempts[2])), "waits here"
    start(second)
    executor.poll()
    assert assigned(first) == assigned(second) == ["a", "b", "c", "d"], "one line for both"
    take(second, 1)
    write_json(line_of(second).ended(1), {"exit_code": 0})
    executor.poll()
    assert assigned(first) == ["a", "b", "c", "d", "e"]
    assert not executor.is_alive(replay_attempt(attempts[0]))
    assert all(executor.is_alive(replay_attempt(attempt)) for attempt in attempts[1:])


def test_what_a_worker_leaves_is_taken_by_another(slurm, home, new_executor, submit) -> None:
    executor = new_executor(slots=2)
    attempts = [submit(executor, name) for name in "abcd"]
    executor.poll()
    first, second = home.study("tiny").existing_workers()
    start(first)
    start(second)
    executor.poll()
    take(first, 1)
    take(second, 2)
    write_json(first.left, {"reason": Leaving.LITTLE_TIME})
    executor.poll()
    assert all(executor.is_alive(replay_attempt(attempt)) for attempt in attempts)
    assert len(home.study("tiny").existing_workers()) == 3, "a new worker, because three wait or run beside the second"
    third = home.study("tiny").existing_workers()[-1]
    assert read_json(third.job)["allotment"]["first_order"] == 3
    assert line_of(third) == line_of(second)


def test_what_nobody_is_left_to_take_is_given_back(slurm, home, new_executor, submit) -> None:
    executor = new_executor()
    attempts = [submit(executor, name) for name in "ab"]
    executor.poll()
    (worker,) = home.study("tiny").existing_workers()
    start(worker)
    executor.poll()
    create_once(attempts[0].claim, this_process())
    take(worker, 1)
    write_json(worker.left, {"reason": Leaving.LITTLE_TIME})
    executor.poll()
    running, waiting = map(replay_attempt, attempts)
    assert executor.is_alive(running) and not executor.is_alive(waiting)
    assert executor.ending(waiting).kind is EndKind.NOT_STARTED
    assert not create_once(line_of(worker).taken(2), {"worker": "w0002"}), "nobody will take it"
    submit(executor, "b")
    executor.poll()
    assert len(home.study("tiny").existing_workers()) == 2, "a new worker in its place"


def test_an_attempt_that_waits_is_stopped_without_starting(slurm, home, new_executor, submit) -> None:
    executor = new_executor()
    attempts = [submit(executor, name) for name in "ab"]
    executor.poll()
    (worker,) = home.study("tiny").existing_workers()
    start(worker)
    executor.poll()
    take(worker, 1)
    executor.poll()
    for attempt in attempts:
        assert executor.stop(attempt, replay_attempt(attempt))
    assert [attempt.run.stop.exists() for attempt in attempts] == [True, False]
    assert executor.is_alive(replay_attempt(attempts[0])) and not executor.is_alive(replay_attempt(attempts[1]))


def test_a_worker_that_does_not_kill_a_hung_run_is_cancelled(slurm, home, new_executor, submit, monkeypatch) -> None:
    executor = new_executor()
    attempt = submit(executor, "a")
    executor.poll()
    (worker,) = home.study("tiny").existing_workers()
    start(worker)
    executor.poll()
    take(worker, 1)
    executor.kill(replay_attempt(attempt))
    assert line_of(worker).kill(1).exists()
    monkeypatch.setattr(workers, "_OBEYS_WITHIN_S", 0.0)
    executor.poll()
    state = replay_attempt(attempt)
    assert not executor.is_alive(state) and "7" in slurm.calls("scancel")
    assert executor.ending(state).kind is EndKind.NODE_LOST


def test_an_order_of_another_study_lives_as_long_as_somebody_may_take_it(
    slurm, home, new_executor, submit, tmp_path
) -> None:
    """Studies of a home share bases: one waits for what another's worker trains."""
    attempt = submit(first := new_executor(), "a")
    first.poll()
    (worker,) = home.study("tiny").existing_workers()
    start(worker)
    first.poll()
    home.study("other").root.mkdir()
    other = WorkerExecutor(SlurmSettings(home.study("other"), Slurm(poll_s=0.0), 1, tmp_path / "code"))
    assert other.is_alive(replay_attempt(attempt))
    other.kill(replay_attempt(attempt))
    other.poll()
    assert not line_of(worker).taken(1).exists() and not line_of(worker).kill(1).exists(), "it is not its own"
    write_json(worker.left, {"reason": Leaving.IDLE})
    other.poll()
    assert not other.is_alive(replay_attempt(attempt))
    take(worker, 1)
    assert other.is_alive(replay_attempt(attempt))
    write_json(line_of(worker).ended(1), {"exit_code": 3})
    state = replay_attempt(attempt)
    assert not other.is_alive(state) and "code 3" in other.ending(state).message


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
    take(worker, 1)
    write_json(line_of(worker).ended(1), {"exit_code": -11})
    successor.poll()
    assert assigned(worker) == ["a", "b", "c"]
    state = replay_attempt(attempts[0])
    assert not successor.is_alive(state)
    create_once(attempts[0].claim, this_process())
    ending = successor.ending(replay_attempt(attempts[0]))
    assert (ending.kind, ending.node) == (EndKind.LOST, "node1") and "signal 11" in ending.message


def test_orders_whose_workers_are_gone_are_given_back_to_a_successor(slurm, home, new_executor, submit) -> None:
    """Not taken from the line by workers of another site file, code or phase."""
    attempt = submit(first := new_executor(), "a")
    first.poll()
    (worker,) = home.study("tiny").existing_workers()
    start(worker)
    first.poll()
    write_json(worker.left, {"reason": Leaving.STOP})
    successor = new_executor(setup=("module load cuda",))
    successor.poll()
    state = replay_attempt(attempt)
    assert not successor.is_alive(state) and successor.ending(state).kind is EndKind.NOT_STARTED
