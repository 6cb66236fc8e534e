"""How long do commands take on a study of 10,000 runs, relative to merely reading files of its runs?

Every command is the real one, in a process of its own. $STUDY_SCALE_HOME keeps what is written once, else a folder
below the temporary one. Caches of the system are dropped before a cold reading where that is allowed; where it is not,
the contents of files are dropped from them, but not what the file system knows of folders.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from study.journal.events import EventWriter
from study.journal.files import create_once, write_json
from study.paths import RunPaths
from tests.benchmarks._report import Measurement, print_lines
from tests.benchmarks._scale_home import NUM_STEPS, SHAPES, STUDY, ScaleHome, journal, scale_home

ROOT = Path(__file__).parents[2]
REPETITIONS = int(os.environ.get("REPETITIONS", "3"))
_NO_MLFLOW = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}
_PLAINLY = """
import os, sys
total = 0
for run in os.scandir(sys.argv[1]):
    folders = [run.path]
    while folders:
        for entry in os.scandir(folders.pop()):
            if entry.is_dir():
                folders.append(entry.path)
            elif entry.stat().st_size and entry.name == "spec.json":
                handle = os.open(entry.path, os.O_RDONLY)
                total += len(os.read(handle, 1 << 16))
                os.close(handle)
print(total)
"""  # every folder of a run listed, every file looked at, and one of them read
_MEASURE = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
wall, usage = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
"""  # from a small process: a large one would count as its child's memory


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def cost(*command: str, repetitions: int = REPETITIONS, before: Callable[[], object] = lambda: None) -> Cost:
    """The cheapest of several runs of a command of this Python, which must succeed."""
    found = []
    for _ in range(repetitions):
        before()
        told = subprocess.run(
            [sys.executable, "-c", _MEASURE, sys.executable, *command],
            cwd=ROOT, env={**os.environ, **_NO_MLFLOW}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        code, *numbers = json.loads(told.stdout)
        if code:
            raise RuntimeError(f"{command} ended with {code}: {told.stderr[-2000:]}")
        found.append(Cost(*numbers))
    return Cost(*(min(getattr(one, name) for one in found) for name in ("wall_s", "cpu_s", "peak_mb")))


def forget_summaries(made: ScaleHome) -> None:
    """As after the first start of this version: nothing has been summed up yet."""
    for _, run in made.runs():
        for file in run.root.glob("summary*"):
            file.unlink()


def drop_caches(made: ScaleHome) -> str:
    """Make the next reading a cold one; says what was dropped."""
    os.sync()
    with suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3")
        return "all caches dropped"
    for folder, _, names in os.walk(made.home.root):
        for name in names:
            handle = os.open(os.path.join(folder, name), os.O_RDONLY)  # noqa: PTH118 (100,000 files)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)
    return "contents of files dropped, folders not"


@contextmanager
def _without(runs: Sequence[RunPaths]) -> Iterator[None]:
    """The home without some runs, which come back afterwards."""
    for run in runs:
        run.root.rename(run.root.with_name(f".aside-{run.root.name}"))
    try:
        yield
    finally:
        for run in runs:
            shutil.rmtree(run.root, ignore_errors=True)
            run.root.with_name(f".aside-{run.root.name}").rename(run.root)


@contextmanager
def _orchestrator(made: ScaleHome) -> Iterator[tuple[subprocess.Popen[bytes], RunPaths]]:
    """A real orchestrator of the study, which lacks two runs: one has a process that sleeps, the other is yielded."""
    specs = [(spec, run) for spec, run in made.runs() if spec.labels.get("arm") == "mmcr"]
    (lost, lost_run), (_, missing) = specs[-1], specs[-2]
    code = "import json; from study.journal.process import this_process; print(json.dumps(this_process()), flush=True)"
    program = [sys.executable, "-c", f"{code}; import time; time.sleep(600)"]
    with (
        _without([lost_run, missing]),
        subprocess.Popen(program, stdout=subprocess.PIPE, cwd=ROOT) as sleeper,
        tempfile.TemporaryFile() as log,
    ):
        assert sleeper.stdout is not None
        attempt = lost_run.attempt(1)
        attempt.root.mkdir(parents=True)
        write_json(lost_run.spec, lost.as_json())
        write_json(attempt.job, {"study": STUDY, "run_id": lost.run_id, "attempt": 1, "executor": "local"})
        create_once(attempt.claim, json.loads(sleeper.stdout.readline()))
        with EventWriter(attempt.events) as events:
            events.append("started", durable=True, attempt=1, resumed_step=0)
        write_json(attempt.heartbeat, {"t": time.time(), "step": 5, "num_steps": NUM_STEPS})
        command = ["study/run_sweep.py", str(made.sweep), "--home", str(made.home.root), "--accept-code-change"]
        process = subprocess.Popen(
            [sys.executable, *command, "--slots", "2"],
            cwd=ROOT, env={**os.environ, **_NO_MLFLOW}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield process, missing
        finally:
            for one in (process, sleeper):
                one.send_signal(signal.SIGKILL)
                one.wait()
            made.home.study(STUDY).lease.unlink(missing_ok=True)
            if process.returncode != -signal.SIGKILL:
                log.seek(0)
                print(log.read().decode()[-2000:])


def start_of_an_orchestrator(made: ScaleHome, idle_s: float) -> tuple[Cost, float]:
    """Time until it submits the run that is missing, and its memory by then; its CPU share when nothing happens."""
    begin = time.perf_counter()
    with _orchestrator(made) as (process, missing):
        while not missing.attempt(1).job.exists():
            if process.poll() is not None or time.perf_counter() - begin > 600:
                raise RuntimeError("the orchestrator has not started anything")
            time.sleep(0.002)
        found = Cost(time.perf_counter() - begin, _cpu_s(process.pid), _peak_mb(process.pid))
        while b'"failed"' not in (
            missing.attempt(1).events.read_bytes() if missing.attempt(1).events.exists() else b""
        ):
            time.sleep(0.1)
        time.sleep(3.0)  # until that has been noticed
        before = _cpu_s(process.pid)
        time.sleep(idle_s)
        return found, (_cpu_s(process.pid) - before) / idle_s


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def seconds_per_append() -> float:
    """Median over the steps of a run, 20 metrics each."""
    lines = [json.loads(line) for line in journal(every=20).splitlines()]
    steps = [(line["step"], line["metrics"]) for line in lines if line["event"] == "step"]
    times = []
    with tempfile.TemporaryDirectory() as folder, EventWriter(Path(folder) / "events.jsonl") as events:
        for step, metrics in steps:
            begin = time.perf_counter()
            events.append("step", step=step, metrics=metrics)
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def _print(name: str, found: Cost, plain: Cost, limit_s: float | None) -> Measurement:
    limit = "" if limit_s is None else f"  (limit {limit_s:g} s, 300 MB)"
    print(
        f"{name:44} {found.wall_s:8.3f} s  {found.cpu_s:8.3f} CPU-s {found.peak_mb:7.0f} MB "
        f"{found.wall_s / plain.wall_s:7.2f} × plain{limit}",
        flush=True,
    )
    return Measurement(name, found.wall_s, {"files read plainly": plain.wall_s}, "s")


def _measure(shape: str) -> list[Measurement]:
    made = scale_home(shape)
    home = ["--home", str(made.home.root)]
    runs = str(made.home.study(STUDY).runs)
    plain = cost("-c", _PLAINLY, runs, repetitions=REPETITIONS)
    found = [_print("read plainly, warm", plain, plain, None)]
    chosen = os.environ.get("ONLY", "status,stop,report,start").split(",")
    if "status" in chosen:
        forget_summaries(made)
        found.append(
            _print("status, without summaries", cost("-m", "study", "status", STUDY, *home, repetitions=1), plain, None)
        )
        found.append(_print("status, warm", cost("-m", "study", "status", STUDY, *home), plain, 1))
        found.append(_print("status --json, warm", cost("-m", "study", "status", STUDY, "--json", *home), plain, 1))
        print(drop_caches(made))
        cold = cost("-c", _PLAINLY, runs, repetitions=1, before=lambda: drop_caches(made))
        found.append(_print("read plainly, cold", cold, cold, None))
        before = cost("-m", "study", "status", STUDY, *home, repetitions=1, before=lambda: drop_caches(made))
        found.append(_print("status, cold", before, cold, 3))
    if "stop" in chosen:
        found.append(_print("stop", cost("-m", "study", "stop", STUDY, *home), plain, 1))
    if "report" in chosen:
        command = ("-m", "study", "report", STUDY, "--no-publish", *home)
        found.append(_print("report", cost(*command, repetitions=min(2, REPETITIONS)), plain, 15))
    if "start" in chosen:
        starts = [start_of_an_orchestrator(made, idle_s=10.0) for _ in range(min(2, REPETITIONS))]
        best = Cost(*(min(getattr(one, name) for one, _ in starts) for name in ("wall_s", "cpu_s", "peak_mb")))
        found.append(_print("start of an orchestrator", best, plain, 5))
        share = min(share for _, share in starts)
        turn_s = 0.2 * share / (1 - share)  # it sleeps for 0.2 s between two turns
        print(f"a turn when nothing has changed: {1e3 * turn_s:.1f} ms (limit 50 ms), {share:.1%} of a processor")
        found.append(Measurement("idle turn", turn_s, {"limit": 0.05}, "s"))
    return found


def run() -> None:
    """Print wall and CPU time, peak memory, and the ratio to plain reading in the same run."""
    print(f"load before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} processors; the shortest of {REPETITIONS}")
    size = len(journal(None))
    append_s = seconds_per_append()
    print(f"journal of {NUM_STEPS} steps: {size / 1e6:.2f} MB (limit 2); append {1e6 * append_s:.1f} µs (limit 20)")
    measured = [
        Measurement(f"journal of {NUM_STEPS} steps", size, {"every step": len(journal(1))}, "bytes"),
        Measurement("append of a step", append_s, {"limit": 20e-6}, "s"),
    ]
    for shape in SHAPES:
        print(f"-- journals: {shape}")
        measured += _measure(shape)
    print(f"load after: {os.getloadavg()[0]:.2f}")
    print_lines(measured)
