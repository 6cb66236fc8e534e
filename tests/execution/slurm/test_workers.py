"""What the executor makes of refusals and of orders, with programs that say what a test wants in SLURM's place."""

from __future__ import annotations

import errno

import pytest

from study.execution.slurm import submission, workers
from study.execution.slurm.records import JobState
from study.journal.endings import EndKind
from study.journal.files import read_json, write_json
from study.journal.replay import replay_attempt
from tests.fakes.tiny_study import wait_for
from tests.fakes.worker_files import assigned, line_of, start, take


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
    slurm.takes_jobs()
    executor.poll()
    (worker,) = [w for w in home.study("tiny").existing_workers() if read_json(w.job)["job_id"] is not None]
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
    wait_for(lambda: executor.poll() is not None and assigned(worker), "an order", 60)
    take(worker, 1)
    wait_for(lambda: executor.poll() is not None and executor._watch.state("7").state is JobState.RUNNING, "a poll", 60)
    assert executor.is_alive(replay_attempt(attempt))
    monkeypatch.setattr(workers, "_HUNG_S", 0.0)
    executor.poll()
    state = replay_attempt(attempt)
    assert not executor.is_alive(state) and "7" in slurm.calls("scancel")
    assert executor.ending(state).kind is EndKind.NODE_LOST, "not cancelled by the user"


def test_a_scheduler_whose_commands_have_gone_is_waited_for(slurm, new_executor, submit) -> None:
    """A module that was unloaded, a file system of programs that is away for a minute."""
    executor = new_executor()
    attempt = submit(executor, "a")
    slurm.is_missing("sbatch")
    slurm.is_missing("srun")
    news = [line for _ in range(5) for line in executor.poll()]
    assert len(news) == 1 and "trying again" in news[0]
    assert executor.is_alive(replay_attempt(attempt))


def test_a_full_disk_is_no_refusal_of_slurms(slurm, new_executor, submit, monkeypatch) -> None:
    executor = new_executor()
    submit(executor, "a")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(submission.submitit.SlurmExecutor, "submit", full)
    with pytest.raises(OSError, match="No space left") as caught:
        executor.poll()
    assert str(caught.value.filename).endswith("/w0001/log")
