"""What does a pass of the publisher cost at 10,000 runs of 20,000 steps, beside merely looking at the runs' files?

One run is really published to an SQLite store; the others are its folder, linked, and its rows, copied. Passes without
news, and passes with 50 steps of one run that is under way.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from study.paths import HomePaths
from study.plan.expand import run_spec
from study.plan.model import Confirm, Phase
from study.tracking.glance import glance
from study.tracking.mlflow_tracker import MlflowTracker
from study.tracking.publisher import Publisher
from tests.benchmarks._report import Measurement, print_lines
from tests.fakes.published_study import FakeAttempt, FakeRun, FakeStudy, small_plan

NUM_RUNS, NUM_STEPS, REPETITIONS = int(os.environ.get("NUM_RUNS", "10000")), 20_000, 5
_KNN = "knn-test-1a2b3c4d"


def write_home(root: Path, num_runs: int = NUM_RUNS) -> tuple[FakeStudy, FakeAttempt]:
    """A study of `num_runs` published runs and one that is under way, with its attempt."""
    study = FakeStudy(HomePaths(root), replace(small_plan(), confirm=Confirm(tuple(range(1, num_runs + 1)), (1,))))
    first, active = study.add_run(), study.add_run("continued")
    for run in (first, active):
        attempt = run.attempt(_KNN)
        for step in range(0, NUM_STEPS, 2000):
            attempt.steps(step + 1, step + 2000, num_metrics=1).checkpoint(step + 2000)
    FakeAttempt(first.paths.attempt(1)).trained(NUM_STEPS, "weights").event("finished")
    first.evaluate(_KNN, {"top1": 50.0})
    publisher(study).publish()
    _link(study, first, num_runs)
    publisher(study).publish()
    return study, FakeAttempt(active.paths.attempt(1))


def publisher(study: FakeStudy) -> Publisher:
    """One that knows nothing yet, as at the start of a process."""
    uri = f"sqlite:///{study.home.mlflow_db}"
    return Publisher(study.home, study.plan.study, MlflowTracker(uri, study.home.mlartifacts))


def _link(study: FakeStudy, first: FakeRun, num_runs: int) -> None:
    """Make the other runs, and what the store has of them."""
    record, copies = json.loads(first.paths.published.read_text()), {}
    files = [f.relative_to(first.paths.root) for f in first.paths.root.rglob("*") if f.is_file()]
    own = (first.paths.spec.name, first.paths.published.name)
    for seed in range(2, num_runs + 1):
        spec = run_spec(study.plan, study.plan.arm("e2mc"), {}, seed, 1, Phase.CONFIRM)
        run, tracked = study.paths.run(spec.run_id), uuid.uuid4().hex
        run.attempt(1).root.mkdir(parents=True)
        run.evaluations.mkdir()
        for file in files:
            if file.name not in own:
                os.link(first.paths.root / file, run.root / file)
        run.spec.write_text(json.dumps(spec.as_json()))
        run.published.write_text(json.dumps({**record, "tracked_run": tracked, "seen": glance(str(run.root))}))
        attached = study.home.mlartifacts / tracked / "artifacts"
        attached.mkdir(parents=True)
        os.link(run.spec, attached / run.spec.name)
        copies[tracked] = spec.run_id
    with sqlite3.connect(study.home.mlflow_db) as connection:
        for table in ("runs", "params", "tags", "latest_metrics"):
            cursor = connection.execute(f"select * from {table} where run_uuid = ?", (record["tracked_run"],))
            names, rows = [column[0] for column in cursor.description], cursor.fetchall()
            into = f"insert into {table} values ({','.join('?' * len(names))})"
            words = {record["tracked_run"]: 0, first.spec.run_id: 1}

            def copied() -> Iterator[tuple[object, ...]]:
                for pair in copies.items():
                    for row in rows:  # noqa: B023
                        yield tuple(pair[words[v]] if v in words else v for v in row)  # noqa: B023

            connection.executemany(into, copied())


def look_plainly(root: Path) -> int:
    """List every folder of the runs, look at every file, read one file of each run; the number of bytes."""
    total, folders = 0, [os.fspath(root)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                elif entry.stat().st_size and entry.name == "published.json":
                    with open(entry.path, "rb", buffering=0) as file:  # noqa: PTH123 (the bound is to be low)
                        total += len(file.read())
    return total


def shortest(action: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Shortest wall time of several repetitions."""
    walls = []
    for _ in range(REPETITIONS):
        before()
        start = time.perf_counter()
        action()
        walls.append(time.perf_counter() - start)
    return min(walls)


def run() -> None:
    """Print wall times and peak memory, and the ratio to merely looking at the files in the same run."""
    with tempfile.TemporaryDirectory() as folder:
        study, attempt = write_home(Path(folder))
        plain = shortest(lambda: look_plainly(study.paths.runs))
        following, now = publisher(study), [NUM_STEPS]
        following.publish()

        def learn() -> None:
            attempt.steps(now[0] + 1, now[0] + 50, num_metrics=20).checkpoint(now[0] + 50)
            now[0] += 50

        walls = {
            "first pass of a process": shortest(lambda: publisher(study).publish()),
            "pass of a follower": shortest(following.publish),
            "pass with 50 steps of one run": shortest(following.publish, learn),
        }
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{NUM_RUNS + 1} runs; the shortest of {REPETITIONS}; {peak_mb:.0f} MB at most (limit 300)")
    for name, wall in walls.items():
        print(f"{name:30} {wall:7.3f} s   {wall / plain:6.2f} × looking at the files   (limit 1 s without news)")
    print_lines([Measurement(name, wall, {"looking at the files": plain}, "s") for name, wall in walls.items()])
