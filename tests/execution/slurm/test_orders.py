"""Orders wait in lines: who takes them, who gives them back, and what becomes of them when nobody is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from study.execution.slurm import kills
from study.execution.slurm.base import SlurmSettings
from study.execution.slurm.workers import WorkerExecutor
from study.journal.endings import EndKind
from study.journal.files import create_once, read_json, write_json
from study.journal.process import this_process
from study.journal.replay import replay_attempt
from study.paths import AttemptPaths, HomePaths, WorkerPaths
from study.plan.site import Resources, Slurm
from study.worker.allocation import Leaving
from tests.fakes.tiny_study import wait_for
from tests.fakes.worker_files import assigned, end, leave, line_of, only_worker, start, take

_LOST_NODE = "JobId=8 JobState=NODE_FAIL NodeList=node2 Reason=None ExitCode=0:0"


@pytest.fixture
def other(home: HomePaths, slurm, tmp_path: Path) -> WorkerExecutor:
    """Of another study of the home, which waits for a base that the first one trains."""
    home.study("other").root.mkdir()
    return WorkerExecutor(SlurmSettings(home.study("other"), Slurm(poll_s=0.0), 1, tmp_path / "code"))


def half_started(
    executor: WorkerExecutor, submit: Callable[[WorkerExecutor, str], AttemptPaths], home: HomePaths
) -> tuple[AttemptPaths, AttemptPaths, WorkerPaths, WorkerPaths]:
    """Two attempts: one worker executes the first, the other worker waits in SLURM's queue."""
    first, second = submit(executor, "a"), submit(executor, "b")
    executor.poll()
    busy, pending = home.study("tiny").existing_workers()
    start(busy)
    executor.poll()
    take(busy, 1)
    return first, second, busy, pending


def test_one_order_ahead_for_each_worker_that_takes_them(slurm, home, new_executor, submit) -> None:
    executor = new_executor(slots=2)
    attempts = [submit(executor, name) for name in "abcde"]
    executor.poll()
    executor.poll()
    first, second = home.study("tiny").existing_workers()
    executor.poll()
    assert assigned(first) == ["a", "b"], "what they will find when SLURM starts them, even if nobody orchestrates then"
    start(first)
    executor.poll()
    assert executor.capacity == 3, "two slots, and one ahead"
    assert assigned(first) == ["a", "b", "c"]
    assert executor.is_alive(replay_attempt(attempts[3])), "waits here"
    start(second)
    executor.poll()
    assert assigned(first) == assigned(second) == ["a", "b", "c", "d"], "one line for both"
    take(second, 1)
    end(second, 1)
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
    leave(first, Leaving.LITTLE_TIME)
    executor.poll()
    assert all(executor.is_alive(replay_attempt(attempt)) for attempt in attempts)
    assert len(home.study("tiny").existing_workers()) == 3, "a new worker, because three wait or run beside the second"
    third = home.study("tiny").existing_workers()[-1]
    assert read_json(third.job)["allotment"]["first_order"] == 3
    assert line_of(third) == line_of(second)


def test_what_nobody_is_left_to_take_is_given_back(slurm, home, new_executor, submit) -> None:
    executor = new_executor()
    attempts = [submit(executor, name) for name in "ab"]
    worker = only_worker(executor, home.study("tiny"))
    create_once(attempts[0].claim, this_process())
    take(worker, 1)
    leave(worker, Leaving.LITTLE_TIME)
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
    worker = only_worker(executor, home.study("tiny"))
    take(worker, 1)
    executor.poll()
    for attempt in attempts:
        assert executor.stop(attempt, replay_attempt(attempt))
    assert [attempt.run.stop.exists() for attempt in attempts] == [True, False]
    assert executor.is_alive(replay_attempt(attempts[0])) and not executor.is_alive(replay_attempt(attempts[1]))


def test_a_worker_that_does_not_kill_a_hung_run_is_cancelled(slurm, home, new_executor, submit, monkeypatch) -> None:
    executor = new_executor()
    attempt = submit(executor, "a")
    worker = only_worker(executor, home.study("tiny"))
    take(worker, 1)
    executor.kill(replay_attempt(attempt))
    assert line_of(worker).kill(1).exists()
    monkeypatch.setattr(kills, "_OBEYS_WITHIN_S", 0.0)
    executor.poll()
    state = replay_attempt(attempt)
    assert not executor.is_alive(state) and "7" in slurm.calls("scancel")
    assert executor.ending(state).kind is EndKind.NODE_LOST


def test_an_order_of_another_study_lives_as_long_as_somebody_may_take_it(home, new_executor, submit, other) -> None:
    """Studies of a home share bases: one waits for what another's worker trains."""
    attempt = submit(first := new_executor(), "a")
    worker = only_worker(first, home.study("tiny"))
    assert other.is_alive(replay_attempt(attempt))
    other.kill(replay_attempt(attempt))
    other.poll()
    assert not line_of(worker).taken(1).exists() and not line_of(worker).kill(1).exists(), "it is not its own"
    leave(worker, Leaving.IDLE)
    other.poll()
    assert not other.is_alive(replay_attempt(attempt))
    take(worker, 1)
    other.poll()
    assert other.is_alive(replay_attempt(attempt))
    end(worker, 1, 3)
    other.poll()
    state = replay_attempt(attempt)
    assert not other.is_alive(state) and "code 3" in other.ending(state).message


def test_a_successor_adopts_workers_and_orders(slurm, home, new_executor, submit) -> None:
    first = new_executor()
    attempts = [submit(first, name) for name in "ab"]
    worker = only_worker(first, home.study("tiny"))
    successor = new_executor()
    assert all(successor.is_alive(replay_attempt(attempt)) for attempt in attempts)
    submit(successor, "c")
    successor.poll()
    assert home.study("tiny").existing_workers() == [worker]
    take(worker, 1)
    end(worker, 1, -11)
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
    worker = only_worker(first, home.study("tiny"))
    leave(worker, Leaving.STOP)
    successor = new_executor(setup=("module load cuda",))
    successor.poll()
    state = replay_attempt(attempt)
    assert not successor.is_alive(state) and successor.ending(state).kind is EndKind.NOT_STARTED


def test_a_worker_of_another_study_is_not_believed_in_for_ever(slurm, home, new_executor, submit, other) -> None:
    """Its orchestrator was killed within sbatch."""
    _, base, busy, unheard = half_started(new_executor(slots=2), submit, home)
    job = read_json(unheard.job)
    write_json(unheard.job, {**job, "job_id": None})
    leave(busy, Leaving.LITTLE_TIME)
    other.poll()
    assert other.is_alive(replay_attempt(base)), "it may just be submitted"
    write_json(unheard.job, {**job, "job_id": None, "intent_t": 0.0})
    other.poll()
    assert not other.is_alive(replay_attempt(base))


def test_a_worker_of_another_study_met_before_its_acknowledgement_is_followed(
    slurm, home, new_executor, submit, other
) -> None:
    _, base, _, late = half_started(new_executor(slots=2), submit, home)
    job = read_json(late.job)
    write_json(late.job, {**job, "job_id": None})
    assert other.is_alive(replay_attempt(base))
    write_json(late.job, job)
    start(late)
    take(late, 2)
    create_once(base.claim, {**this_process(), "host": "node2"})
    slurm.queue("8|NODE_FAIL|node2|None")
    slurm.memory(_LOST_NODE)
    other.poll()
    wait_for(lambda: other.poll() is not None and not other.is_alive(replay_attempt(base)), "the loss", 60)
    assert other.ending(replay_attempt(base)).kind is EndKind.NODE_LOST


def test_a_claim_speaks_for_an_order_that_is_not_yet_seen_to_be_taken(home, new_executor, submit, other) -> None:
    """Network file systems remember for a minute that a file did not exist."""
    attempt = submit(first := new_executor(), "a")
    worker = only_worker(first, home.study("tiny"))
    assert other.is_alive(replay_attempt(attempt))
    create_once(attempt.claim, {**this_process(), "host": "node1"})
    leave(worker, Leaving.LITTLE_TIME)
    other.poll()
    assert other.is_alive(replay_attempt(attempt))


def test_orders_do_not_wait_for_workers_of_an_older_site_file_that_slurm_does_not_start(
    slurm, home, new_executor, submit
) -> None:
    *attempts, busy, _ = half_started(new_executor(slots=2), submit, home)
    end(busy, 1)
    leave(busy, Leaving.STOP)
    successor = new_executor(setup=("module load cuda",))
    successor.poll()
    waiting = replay_attempt(attempts[1])
    assert not successor.is_alive(waiting) and successor.ending(waiting).kind is EndKind.NOT_STARTED
    submit(successor, "b")
    successor.poll()
    assert "8" in slurm.calls("scancel"), "it makes room"
    successor.poll()
    start(home.study("tiny").existing_workers()[-1])
    successor.poll()
    assert assigned(home.study("tiny").existing_workers()[-1]) == ["b"]


def test_workers_that_end_at_once_are_not_replaced_for_ever(slurm, home, new_executor, submit) -> None:
    """What waits is left to the worker that there is."""
    *attempts, _, _ = half_started(executor := new_executor(slots=2), submit, home)
    slurm.accounting("7|RUNNING|0:0|node1", *[f"{number}|FAILED|1:0|node2" for number in range(8, 50)])
    wait_for(lambda: executor.poll() is not None and len(slurm.calls("sbatch")) == 4, "three failures", 60)
    until = time.monotonic() + 2
    wait_for(lambda: executor.poll() is not None and time.monotonic() > until, "another one", 10)
    assert len(slurm.calls("sbatch")) == 4
    assert all(executor.is_alive(replay_attempt(attempt)) for attempt in attempts)


def test_too_little_memory_to_load_is_told_at_once(slurm, home, new_executor, submit) -> None:
    executor = new_executor()
    attempts = [submit(executor, name) for name in "abc"]
    worker = only_worker(executor, home.study("tiny"))
    assert assigned(worker) == ["a", "b"]
    slurm.accounting("7|OUT_OF_MEMORY|0:125|node1")
    wait_for(lambda: executor.poll() is not None and not executor.is_alive(replay_attempt(attempts[0])), "its end", 60)
    for attempt in attempts:
        state = replay_attempt(attempt)
        assert not executor.is_alive(state) and executor.ending(state).kind is EndKind.HOST_MEMORY
    executor.poll()
    assert home.study("tiny").existing_workers() == [worker], "no other is tried"


def test_other_phases_go_on_when_the_workers_of_one_cannot_load(slurm, home, new_executor, submit) -> None:
    executor = new_executor(slots=2, phases={"confirm": Resources(memory_gb=64)})
    small = submit(executor, "a")
    worker = only_worker(executor, home.study("tiny"))
    big = home.study("tiny").run("big").attempt(1)
    big.root.mkdir(parents=True)
    write_json(big.job, {"run_id": "big", "attempt": 1, "phase": "confirm", "study": "tiny", "job": {}})
    executor.submit(big)
    slurm.accounting("7|OUT_OF_MEMORY|0:125|node1")
    wait_for(lambda: executor.poll() is not None and not executor.is_alive(replay_attempt(small)), "its end", 60)
    assert executor.ending(replay_attempt(small)).kind is EndKind.HOST_MEMORY
    assert executor.is_alive(replay_attempt(big))
    start(home.study("tiny").existing_workers()[-1])
    executor.poll()
    assert assigned(home.study("tiny").existing_workers()[-1]) == ["big"] and assigned(worker) == ["a"]


def test_a_warning_explains_the_end_that_it_causes(home, new_executor, submit) -> None:
    """Also when both were written after the last poll."""
    attempt = submit(executor := new_executor(), "a")
    worker = only_worker(executor, home.study("tiny"))
    take(worker, 1)
    create_once(attempt.claim, this_process())
    executor.poll()
    leave(worker, Leaving.WARNED)
    end(worker, 1, -15)
    executor.poll()
    state = replay_attempt(attempt)
    assert not executor.is_alive(state) and executor.ending(state).kind is EndKind.PREEMPTED


def test_orders_of_an_orchestrator_that_lost_its_lease_are_entered(home, new_executor, submit) -> None:
    submit(first := new_executor(), "a")
    worker = only_worker(first, home.study("tiny"))
    take(worker, 1)
    successor = new_executor()
    mine = submit(first, "x")
    first.poll()
    theirs = submit(successor, "y")
    successor.poll()
    assert assigned(worker) == ["a", "x", "y"]
    leave(worker, Leaving.LITTLE_TIME)
    successor.poll()
    assert not create_once(line_of(worker).taken(2), {"worker": "w0002"}), "nobody will take it"
    for attempt in (mine, theirs):
        assert successor.ending(replay_attempt(attempt)).kind is EndKind.NOT_STARTED
