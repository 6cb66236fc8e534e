"""What a heartbeat says of processes that work, wait, hang and spin: real ones, watched as an orchestrator does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.journal.files import read_json_or_none
from study.journal.heartbeat import Heartbeat, Stage
from study.orchestration.hang import HangWatch
from study.worker import pulse
from study.worker.pulse import Pulse
from tests.fakes.tiny_study import wait_for

ROOT = Path(__file__).parents[2]
_BEGIN = """
import os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from study.worker import pulse
folder = Path(sys.argv[1])
pulse._EVERY_S = 0.1
heart = pulse.Pulse(folder / "heartbeat")
heart.__enter__()
while not (folder / "heartbeat").exists():
    time.sleep(0.01)
"""
_EVALUATES = """
heart.evaluating("knn-test-1a2b").__enter__()
"""
_DEADLOCK = """
lock = threading.Lock()
lock.acquire()
lock.acquire()
"""
_POOL = """
pool = ThreadPoolExecutor(1)
pool.submit(lambda: pool.submit(int).result()).result()
"""
_READ = """
os.mkfifo(folder / "fifo")
(folder / "fifo").read_bytes()
"""
_COMPUTE = """
while True:
    sum(range(10000))
    time.sleep(0.01)
"""
_FIT = """
import numpy as np
from sklearn.linear_model import LogisticRegression
x = np.random.default_rng(0).normal(size=(3000, 200))
while True:
    LogisticRegression(tol=1e-9, max_iter=3000).fit(x, x[:, 0] > 0)
"""
_BATCHES = """
while True:
    time.sleep(1)
    heart.count()
"""
_DATA = """
(folder / "data").write_bytes(bytes(10**8))
while True:
    (folder / "data").read_bytes()
    time.sleep(1)
"""
_STEPS = """
for step in range(1, 1000):
    heart.train(step, 1000)
    time.sleep(0.5)
"""
HANG = {
    "a deadlock before the first step": _DEADLOCK,
    "a deadlock in an evaluation": _EVALUATES + _DEADLOCK,
    "threads that wait for each other": _EVALUATES + _POOL,
    "a read that never comes back": _EVALUATES + _READ,
    "a step that never ends": "heart.train(5, 10); time.sleep(1000)",
    "a stopped process": _EVALUATES + "os.kill(os.getpid(), 19)",
}
WORK = {
    "an evaluation that computes": _EVALUATES + _COMPUTE,
    "a fit of scikit-learn": _EVALUATES + _FIT,
    "batches that take their time": _EVALUATES + _BATCHES,
    "data that are read before the first step": _DATA,
    "steps": _STEPS,
}
CASES = {**HANG, **WORK}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """All cases at once: case → folder."""
    folders = {name: tmp_path_factory.mktemp("case") for name in CASES}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, "-c", _BEGIN + CASES[name], folder], env=environment)
        for name, folder in folders.items()
    ]
    wait_for(lambda: all((folder / "heartbeat").exists() for folder in folders.values()), "hearts that beat")
    yield folders
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def complaints(processes: dict[str, Path]) -> dict[str, str | None]:
    """What a watch with a patience of seconds has to say of each case."""
    watch, found = HangWatch(5.0, 5.0), dict.fromkeys(CASES)
    begin = time.monotonic()
    while time.monotonic() < begin + 30 and not all(found[name] for name in HANG):
        for name, folder in processes.items():
            beat = Heartbeat.from_json(read_json_or_none(folder / "heartbeat"))
            found[name] = found[name] or watch.complaint(name, beat)
        time.sleep(0.2)
    assert time.monotonic() - begin > 5.0, "the patience of those that work has been tried, too"
    return found


@pytest.mark.parametrize("case", CASES)
def test_what_hangs_is_noticed_and_what_is_slow_is_not(complaints: dict[str, str | None], case: str) -> None:
    assert (complaints[case] is not None) == (case in HANG), complaints[case]


def test_beats_cost_next_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far less than the share of a core that counts as work."""
    monkeypatch.setattr(pulse, "_EVERY_S", 0.01)
    with Pulse(tmp_path / "heartbeat"):
        begin, used = time.monotonic(), time.process_time()
        while time.monotonic() - begin < 2:
            time.sleep(0.05)
        used, beats = time.process_time() - used, 2 / 0.01
    assert used / beats < 0.02 * 2.0 / 4, "a beat every two seconds"


def test_stages_follow_each_other(tmp_path: Path) -> None:
    def beat() -> Heartbeat:
        heart._write()
        return Heartbeat.from_json(read_json_or_none(tmp_path / "heartbeat"))

    heart = Pulse(tmp_path / "heartbeat")
    assert beat().phase is Stage.STARTING
    heart.train(3, 10)
    with heart.evaluating("interim-1"):
        heart.count()
        assert (beat().phase, beat().what, beat().step, beat().done) == (Stage.EVALUATING, "interim-1", 3, 1)
    assert (beat().phase, beat().what, beat().done) == (Stage.TRAINING, "", 1)
    assert beat().cpu_s > 0 and beat().read_mb > 0 and abs(beat().t - time.time()) < 60


def test_a_pulse_without_a_file_keeps_quiet(tmp_path: Path) -> None:
    with Pulse() as heart, heart.evaluating("x"):
        heart.train(1, 2)
        heart.count()
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_in_trouble_does_not_end_it(tmp_path: Path) -> None:
    with Pulse(tmp_path / "no" / "such" / "folder" / "heartbeat") as heart:
        heart.count()
