"""MLflow's SQLite store as a tracker: equal rows stay one row, whatever happened in between."""

from __future__ import annotations

import math
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study.paths import HomePaths
from study.tracking.base import (
    Experiment,
    MetricRow,
    RejectedError,
    RunStatus,
    TrackerError,
    UnknownRunError,
)
from study.tracking.mlflow_tracker import MlflowTracker
from study.tracking.progress import Progress
from study.tracking.publisher import publish
from study.tracking.store import store_uri
from study.tracking.tracked import ensure_run
from tests.fakes.memory_tracker import MemoryTracker
from tests.fakes.mlflow_store import contents, query
from tests.fakes.published_study import FakeStudy

_PUBLISH = """
import sys
from pathlib import Path
from study.paths import HomePaths
from study.tracking.mlflow_tracker import MlflowTracker
from study.tracking.publisher import publish
from study.tracking.store import store_uri
from study.tracking.tracked import ensure_run
home = HomePaths(Path(sys.argv[1]))
publish(home, "small", MlflowTracker(store_uri(home), home.mlartifacts))
"""


def connect(home: HomePaths) -> MlflowTracker:
    return MlflowTracker(store_uri(home), home.mlartifacts)


@pytest.fixture
def study(stored_home: HomePaths, monkeypatch: pytest.MonkeyPatch) -> FakeStudy:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return FakeStudy(stored_home)


@pytest.fixture
def run(study: FakeStudy) -> tuple[MlflowTracker, str]:
    """A tracker and an empty run."""
    tracker = connect(study.home)
    experiment = tracker.ensure_experiment("x")
    tracker.create_run(experiment, "a run", start_ms=1, tags={})
    return tracker, tracker.find_runs(experiment, "a run")[0].id


def test_mlflow_keeps_what_a_tracker_must_keep(study: FakeStudy) -> None:
    """The tracker in memory, which the other tests use, says the same as MLflow."""
    finished, begun = study.add_run(base_seed=1).finish(), study.add_run(base_seed=2)
    begun.attempt().steps(1, 3).checkpoint(2)
    study.add_base().finish()
    memory = MemoryTracker()
    publish(study.home, "small", memory)
    publish(study.home, "small", connect(study.home))

    stored = contents(study.home)
    base_id = finished.spec.training["initial"]["base"][:12]
    for key in ("small", finished.spec.run_id, begun.spec.run_id, base_id):
        expected = memory.by_key(key)
        assert stored["runs"][(key, str(expected.status), expected.start_ms)] == 1
        rows = {row[1:5] for row in stored["metrics"] if row[0] == key}
        assert rows == {(r.key, r.value, r.timestamp_ms, r.step) for r in expected.rows}
        assert {row[1]: row[2] for row in stored["params"] if row[0] == key} == expected.params
        assert expected.tags.items() <= {row[1]: row[2] for row in stored["tags"] if row[0] == key}.items()
    assert (finished.spec.run_id, "mlflow.parentRunId", "small") in stored["tags"]
    assert (finished.spec.run_id, "mlflow.runName", finished.spec.run_id) in stored["tags"]
    files = {p.read_bytes() for p in study.home.mlartifacts.rglob("spec.json")}
    assert finished.paths.spec.read_bytes() in files
    assert {name for (name,) in query(study.home, "select name from experiments")} >= {"small", "bases"}


def test_publishing_again_changes_nothing_even_without_records(study: FakeStudy) -> None:
    run = study.add_run().finish(num_steps=30, num_metrics=5)
    run.evaluate("odd-test-00000000", {"nan": math.nan, "inf": math.inf, "low": -math.inf})
    for _ in range(3):
        publish(study.home, "small", connect(study.home))
        before = contents(study.home)
        publish(study.home, "small", connect(study.home))
        assert contents(study.home) == before
        for file in study.home.root.rglob("published.json"):
            file.unlink()
    assert set(before["metrics"].values()) == {1}
    assert len(before["metrics"]) == 30 * 5 + 4


def test_rows_that_were_sent_but_not_recorded_are_not_doubled(
    study: FakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the last call of MLflow and the record of it, with news before the next pass."""
    run = study.add_run()
    attempt = run.attempt("knn-test-1a2b3c4d").steps(1, 5).checkpoint(5)
    write = Progress.write

    def killed(progress: Progress, path: Path) -> None:
        if path == run.paths.published:
            raise KeyboardInterrupt
        write(progress, path)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(study.home, "small", connect(study.home))
    assert not run.paths.published.exists()
    attempt.steps(6, 9).checkpoint(9)
    publish(study.home, "small", connect(study.home))
    rows = "select step, count(*) from metrics where key = 'train/metric_0' group by step"
    assert query(study.home, rows) == [(step, 1) for step in range(1, 10)]
    assert query(study.home, "select count(*) from runs") == [(2,)]


def test_numbers_beyond_all_bounds(run: tuple[MlflowTracker, str], study: FakeStudy) -> None:
    tracker, name = run
    rows = [MetricRow("m", value, step, step) for step, value in enumerate([math.nan, math.inf, -math.inf])]
    for _ in range(2):
        tracker.log_metrics(name, rows)
    largest = sys.float_info.max
    stored = query(study.home, "select value, is_nan from metrics order by step")
    assert stored == [(0.0, 1), (largest, 0), (-largest, 0)]


def test_batches_respect_the_limits(run: tuple[MlflowTracker, str], study: FakeStudy) -> None:
    tracker, name = run
    tracker.log_metrics(name, [MetricRow("m", 1.0, step, step) for step in range(2500)])
    tracker.log_params(name, {f"p{i}": "x" * 7000 for i in range(250)})
    tracker.set_tags(name, {f"t{i}": "x" * 9000 for i in range(250)})
    assert query(study.home, "select count(*) from metrics") == [(2500,)]
    assert query(study.home, "select count(*), max(length(value)) from params") == [(250, 6000)]
    lengths = "select count(*), max(length(value)) from tags where key like 't%'"
    assert query(study.home, lengths) == [(250, 8000)]


def test_names_that_mlflow_refuses_are_mended(run: tuple[MlflowTracker, str], study: FakeStudy) -> None:
    tracker, name = run
    tracker.log_metrics(name, [MetricRow("test/linear_probe/top1@1%ü", 1.0, 1, 1)])
    tracker.log_params(name, {"a@b": ""})
    assert query(study.home, "select key from metrics") == [("test/linear_probe/top1_1__",)]
    assert query(study.home, "select key, value from params") == [("a_b", "")]


def test_parameters_are_written_once(run: tuple[MlflowTracker, str], study: FakeStudy) -> None:
    tracker, name = run
    tracker.log_params(name, {"a": "1"})
    tracker.log_params(name, {"a": "2", "b": "3"})
    assert query(study.home, "select key, value from params order by key") == [("a", "1"), ("b", "3")]


def test_status_and_end(run: tuple[MlflowTracker, str], study: FakeStudy) -> None:
    tracker, name = run
    for status in RunStatus:
        tracker.set_status(name, status, 5)
        assert query(study.home, "select status from runs") == [(str(status),)]
    assert query(study.home, "select end_time from runs") == [(5,)]


def test_errors_say_what_can_be_done(run: tuple[MlflowTracker, str]) -> None:
    tracker, name = run
    with pytest.raises(UnknownRunError):
        tracker.set_tags("0" * 32, {"a": "b"})
    with pytest.raises(RejectedError):
        tracker.log_metrics(name, [MetricRow("m", 1.0, -1, 1)])
    tracker._client.delete_experiment(tracker.ensure_experiment("x").id)
    with pytest.raises(TrackerError, match="mlflow experiments restore"):
        tracker.ensure_experiment("x")


def test_a_run_that_was_created_twice_is_kept_once(study: FakeStudy) -> None:
    tracker = connect(study.home)
    experiment = tracker.ensure_experiment("x")
    for _ in range(2):
        tracker.create_run(experiment, "a", start_ms=1, tags={})
    for _ in range(2):
        found = ensure_run(
            tracker, experiment, "a", start_ms=1, tags={}, is_ours=lambda run: True, unlike=lambda run: ""
        )
        assert query(study.home, "select run_uuid from runs where lifecycle_stage = 'active'") == [(found.run.id,)]


def test_a_store_that_is_replaced_gets_everything_again(study: FakeStudy, empty_store: Path) -> None:
    """MLflow by itself would go on writing to the deleted file."""
    study.add_run().finish()
    tracker = connect(study.home)
    publish(study.home, "small", tracker)
    before = contents(study.home)
    for publisher in (tracker, connect(study.home)):
        study.home.mlflow_db.unlink()
        shutil.copyfile(empty_store, study.home.mlflow_db)
        publish(study.home, "small", publisher)
        assert contents(study.home) == before


def test_another_store_has_another_identity(study: FakeStudy) -> None:
    tracker = connect(study.home)
    first = tracker.ensure_experiment("small")
    assert connect(study.home).ensure_experiment("small") == first
    tracker._client.delete_experiment(first.id)
    connection = sqlite3.connect(study.home.mlflow_db)
    connection.execute("update experiments set name = 'gone' where name = 'small'")
    connection.commit()
    connection.close()
    second = tracker.ensure_experiment("small")
    assert isinstance(second, Experiment)
    assert second.store != first.store


def test_a_killed_publisher_leaves_nothing_twice(study: FakeStudy) -> None:
    """The real thing: SIGKILL in the middle of a pass, and another pass."""
    runs = [study.add_run(base_seed=seed).finish(num_steps=100, num_metrics=10) for seed in range(1, 21)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", _PUBLISH, str(study.home.root)], cwd=root)
    deadline = time.monotonic() + 180
    while not runs[1].paths.published.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    num_recorded = sum(run.paths.published.exists() for run in runs)
    assert 0 < num_recorded < len(runs)

    summary = publish(study.home, "small", connect(study.home))
    assert summary.num_published == len(runs) - num_recorded
    stored = contents(study.home)
    assert len(stored["runs"]) == len(runs) + 1
    assert len(stored["metrics"]) == len(runs) * 1001
    assert set(stored["metrics"].values()) == {1}
