"""A search on a real SLURM cluster of one machine: how much longer than its trials it takes, ours and others'.

32 trials of lognormal length (mean 4 s), 4 slots. The unit is the makespan divided by (sum of the lengths / 4). The
bound is what no scheduler beats that starts trials in their order: list scheduling of the same lengths, one wait in
SLURM's queue, one start of Python with submitit. With torch loaded it is done again: our workers load it once each, a
job per trial loads it for every trial, and the bound has it once, in all slots at the same time.
"""

from __future__ import annotations

import heapq
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from study.execution.slurm.base import SlurmSettings
from study.execution.slurm.workers import WorkerExecutor
from study.journal.files import read_json, write_json
from study.journal.replay import replay_attempt
from study.paths import AttemptPaths, HomePaths, StudyPaths
from study.plan.site import Resources, Slurm
from study.worker.allocation import Allotment
from tests.benchmarks._report import Measurement, print_lines
from tests.benchmarks._slurm_peers import hydra_sweep, replacement_by_submitit, submitit_loop
from tests.fakes.slurm_cluster import PROGRAMS, SlurmCluster

NUM_TRIALS, NUM_SLOTS, MEAN_S, SIGMA = 32, 4, 4.0, 0.5
PLAIN, HYDRA = "Optuna ask/tell + submitit", "Hydra's Optuna sweeper + submitit launcher"
_POLL_S = 0.2  # the orchestrator's
_EMPTY, _EMPTY_GB = Allotment(preload=None, entry="tests.fakes.brief_run"), 0.4
# SLURM counts the pages that a run shares with its worker twice when it adds up resident memory: 1.33 GB.
_FULL, _FULL_GB = Allotment(entry="tests.fakes.brief_run"), 1.8
_START = "import submitit, numpy"
_ROOT = Path(__file__).parents[2]


def run() -> None:
    """Measure all and print."""
    if os.geteuid() != 0 or not all(map(_is_installed, PROGRAMS)):
        print("left out: it needs root, and slurm-wlm, slurmdbd, mariadb-server and munge")
        return
    lengths = np.random.default_rng(0).lognormal(np.log(MEAN_S) - SIGMA**2 / 2, SIGMA, NUM_TRIALS).round(2).tolist()
    ideal = sum(lengths) / NUM_SLOTS
    with _cluster() as folder:
        queue_s, start_s = _overheads(folder / "overheads")
        together_s, load_s = _at_once(_START), _at_once(f"import {_FULL.preload}")
        bound = (_list_scheduled(lengths) + queue_s + start_s) / ideal
        print(f"trials {sum(lengths):.1f} s in all; one wait in the queue {queue_s:.2f} s, one start {start_s:.2f} s")
        print(f"{NUM_SLOTS} processes start at once in {together_s:.2f} s, and load torch in {load_s:.1f} s, once each")
        print(
            f"bound {bound:.3f} ({bound + (together_s - start_s) / ideal:.3f} when all slots start at once), to be "
            f"reached 1.12; with torch loaded {bound + load_s / ideal:.3f} and 1.20",
            flush=True,
        )
        empty = _say("ours", _ours(folder / "empty", lengths, _EMPTY, _EMPTY_GB) / ideal)
        full = _say("ours, torch loaded", _ours(folder / "full", lengths, _FULL, _FULL_GB) / ideal)
        peers = {PLAIN: _say(PLAIN, submitit_loop(folder / "plain", lengths, NUM_SLOTS) / ideal)}
        loop_s = submitit_loop(folder / "plain-torch", lengths, NUM_SLOTS, _FULL.preload, _FULL_GB)
        loaded = {PLAIN: _say(f"{PLAIN}, torch loaded", loop_s / ideal)}
        hydra_s = hydra_sweep(folder / "hydra", lengths, NUM_SLOTS)
        if hydra_s is not None:
            peers[HYDRA] = _say(HYDRA, hydra_s / ideal)
        replaced = _replacement(folder / "replacement")
        theirs = {"submitit": replacement_by_submitit(folder / "submitit-replacement")}
    print(f"a killed job's slot runs again after: ours {replaced:.1f} s, submitit {theirs['submitit']:.1f} s")
    print_lines(
        [
            Measurement("makespan of a search on SLURM, nothing loaded", empty, peers, "× sum / slots"),
            Measurement("makespan of a search on SLURM, torch loaded", full, loaded, "× sum / slots"),
            Measurement("a killed job's slot is used again after", replaced, theirs, "s"),
        ]
    )


@contextmanager
def _cluster() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        cluster = SlurmCluster(Path(name) / "cluster")
        os.environ.update(cluster.environment)
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))  # not without stopping the daemons
        try:
            cluster.start()
            yield Path(name)
        finally:
            cluster.stop()
            signal.signal(signal.SIGTERM, before)
            del os.environ["SLURM_CONF"]


def _ours(folder: Path, lengths: Sequence[float], allotment: Allotment, memory_gb: float) -> float:
    """Seconds from the first submission to the end of the last trial, in a loop like the orchestrator's."""
    study, executor = _executor(folder, allotment, memory_gb, NUM_SLOTS)
    begin, waiting, running = time.monotonic(), list(enumerate(lengths)), dict[str, AttemptPaths]()
    while waiting or running:
        while waiting and len(running) < executor.capacity:
            index, length = waiting.pop(0)
            running[str(index)] = _submit(study, executor, str(index), length)
        executor.poll()
        time.sleep(_POLL_S)
        for name, attempt in list(running.items()):
            if _is_over(executor, attempt):
                del running[name]
                if not attempt.run.trained.exists():
                    raise RuntimeError(f"trial {name} failed: {executor.ending(replay_attempt(attempt))}")
    makespan = time.monotonic() - begin
    executor.close()
    _wait(lambda: not _queue(), "an empty queue")
    return makespan


def _is_over(executor: WorkerExecutor, attempt: AttemptPaths) -> bool:
    state = replay_attempt(attempt)
    return state.is_over or (not executor.is_alive(state) and executor.ending(state) is not None)


def _replacement(folder: Path) -> float:
    """Seconds from the killing of a worker to the start of the next attempt in its place.

    Its process is killed: a job that the user cancels is not replaced.
    """
    study, executor = _executor(folder, _EMPTY, _EMPTY_GB, 1)
    first = _submit(study, executor, "0", 60.0)
    _wait(lambda: executor.poll() is not None and first.claim.exists(), "a run")
    (worker,) = study.existing_workers()
    begin = time.monotonic()
    os.kill(read_json(worker.started)["pid"], signal.SIGKILL)
    _wait(lambda: executor.poll() is not None and _is_over(executor, first), "the end of the job")
    second = _submit(study, executor, "1", 0.0)
    _wait(lambda: executor.poll() is not None and second.claim.exists(), "a run in its place")
    seconds = time.monotonic() - begin
    executor.close()
    _wait(lambda: not _queue(), "an empty queue")
    return seconds


def _executor(folder: Path, allotment: Allotment, memory_gb: float, slots: int) -> tuple[StudyPaths, WorkerExecutor]:
    study = HomePaths(folder).study("bench")
    study.root.mkdir(parents=True)
    site = Slurm(Resources("gpu", memory_gb=memory_gb, time_min=20), poll_s=1, warning_s=30)
    return study, WorkerExecutor(SlurmSettings(study, site, slots, _ROOT), allotment)


def _submit(study: StudyPaths, executor: WorkerExecutor, name: str, length_s: float) -> AttemptPaths:
    run = study.run(name)
    attempt = run.attempt(len(run.existing_attempts()) + 1)
    attempt.root.mkdir(parents=True)
    (run.root / "behaviour").write_text(f"sleep {length_s}")
    job = {"run_id": name, "attempt": attempt.number, "phase": "tune", "job": None}
    write_json(attempt.job, job)
    write_json(attempt.job, {**job, "job": executor.submit(attempt)})
    return attempt


def _overheads(folder: Path) -> tuple[float, float]:
    """Seconds that an empty job waits in the queue, and that Python with submitit takes to start in one; medians."""
    folder.mkdir()
    log = folder / "log"
    wrap = f"date +%s.%N > {log}; {sys.executable} -c '{_START}'; date +%s.%N >> {log}"
    command = ["sbatch", "--wait", "-p", "gpu", "-o", "/dev/null", "--wrap", wrap]
    queue_s, start_s = [], []
    for _ in range(3):
        begin = time.time()
        subprocess.run(command, check=True, capture_output=True)
        started, loaded = map(float, log.read_text().split())
        queue_s.append(started - begin)
        start_s.append(loaded - started)
    return statistics.median(queue_s), statistics.median(start_s)


def _at_once(code: str) -> float:
    """Seconds until as many processes as there are slots have executed Python code; they share the processors."""
    begin = time.monotonic()
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, cwd=_ROOT) for _ in range(NUM_SLOTS)]
    assert [process.wait() for process in processes] == [0] * NUM_SLOTS
    return time.monotonic() - begin


def _list_scheduled(lengths: Sequence[float]) -> float:
    """Makespan when every trial goes, in order, to the slot that is free first."""
    slots = [0.0] * NUM_SLOTS
    for length in lengths:
        heapq.heappush(slots, heapq.heappop(slots) + length)
    return max(slots)


def _queue() -> str:
    return subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout.strip()


def _wait(condition: Callable[[], object], what: str, timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(_POLL_S)


def _is_installed(program: str) -> bool:
    return subprocess.run(["which", program], capture_output=True).returncode == 0


def _say(who: str, makespan: float) -> float:
    print(f"{who:45} {makespan:6.3f} × sum / slots", flush=True)
    return makespan
