"""A publisher that follows a study survives whatever happens to MLflow; the server here is a real one."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from study.paths import HomePaths
from study.tracking.follow import follow
from tests.fakes.memory_tracker import MemoryTracker
from tests.fakes.mlflow_server import Server, wait_until
from tests.fakes.mlflow_store import contents
from tests.fakes.published_study import FakeRun, FakeStudy
from tests.fakes.wire import Wire


@pytest.fixture
def study(home: HomePaths) -> FakeStudy:
    return FakeStudy(home)


class Follower:
    """`follow` in a thread."""

    def __init__(self, home: HomePaths, uri: str, tracker: MemoryTracker | None = None) -> None:
        self._stop = threading.Event()
        connect = None if tracker is None else lambda *_: tracker
        self._thread = threading.Thread(
            target=follow, args=(home, "small", uri, self._stop.is_set, 0.05), kwargs={"connect": connect}
        )
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=180)
        assert not self._thread.is_alive()


def is_published(run: FakeRun) -> Callable[[], bool]:
    return lambda: run.paths.published.exists() and "FINISHED" in run.paths.published.read_text()


def test_news_are_published_while_it_follows_and_once_more_at_the_end(study: FakeStudy) -> None:
    tracker = MemoryTracker()
    follower = Follower(study.home, "memory", tracker)
    first = study.add_run(base_seed=1).finish()
    wait_until(is_published(first), 10)
    follower.stop()
    second = study.add_run(base_seed=2).finish()
    assert follow(study.home, "small", "memory", lambda: True, connect=lambda *_: tracker)
    assert is_published(second)()


def test_it_says_whether_everything_has_arrived(study: FakeStudy) -> None:
    tracker = MemoryTracker()
    run = study.add_run().finish()
    tracker.is_down = True
    assert not follow(study.home, "small", "memory", lambda: True, connect=lambda *_: tracker)
    tracker.is_down = False
    tracker.rejects.add(run.spec.run_id)
    assert not follow(study.home, "small", "memory", lambda: True, connect=lambda *_: tracker)
    tracker.rejects.clear()
    assert follow(study.home, "small", "memory", lambda: True, connect=lambda *_: tracker)


def test_one_warning_for_a_tracker_that_is_down(study: FakeStudy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="study.tracking")
    run = study.add_run().finish()
    tracker = MemoryTracker()
    tracker.is_down = True
    follower = Follower(study.home, "memory", tracker)
    wait_until(lambda: tracker.calls.count("ensure_experiment") >= 3, 20)
    tracker.is_down = False
    wait_until(is_published(run), 20)
    follower.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "publishing to memory fails, trying on: the tracker is down",
        "publishing to memory works again",
    ]


def test_nothing_is_ever_raised(study: FakeStudy, caplog: pytest.LogCaptureFixture) -> None:
    """Not even for a bug: a study must not end because of its tracker. A bug shows its traceback."""

    def connect(*_: object) -> MemoryTracker:
        raise ZeroDivisionError("a bug")

    follow(study.home, "small", "postgresql://me:secret@host/db", lambda: True, connect=connect)
    assert "publishing to postgresql://host/db fails" in caplog.text
    assert "a bug" in caplog.text
    assert "Traceback" in caplog.text


def test_a_bad_run_is_reported_once(study: FakeStudy, caplog: pytest.LogCaptureFixture) -> None:
    tracker = MemoryTracker()
    run = study.add_run().finish()
    tracker.rejects.add(run.spec.run_id)
    follower = Follower(study.home, "memory", tracker)
    wait_until(lambda: tracker.calls.count("log_metrics") >= 3, 10)
    follower.stop()
    (record,) = caplog.records
    assert record.getMessage().startswith(f"not published: {run.paths.root}: RejectedError")


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "mlflow.db")
    server = Server(folder)
    yield server
    server.kill()


@pytest.mark.slow
def test_a_real_server_that_is_down_loses_responses_is_killed_and_wiped(
    study: FakeStudy, server: Server, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Afterwards every run is there exactly once, with every row exactly once."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    wire = Wire(server.port)
    wire.cut()
    on_server = HomePaths(server.folder)
    runs = [study.add_run(base_seed=1).finish(num_steps=50, num_metrics=10)]

    def check() -> None:
        stored = contents(on_server)
        assert {row[0] for row in stored["runs"]} == {"small", *(run.spec.run_id for run in runs)}
        assert len(stored["metrics"]) == 501 * len(runs)
        assert set(stored["metrics"].values()) == {1}

    follower = Follower(study.home, f"http://127.0.0.1:{wire.port}")
    try:
        server.start()  # MLflow was down from the start
        wire.mend()
        wait_until(is_published(runs[-1]))
        check()

        wire.lose += [b"/runs/create", b"/runs/log-batch", b"/runs/log-batch"]
        runs.append(study.add_run(base_seed=2).finish(num_steps=50, num_metrics=10))
        wait_until(is_published(runs[-1]))
        assert wire.lose == []
        check()

        runs += [study.add_run(base_seed=s).finish(num_steps=50, num_metrics=10) for s in range(3, 9)]
        wait_until(is_published(runs[3]))
        wire.cut()  # MLflow goes down in the middle
        assert not is_published(runs[-1])()
        time.sleep(0.3)
        wire.mend()
        wait_until(is_published(runs[-1]))
        check()

        server.kill()
        shutil.copyfile(empty_store, server.folder / "mlflow.db")
        server.start()  # MLflow comes back without its data
        wait_until(lambda: len(contents(on_server)["metrics"]) == 501 * len(runs))
    finally:
        follower.stop()
        wire.cut()
    check()
    assert {row[1] for row in contents(on_server)["runs"] if row[0] != "small"} == {"FINISHED"}
    assert any((server.folder / "artifacts").rglob("plan.yaml"))
