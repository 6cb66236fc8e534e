"""Forked workers: fast to start, apart from their parents, with the threads and the logs that they should have."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study import registry
from study.execution.base import belongs_to_another, claimant_lives, intender_lives
from study.execution.local import LocalExecutor, num_cores, visible_gpus
from study.journal.endings import EndKind
from study.journal.files import create_once, read_json, write_json
from study.journal.process import this_process
from study.journal.replay import AttemptStatus, replay_attempt
from study.orchestration.policy import reason_to_give_up
from study.paths import AttemptPaths, HomePaths
from tests.fakes.mounts import fill, mounted
from tests.fakes.probes import describe_child
from tests.fakes.tiny_study import (
    Nowhere,
    events_of,
    is_running,
    pretraining,
    submit,
    wait_for,
    wait_for_end,
    wait_for_event,
)

_ROOT = Path(__file__).parents[2]
ENDLESS = pretraining(1000)


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(slots=2)
    yield executor
    executor.close()


@pytest.fixture
def home(tmp_path: Path) -> HomePaths:
    return HomePaths(tmp_path / "home")


def pid_of(attempt: AttemptPaths) -> int:
    return int(read_json(attempt.claim)["pid"])


@pytest.fixture(scope="module")
def child(executor: LocalExecutor, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What a child found when it began."""
    answer = tmp_path_factory.mktemp("child") / "answer.json"
    process = executor._context.Process(target=describe_child, args=(str(answer),))
    process.start()
    process.join(60)
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


class TestPreloading:
    def test_what_a_run_needs_is_there_before_it_begins(self, child: Mapping[str, Any]) -> None:
        """`multiprocessing` keeps quiet about a preload that fails."""
        components = {
            f"study.{family}.{name}"
            for family in ("augmentations", "backbones", "criteria", "datasets", "evaluations", "methods")
            for name in registry.names(family)
        }
        needed = {"torch", "study.training.loop", "study.worker.entry", "study.worker.train", "study.worker.preload"}
        assert (needed | components) <= set(child["modules"])
        assert child["import_torch_s"] < 0.1

    def test_control_plane_is_not(self, child: Mapping[str, Any]) -> None:
        assert not {"optuna", "mlflow", "matplotlib", "study.orchestration", "study.search"} & set(child["modules"])

    def test_cuda_is_untouched(self, child: Mapping[str, Any]) -> None:
        """CUDA refuses to be initialised in the fork of a process that has initialised it."""
        assert child["server"] != os.getpid() and child["is_cuda_initialised"] is False

    def test_the_server_imports_and_does_nothing_else(self) -> None:
        """A tensor operation could leave a thread pool behind, for whose threads a forked child would wait forever."""
        code = """
import torch
from torch.utils._python_dispatch import TorchDispatchMode

done = []

class Recorder(TorchDispatchMode):
    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        done.append(operation)
        return operation(*args, **(kwargs or {}))

for name in ("is_available", "device_count", "current_device", "_lazy_init"):
    setattr(torch.cuda, name, lambda *_, name=name: done.append(name))
with Recorder():
    import study.worker.preload
assert not done, done
"""
        subprocess.run([sys.executable, "-c", code], cwd=_ROOT, check=True)

    def test_a_worker_trains_soon(self, executor: LocalExecutor, home: HomePaths) -> None:
        attempt = submit(home, ENDLESS, executor)
        begin = read_json(attempt.job)["intent_t"]
        claimed = wait_for(lambda: attempt.claim.exists() and attempt.claim.stat().st_mtime, "a claim")
        attempt.run.stop.touch()
        wait_for_end(attempt)
        assert claimed - begin < 2.0, "importing everything takes longer"


class TestChild:
    @pytest.fixture
    def attempt(self, executor: LocalExecutor, home: HomePaths) -> Iterator[AttemptPaths]:
        attempt = submit(home, ENDLESS, executor)
        wait_for_event(attempt, "step")
        yield attempt
        if is_running(pid_of(attempt)):
            os.kill(pid_of(attempt), signal.SIGKILL)
            wait_for_end(attempt)

    def test_a_session_of_its_own_and_output_in_files(self, attempt: AttemptPaths) -> None:
        pid = pid_of(attempt)
        assert read_json(attempt.job)["job"] == {"pid": pid, "gpu": None}
        assert os.getsid(pid) == os.getpgid(pid) == pid
        for descriptor, file in ((1, attempt.stdout), (2, attempt.stderr)):
            assert Path(f"/proc/{pid}/fd/{descriptor}").readlink() == file

    def test_life_and_death(self, executor: LocalExecutor, attempt: AttemptPaths) -> None:
        state = replay_attempt(attempt)
        assert executor.is_alive(state) and claimant_lives(state) and not executor.has_ended(state)
        executor.stop(attempt, state)
        assert wait_for_end(attempt) == "stopped"
        assert events_of(attempt)[-1]["reason"] == "SIGTERM"
        assert not executor.is_alive(state) and not executor.is_alive(replay_attempt(attempt))
        wait_for(lambda: executor.has_ended(state), "the server to notice")
        executor.stop(attempt, state)  # is no error

    def test_ctrl_c_is_not_for_workers(self, attempt: AttemptPaths) -> None:
        assert os.getpgid(pid_of(attempt)) != os.getpgid(0)


def test_an_attempt_lives_from_the_moment_it_is_submitted(executor: LocalExecutor, home: HomePaths) -> None:
    """Until it has claimed its attempt, a process is known to its parent alone."""
    attempt = submit(home, pretraining(1000, seed=2), Nowhere())
    before = replay_attempt(attempt)
    assert not executor.is_alive(before)
    job = executor.submit(attempt)
    assert executor.is_alive(before), "also when the orchestrator was interrupted before writing job.json"
    wait_for_event(attempt, "started")
    os.kill(job["pid"], signal.SIGKILL)
    wait_for_end(attempt)
    wait_for(lambda: not executor.is_alive(before), "the server to notice")
    assert not executor.is_alive(replay_attempt(attempt))


def test_a_revoked_attempt_is_dead(executor: LocalExecutor, home: HomePaths) -> None:
    attempt = submit(home, ENDLESS, Nowhere())
    create_once(attempt.claim, {"revoked": True, **this_process()})
    assert not executor.is_alive(replay_attempt(attempt))


def test_threads_are_those_of_the_spec(executor: LocalExecutor, home: HomePaths) -> None:
    """Three threads also show that a parallel region works in a fork."""
    num_tasks = {}
    for num_threads in (1, 3):
        attempt = submit(home, pretraining(1000, **{"numerics.num_threads": num_threads}), executor)
        wait_for_event(attempt, "step")
        num_tasks[num_threads] = len(list(Path(f"/proc/{pid_of(attempt)}/task").iterdir()))
        os.kill(pid_of(attempt), signal.SIGKILL)
        wait_for_end(attempt)
    assert num_tasks[3] >= num_tasks[1] + 2


def test_slots_follow_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == [] and LocalExecutor().slots == num_cores() == len(os.sched_getaffinity(0))
    assert LocalExecutor(slots=5).slots == 5
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,GPU-abc,7")
    assert visible_gpus() == ["0", "GPU-abc", "7"] and LocalExecutor().slots == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == []


def test_every_run_gets_the_least_used_gpu(home: HomePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    executor = LocalExecutor()
    attempts = [submit(home, pretraining(1000, seed), executor) for seed in (1, 2, 3)]
    gpus = [read_json(attempt.job)["job"]["gpu"] for attempt in attempts]
    assert sorted(gpus[:2]) == ["0", "1"] and gpus[2] in ("0", "1")
    for attempt in attempts:
        attempt.run.stop.touch()
    for attempt in attempts:
        wait_for_end(attempt)
    executor.close()


@pytest.fixture
def orchestrate(tmp_path: Path) -> Iterator[Callable[[HomePaths, str], subprocess.Popen[str]]]:
    """Runs code in a process, the leader of a group, that has submitted an attempt at a long run."""
    started: list[subprocess.Popen[str]] = []

    def run(home: HomePaths, code: str) -> subprocess.Popen[str]:
        script = f"""
import os, signal, sys, time
from pathlib import Path
from study.execution.local import LocalExecutor
from study.paths import HomePaths
from tests.fakes.tiny_study import Nowhere, pretraining, submit
if __name__ == "__main__":
    attempt = submit(HomePaths(Path({str(home.root)!r})), pretraining(1000), Nowhere())
    executor = LocalExecutor(slots=1)
{code}
"""
        file = tmp_path / "orchestrator.py"
        file.write_text(script)
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        with (tmp_path / "output.txt").open("w") as output:
            started.append(
                subprocess.Popen(
                    [sys.executable, file], env=environment, stdout=output, stderr=output, start_new_session=True
                )
            )
        return started[-1]

    yield run
    for process in started:
        process.kill()


@pytest.fixture
def survivor(home: HomePaths) -> Iterator[AttemptPaths]:
    """The attempt that such a process submits."""
    attempt = home.base(ENDLESS.run_id).attempt(1)
    yield attempt
    if attempt.claim.exists() and is_running(pid_of(attempt)):
        os.kill(pid_of(attempt), signal.SIGKILL)


def test_workers_survive_parent_and_server(
    home: HomePaths, orchestrate: Callable[[HomePaths, str], subprocess.Popen[str]], survivor: AttemptPaths
) -> None:
    parent = orchestrate(home, "    executor.submit(attempt)\n    time.sleep(1000)")
    step = wait_for_event(survivor, "step")["step"]
    os.killpg(parent.pid, signal.SIGKILL)  # whatever is in the group, the fork server too
    parent.wait()
    wait_for(lambda: events_of(survivor, "step")[-1]["step"] > step + 20, "steps of an orphan")
    survivor.run.stop.touch()
    assert wait_for_end(survivor) == "stopped"


def test_the_parent_may_leave_before_its_workers(
    home: HomePaths, orchestrate: Callable[[HomePaths, str], subprocess.Popen[str]], survivor: AttemptPaths
) -> None:
    parent = orchestrate(home, "    executor.submit(attempt)\n    executor.close()")
    assert parent.wait(60) == 0
    assert events_of(survivor) == [] or events_of(survivor)[-1]["event"] in ("started", "step")
    wait_for_event(survivor, "step")


def test_ctrl_c_while_the_server_imports_harms_neither_server_nor_workers(
    home: HomePaths, orchestrate: Callable[[HomePaths, str], subprocess.Popen[str]], survivor: AttemptPaths,
    tmp_path: Path,
) -> None:  # fmt: skip
    code = """
    caught = 0
    try:
        os.killpg(0, signal.SIGINT)
        time.sleep(1)
    except KeyboardInterrupt:
        caught += 1
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, 0.2)  # the next Ctrl-C comes while `submit` waits for the server
    try:
        executor.submit(attempt)
    except KeyboardInterrupt:
        caught += 1
    assert executor._processes, "it must know what it has started"
    executor.close()
    sys.exit(10 + caught)
"""
    parent = orchestrate(home, code)
    assert parent.wait(60) == 12, (tmp_path / "output.txt").read_text()
    assert "Traceback" not in (tmp_path / "output.txt").read_text()
    wait_for_event(survivor, "step")


class TestOthers:
    """Studies of a home share bases: what another orchestrator is about to start is not lost."""

    @pytest.fixture
    def other(self) -> Iterator[Mapping[str, Any]]:
        code = """
import json
from study.journal.process import this_process
print(json.dumps(this_process()), flush=True)
input()
"""
        with subprocess.Popen(
            [sys.executable, "-c", code], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
            process.kill()

    def intended(self, home: HomePaths, orchestrator: Mapping[str, Any], age_s: float = 0.0) -> AttemptPaths:
        attempt = submit(home, ENDLESS, Nowhere())
        write_json(
            attempt.job, {**read_json(attempt.job), "orchestrator": orchestrator, "intent_t": time.time() - age_s}
        )
        return attempt

    def test_intent_of_a_living_orchestrator(
        self, executor: LocalExecutor, home: HomePaths, other: Mapping[str, Any]
    ) -> None:
        state = replay_attempt(self.intended(home, other))
        assert belongs_to_another(state) and intender_lives(state) and executor.is_alive(state)

    def test_intent_that_is_too_old(self, executor: LocalExecutor, home: HomePaths, other: Mapping[str, Any]) -> None:
        assert not executor.is_alive(replay_attempt(self.intended(home, other, age_s=100)))

    def test_intent_of_a_dead_orchestrator(self, executor: LocalExecutor, home: HomePaths) -> None:
        state = replay_attempt(self.intended(home, {**this_process(), "pid": 2**22 + 1}))
        assert not belongs_to_another(state) and not executor.is_alive(state)

    def test_intent_of_our_own(self, executor: LocalExecutor, home: HomePaths) -> None:
        state = replay_attempt(self.intended(home, this_process()))
        assert not belongs_to_another(state) and not executor.is_alive(state)


def test_a_process_that_cannot_even_write_how_it_ended(executor: LocalExecutor, tmp_path: Path) -> None:
    """Its exit code says it. Another start tries again; it is no outcome of the run's parameters."""
    disk = tmp_path / "disk"
    with mounted(disk, "size=16m") as is_mounted:
        if not is_mounted:
            pytest.skip("only root may mount file systems")
        attempt = submit(HomePaths(disk / "home"), ENDLESS, executor)
        wait_for_event(attempt, "step")
        fill(disk)
        wait_for(lambda: not is_running(pid_of(attempt)), "its end")
        state = replay_attempt(attempt)
        assert not executor.is_alive(state)
        ending = wait_for(lambda: executor.ending(state), "its exit code")
        assert state.status is AttemptStatus.STARTED and ending.kind is EndKind.DISK
        assert f"could not write to the file system mounted at {disk} (0.0 MB of 16.0 MB free)" in ending.message
        reason = reason_to_give_up([replace(state, verdict=ending)])
        assert reason is not None and "start the same command again" in reason
