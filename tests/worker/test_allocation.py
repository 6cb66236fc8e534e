"""Workers execute the orders of their line, one after another, and leave when there is a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from study.journal.files import read_json, write_json
from study.journal.replay import AttemptStatus, replay_attempt
from study.paths import AttemptPaths, RunPaths, WorkerPaths
from study.worker.allocation import Leaving, gpu_of
from tests.fakes.mounts import fill, mounted
from tests.fakes.tiny_study import is_running, wait_for

_ROOT = Path(__file__).parents[2]


class Worker:
    """A worker process and the orchestrator's side of the line that it takes orders from."""

    def __init__(self, folder: Path, name: str, **allotment: object) -> None:
        self.folder, self.paths = folder, WorkerPaths(folder / name)
        self.paths.root.mkdir()
        self.line = self.paths.pool("alike")
        self.line.make_folders()
        settings = {"preload": None, "entry": "tests.fakes.brief_run", **allotment}
        write_json(self.paths.job, {"allotment": settings, "pool": "alike", "over": None})
        self._number = 0
        self.start()

    def start(self) -> None:
        code = f"from study.worker.allocation import serve; print(serve({str(self.paths.root)!r}))"
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
        )

    def assign(self, behaviour: str = "sleep 0") -> AttemptPaths:
        self._number += 1
        attempt = RunPaths(self.folder / f"run{self._number}").attempt(1)
        attempt.root.mkdir(parents=True)
        (attempt.run.root / "behaviour").write_text(behaviour)
        write_json(attempt.job, {})
        write_json(self.line.assigned(self._number), {"attempt": str(attempt.root)})
        return attempt

    def wait_for_end_of(self, number: int) -> dict[str, object]:
        wait_for(self.line.ended(number).exists, f"the end of {number}", 20)
        return read_json(self.line.ended(number))

    def leave(self) -> str:
        """Wait until it leaves; returns why."""
        output, _ = self.process.communicate(timeout=20)
        assert self.process.returncode == 0
        assert read_json(self.paths.left)["reason"] == output.strip()
        return output.strip()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    made: list[Worker] = []

    def make(**allotment: object) -> Worker:
        made.append(Worker(tmp_path, f"w{len(made) + 1:04d}", **allotment))
        return made[-1]

    yield make
    for one in made:
        one.process.kill()
        one.process.communicate()


def status(attempt: AttemptPaths) -> AttemptStatus:
    return replay_attempt(attempt).status


def test_orders_are_executed_in_their_order_and_a_stopped_worker_finishes_what_runs(worker) -> None:
    one = worker()
    attempts = [one.assign() for _ in range(3)]
    for number in (1, 2, 3):
        assert one.wait_for_end_of(number)["exit_code"] == 0
    running, waiting = one.assign("sleep 1"), one.assign()
    wait_for(running.claim.exists, "the fourth")
    one.paths.stop.touch()
    assert one.leave() == Leaving.STOP
    assert [status(attempt) for attempt in (*attempts, running)] == [AttemptStatus.FINISHED] * 4
    assert status(waiting) is AttemptStatus.INTENDED and not one.line.taken(5).exists()
    pids = {read_json(attempt.claim)["pid"] for attempt in (*attempts, running)}
    assert len(pids) == 4 and read_json(one.paths.started)["pid"] not in pids, "a process for each"


def test_a_killed_or_broken_process_is_reported_and_harms_nobody(worker) -> None:
    one = worker()
    killed, broken, fine = one.assign("kill"), one.assign("exit 5"), one.assign()
    ending = one.wait_for_end_of(1)
    assert (ending["exit_code"], ending["is_oom"]) == (-signal.SIGKILL, False)
    assert one.wait_for_end_of(2)["exit_code"] == 5
    assert one.wait_for_end_of(3)["exit_code"] == 0
    assert [status(a) for a in (killed, broken, fine)] == [AttemptStatus.STARTED] * 2 + [AttemptStatus.FINISHED]
    assert broken.stdout.read_text() == "something broke\n", "every attempt has logs of its own"


def test_a_full_disk_is_waited_out_and_nothing_remains_unsaid(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "size=2m") as is_mounted:
        if not is_mounted:
            pytest.skip("only root may mount file systems")
        one = Worker(disk, "w0001")
        try:
            ends, waits = one.assign("sleep 1"), one.assign()
            wait_for(ends.claim.exists, "the first")
            pid = read_json(ends.claim)["pid"]
            filler = fill(disk)
            wait_for(lambda: not is_running(pid), "its end")
            wait_for(lambda: not psutil.Process(one.process.pid).children(), "its burial")
            assert not one.line.ended(1).exists() and one.process.poll() is None
            filler.unlink()
            assert one.wait_for_end_of(1)["exit_code"] == 1
            assert one.wait_for_end_of(2)["exit_code"] == 0 and status(waits) is AttemptStatus.FINISHED
        finally:
            one.process.kill()
            one.process.communicate()


def test_its_own_news_leave_a_sign_for_the_orchestrator(worker) -> None:
    one = worker(idle_s=0.1)
    assert one.leave() == Leaving.IDLE
    assert {file.name for file in one.line.said.iterdir()} == {"w0001-started", "w0001-left"}


def test_several_attempts_side_by_side(worker) -> None:
    one = worker(runs_at_once=2)
    attempts = [one.assign("sleep 30") for _ in range(3)]
    wait_for(lambda: all(a.claim.exists() for a in attempts[:2]), "two attempts")
    assert not attempts[2].claim.exists()
    one.line.kill(1).touch()
    assert one.wait_for_end_of(1)["exit_code"] == -signal.SIGKILL
    wait_for(attempts[2].claim.exists, "the third in the place of the first")


def test_whichever_worker_is_free_first_takes_the_next_order(worker) -> None:
    one, other = worker(), worker()
    for behaviour in ("sleep 3", *["sleep 0"] * 20):
        one.assign(behaviour)
    for number in range(1, 22):
        assert one.wait_for_end_of(number)["exit_code"] == 0
    takers = [read_json(one.line.taken(number))["worker"] for number in range(1, 22)]
    (other_one,) = {one.paths.root.name, other.paths.root.name} - {takers[0]}
    assert takers.count(other_one) >= 15, "the others do not wait for the long one"


def test_a_race_for_orders_has_one_winner_each(worker) -> None:
    """A process refuses an attempt that another one has claimed, and says so by its exit code."""
    many = [worker(runs_at_once=2) for _ in range(3)]
    attempts = [many[0].assign() for _ in range(40)]
    for number in range(1, 41):
        assert many[0].wait_for_end_of(number)["exit_code"] == 0
    assert {status(attempt) for attempt in attempts} == {AttemptStatus.FINISHED}
    takers = [read_json(many[0].line.taken(number))["worker"] for number in range(1, 41)]
    assert set(takers) <= {one.paths.root.name for one in many}


def test_what_was_taken_back_is_left_alone_and_a_later_worker_begins_where_the_line_does(worker) -> None:
    one = worker(first_order=2)
    write_json(one.line.taken(2), {"worker": None})
    earlier, taken_back, fine = (one.assign() for _ in range(3))
    assert one.wait_for_end_of(3)["exit_code"] == 0
    assert [status(a) for a in (earlier, taken_back)] == [AttemptStatus.INTENDED] * 2
    assert status(fine) is AttemptStatus.FINISHED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_warning_reaches_what_runs_and_nothing_is_taken_any_more(worker, number: signal.Signals) -> None:
    one = worker()
    running, waiting = one.assign("sleep 30"), one.assign()
    wait_for(running.claim.exists, "a process")
    one.process.send_signal(number)
    assert one.leave() == Leaving.WARNED
    assert read_json(one.paths.left)["signal"] == number.name
    assert status(running) is AttemptStatus.STOPPED and one.line.ended(1).exists()
    assert status(waiting) is AttemptStatus.INTENDED


def test_it_saves_before_its_time_is_up(worker) -> None:
    """Also when no warning comes."""
    one = worker(time_limit_s=4, warning_s=4)
    running = one.assign("sleep 30")
    assert one.leave() == Leaving.OUT_OF_TIME
    assert status(running) is AttemptStatus.STOPPED


def test_a_warning_near_the_end_is_about_time(worker) -> None:
    one = worker(time_limit_s=100, warning_s=50)
    running = one.assign("sleep 30")
    wait_for(running.claim.exists, "a process")
    one.process.send_signal(signal.SIGUSR2)
    assert one.leave() == Leaving.OUT_OF_TIME


def test_nothing_is_begun_that_would_not_end_in_time(worker) -> None:
    one = worker(time_limit_s=12, warning_s=10)
    first, second = one.assign("sleep 1.2"), one.assign()
    assert one.leave() == Leaving.LITTLE_TIME
    assert (status(first), status(second)) == (AttemptStatus.FINISHED, AttemptStatus.INTENDED)


def test_a_worker_that_was_given_up_takes_nothing_more_and_finishes_what_runs(worker) -> None:
    """SLURM lost its node, but it still reaches the shared file system: what it took would be lost again."""
    one = worker()
    running = one.assign("sleep 1")
    wait_for(running.claim.exists, "a process")
    write_json(one.paths.job, {**read_json(one.paths.job), "over": {"state": "node lost"}})
    waiting = one.assign()
    assert one.leave() == Leaving.GIVEN_UP
    assert (status(running), status(waiting)) == (AttemptStatus.FINISHED, AttemptStatus.INTENDED)
    assert not one.line.taken(2).exists()


def test_an_idle_worker_leaves(worker) -> None:
    one = worker(idle_s=0.5)
    assert one.assign("sleep 1") and one.wait_for_end_of(1)
    assert one.leave() == Leaving.IDLE


def test_a_worker_that_is_started_again_leaves_and_reports_what_is_lost(worker) -> None:
    one = worker()
    lost = one.assign("sleep 30")
    wait_for(lost.claim.exists, "a process")
    one.process.kill()
    one.process.communicate()
    os.kill(read_json(lost.claim)["pid"], signal.SIGKILL)
    one.start()
    assert one.leave() == Leaving.RESTARTED
    assert read_json(one.line.ended(1))["exit_code"] is None


def test_accelerators_are_shared_out() -> None:
    def shares(visible: str, runs: int) -> list[str | None]:
        return [gpu_of(slot, runs, {"CUDA_VISIBLE_DEVICES": visible}) for slot in range(runs)]

    assert shares("0,1,2,3", 1) == [None]
    assert shares("0,1,2,3", 2) == ["0,1", "2,3"]
    assert shares("4,5", 4) == ["4", "5", "4", "5"]
    assert shares("7", 2) == ["7", "7"]
    assert shares("", 2) == [None, None]
