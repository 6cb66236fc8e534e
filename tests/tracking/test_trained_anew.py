"""Old and new results of a run are never mixed in one tracked run, whatever was done to the run's files."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from analysis.frames import Published, load_study
from study.journal.endings import Ending, EndKind
from study.journal.files import read_json, write_json
from study.paths import HomePaths
from study.tracking.base import RunStatus
from study.tracking.publisher import publish
from tests.fakes.memory_tracker import MemoryRun, MemoryTracker
from tests.fakes.mlflow_view import own_store
from tests.fakes.published_study import START_S, FakeRun, FakeStudy

KNN = "knn-test-1a2b3c4d"
LATER_S = START_S + 1e6


@pytest.fixture
def study(home: HomePaths) -> FakeStudy:
    return FakeStudy(home)


@pytest.fixture
def tracker() -> MemoryTracker:
    return MemoryTracker()


def superseded(tracker: MemoryTracker, run: FakeRun) -> dict[str, MemoryRun]:
    """The tracked runs that are out of date, by reason."""
    found = [r for r in tracker.runs.values() if r.key == run.spec.run_id and "study.superseded" in r.tags]
    return {r.tags["study.superseded"]: r for r in found}


def the_folder_was_moved_aside(study: FakeStudy, run: FakeRun) -> str:
    """As the command `redo` does."""
    shutil.move(run.paths.root, study.home.root / "aside")
    study.add_run(start_s=LATER_S).finish(num_steps=3, weights="new")
    return "the run was trained anew"


def everything_but_the_record_was_removed(study: FakeStudy, run: FakeRun) -> str:
    record = run.paths.published.read_bytes()
    shutil.rmtree(run.paths.root)
    study.add_run(start_s=LATER_S).finish(num_steps=3, weights="new")
    run.paths.published.write_bytes(record)
    return "the run was trained anew"


def the_weights_were_replaced(study: FakeStudy, run: FakeRun) -> str:
    run.paths.trained.unlink()
    write_json(run.paths.trained, {"attempt": 1, "step": 8, "weights_sha256": "new"})
    return "its weights were replaced"


def the_weights_were_replaced_and_the_record_is_lost(study: FakeStudy, run: FakeRun) -> str:
    run.paths.published.unlink()
    return the_weights_were_replaced(study, run)


def it_was_evaluated_anew(study: FakeStudy, run: FakeRun) -> str:
    file = run.paths.evaluations / f"{KNN}.json"
    content = read_json(file)
    file.unlink()
    write_json(file, {**content, "t": LATER_S, "metrics": {"top1": 99.0}})
    return f"its evaluation {KNN} was made anew, or removed"


@pytest.mark.parametrize(
    "change",
    [
        the_folder_was_moved_aside, everything_but_the_record_was_removed, the_weights_were_replaced,
        the_weights_were_replaced_and_the_record_is_lost, it_was_evaluated_anew,
    ],
)  # fmt: skip
def test_new_results_get_a_tracked_run_of_their_own(
    study: FakeStudy, tracker: MemoryTracker, change: Callable[[FakeStudy, FakeRun], str]
) -> None:
    run = study.add_run().finish(weights="old")
    publish(study.home, "small", tracker)
    old = tracker.by_key(run.spec.run_id)
    rows = list(old.rows)
    why = change(study, run)
    summary = publish(study.home, "small", tracker)
    assert summary.notes == [f"{run.spec.run_id}: {why}; the tracked run of before is marked as superseded"]
    assert superseded(tracker, run) == {why: old}
    assert old.rows == rows
    new = tracker.by_key(run.spec.run_id)
    expected = MemoryTracker()
    for file in study.home.root.rglob("published.json"):
        file.unlink()
    publish(study.home, "small", expected)
    assert new.rows == expected.by_key(run.spec.run_id).rows
    assert new.parent == old.parent
    assert publish(study.home, "small", tracker).notes == []
    assert len([r for r in tracker.runs.values() if r.key == run.spec.run_id]) == 2


def test_from_the_moment_that_the_new_run_waits(study: FakeStudy, tracker: MemoryTracker) -> None:
    """Nothing that was trained is told of it any more."""
    run = study.add_run().finish()
    publish(study.home, "small", tracker)
    shutil.rmtree(run.paths.root)
    again = study.add_run(start_s=LATER_S)
    publish(study.home, "small", tracker)
    assert tracker.by_key(run.spec.run_id).rows == []
    assert tracker.by_key(run.spec.run_id).status is RunStatus.SCHEDULED
    again.finish(num_steps=3)
    publish(study.home, "small", tracker)
    assert list(tracker.by_key(run.spec.run_id).values("train/metric_0")) == [1, 2, 3]
    assert len(tracker.runs) == 3


def test_a_run_of_earlier_code_that_was_trained_anew(study: FakeStudy, tracker: MemoryTracker) -> None:
    """Its tags tell when its training began."""
    run = study.add_run().finish()
    publish(study.home, "small", tracker)
    old = tracker.by_key(run.spec.run_id)
    for tag in ("study.home", "study.weights", "study.sent"):
        old.tags.pop(tag, None)
    shutil.rmtree(run.paths.root)
    study.add_run(start_s=LATER_S).finish(num_steps=3)
    publish(study.home, "small", tracker)
    assert list(superseded(tracker, run)) == ["the run was trained anew"]


def test_more_attempts_and_evaluations_are_the_same_run(study: FakeStudy, tracker: MemoryTracker) -> None:
    run = study.add_run()
    first = run.attempt(KNN).steps(1, 4).checkpoint(4)
    publish(study.home, "small", tracker)
    first.event("failed", kind="error", message="so it goes")
    publish(study.home, "small", tracker)
    assert tracker.by_key(run.spec.run_id).tags["study.failure"] == "error: so it goes"
    run.attempt(KNN, resumed_step=4).steps(5, 8).trained(8, "weights").event("finished")
    run.evaluate(KNN, {"top1": 50.0})
    publish(study.home, "small", tracker)
    tracked = tracker.by_key(run.spec.run_id)
    assert "study.failure" not in tracked.tags, "it is about an earlier attempt"
    assert list(tracked.values("train/metric_0")) == list(range(1, 9))
    assert len(tracker.runs) == 2


def test_a_verdict_is_news(study: FakeStudy, tracker: MemoryTracker) -> None:
    run = study.add_run()
    attempt = run.attempt(KNN)
    publish(study.home, "small", tracker)
    assert tracker.by_key(run.spec.run_id).status is RunStatus.RUNNING
    write_json(attempt.paths.verdict, Ending(EndKind.NODE_LOST, "so it goes").as_json())
    publish(study.home, "small", tracker)
    assert tracker.by_key(run.spec.run_id).status is RunStatus.KILLED
    assert '"interruptions": "node lost"' in tracker.by_key(run.spec.run_id).tags["study.outcome"]


def test_readers_see_the_new_results_alone(stored_home: HomePaths) -> None:
    study, store = FakeStudy(stored_home), own_store(stored_home)
    run = study.add_run().finish()
    store.publish(study.home)
    old = store.runs()[run.spec.run_id]
    shutil.rmtree(run.paths.root)
    again = study.add_run(start_s=LATER_S)
    again.attempt(KNN).steps(1, 3, metrics={"train/metric_0": -1.0}).trained(3).event("finished")
    again.evaluate(KNN, {"top1": 99.0})
    store.publish(study.home)
    run_id = run.spec.run_id
    assert store.history(store.runs()[run_id], "train/metric_0") == dict.fromkeys((1, 2, 3), -1.0)
    assert store.runs()[run_id].data.metrics["test/knn/top1"] == 99.0
    assert store.client.get_run(old.info.run_id).data.metrics["test/knn/top1"] == 50.0
    assert store.client.get_run(old.info.run_id).info.run_name.startswith(f"{run_id} (superseded")
    assert load_study(Published("small", store.uri)).everything["run_id"].tolist() == [run_id]
