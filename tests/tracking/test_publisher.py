"""One pass of the publisher, with a tracker in memory: what is said, when, and what is left alone."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.errors import HomeError
from study.journal.files import read_json, write_json, write_text
from study.paths import HomePaths
from study.plan.model import Confirm
from study.tracking.base import RunStatus, TrackerError
from study.tracking.publisher import publish
from study.tracking.store import store_uri
from tests.fakes.memory_tracker import MemoryTracker
from tests.fakes.published_study import START_S, FakeStudy, small_plan

KNN = "knn-test-1a2b3c4d"


@pytest.fixture
def study(home: HomePaths) -> FakeStudy:
    return FakeStudy(home)


@pytest.fixture
def tracker() -> MemoryTracker:
    return MemoryTracker()


def test_a_finished_run_is_told_completely(study: FakeStudy, tracker: MemoryTracker) -> None:
    run = study.add_run()
    run.finish(num_steps=3)
    summary = publish(study.home, "small", tracker)

    tracked = tracker.by_key(run.spec.run_id)
    assert (summary.num_published, summary.num_metrics, summary.problems) == (1, 7, [])
    assert tracked.experiment == "small"
    assert tracked.start_ms == int((START_S + 100) * 1000)
    assert tracked.values("train/metric_1") == {1: 2.0, 2: 3.0, 3: 4.0}
    assert tracked.rows[0].timestamp_ms == int((START_S + 100.1) * 1000)
    assert tracked.values("test/knn/top1") == {3: 50.0}
    assert tracked.rows[-1].timestamp_ms == int((START_S + 500) * 1000)
    assert tracked.params["optimizer.lr"] == "0.001"
    assert tracked.params["criterion.params.entropy_weight"] == "0.5"
    outcome = json.loads(tracked.tags.pop("study.outcome"))
    assert tracked.tags.pop("study.home") == read_json(study.home.identity)["id"]
    assert tracked.tags.pop("study.sent") == read_json(run.paths.published)["sent"]
    assert outcome["is_trained"] and outcome["num_attempts"] == 1
    assert outcome["commit"] == "abc123"
    assert tracked.tags == {
        "study.study": "small",
        "study.arm": "e2mc",
        "study.phase": "confirm",
        "study.base_seed": "1",
        "study.continuation_seed": "1",
        "study.identity": run.spec.identity,
        "study.num_attempts": "1",
        "study.commit": "abc123",
    }
    assert tracked.artifacts == {"spec.json": run.paths.spec.read_bytes()}
    assert tracked.status is RunStatus.FINISHED
    assert read_json(run.paths.published)["step"] == 3


def test_the_study_is_the_parent(study: FakeStudy, tracker: MemoryTracker) -> None:
    run = study.add_run()
    publish(study.home, "small", tracker)
    (parent_id,) = [name for name, known in tracker.runs.items() if known.key == "small"]
    parent = tracker.runs[parent_id]
    assert tracker.by_key(run.spec.run_id).parent == parent_id
    assert parent.params["question"] == "Does it help?"
    assert parent.params["arms"] == '["continued", "e2mc"]'
    assert "confirm.base_seeds" not in parent.params  # seeds may be added, and parameters cannot change
    assert parent.tags["study.confirm.base_seeds"] == "[1, 2]"
    assert sorted(parent.artifacts) == ["plan.json", "plan.yaml"]
    assert parent.status is RunStatus.RUNNING

    write_json(study.paths.finished, {})
    publish(study.home, "small", tracker)
    assert tracker.by_key("small").status is RunStatus.FINISHED
    assert tracker.by_key("small").end_ms > 0


def test_report_files_are_sent_whenever_they_change(study: FakeStudy, tracker: MemoryTracker) -> None:
    publish(study.home, "small", tracker)
    parent = tracker.by_key("small")
    (study.paths.report / "figures").mkdir(parents=True)
    figure = study.paths.report / "figures" / "effects.svg"
    for content in ("one", "two"):
        write_text(figure, content)
        (figure.parent / ".effects.svg.x.tmp").touch()
        tracker.calls.clear()
        publish(study.home, "small", tracker)
        publish(study.home, "small", tracker)
        assert tracker.calls.count("log_artifact") == 1
        assert parent.artifacts["report/figures/effects.svg"] == content.encode()
    assert len(parent.artifacts) == 3


def test_bases_of_the_study_have_an_experiment_of_their_own(study: FakeStudy, tracker: MemoryTracker) -> None:
    base = study.add_base(base_seed=1)
    base.attempt().steps(1, 4).trained(4).event("finished")
    study.add_base(base_seed=77)  # another study's
    publish(study.home, "small", tracker)
    tracked = tracker.by_key(base.spec.run_id)
    assert (tracked.experiment, tracked.parent, tracked.status) == ("bases", None, RunStatus.FINISHED)
    assert tracked.tags["study.phase"] == "prepare"
    assert len(tracker.runs) == 2


def test_a_second_pass_changes_nothing_and_reads_no_journal(study: FakeStudy, tracker: MemoryTracker) -> None:
    runs = [study.add_run(base_seed=seed).finish() for seed in (1, 2)]
    publish(study.home, "small", tracker)
    before = dict(tracker.runs)
    tracker.calls.clear()
    content = runs[0].paths.attempt(1).events.read_bytes()
    runs[0].paths.attempt(1).events.write_bytes(b"\n" * len(content))  # damaged, but not looked at
    summary = publish(study.home, "small", tracker)
    assert (summary.num_published, summary.num_unchanged, summary.problems) == (0, 2, [])
    writes = {"create_run", "restore_run", "delete_run", "set_tags", "set_status"}
    assert not [call for call in tracker.calls if call in writes or call.startswith("log_")]
    assert len(tracker.calls) <= 6  # however many runs there are
    assert tracker.runs == before


def test_provisional_steps_wait_for_a_checkpoint(study: FakeStudy, tracker: MemoryTracker) -> None:
    """Steps above the last checkpoint are done again by the next attempt, and published once."""
    run = study.add_run()
    first = run.attempt(KNN).steps(1, 4).checkpoint(4).steps(5, 7, metrics={"train/metric_0": -1.0})

    def values() -> dict[int, float]:
        publish(study.home, "small", tracker)
        return tracker.by_key(run.spec.run_id).values("train/metric_0")

    assert list(values()) == [1, 2, 3, 4]
    first.event("stopped", reason="preempted")
    assert list(values()) == [1, 2, 3, 4]
    second = run.attempt(KNN, resumed_step=4).steps(5, 8)
    assert list(values()) == [1, 2, 3, 4]
    second.trained(8)
    assert values() == {step: float(step) for step in range(1, 9)}
    assert tracker.by_key(run.spec.run_id).tags["study.num_attempts"] == "2"


def test_status_follows_the_attempts(study: FakeStudy, tracker: MemoryTracker) -> None:
    run = study.add_run()

    def status() -> RunStatus:
        publish(study.home, "small", tracker)
        return tracker.by_key(run.spec.run_id).status

    assert status() is RunStatus.SCHEDULED
    first = run.attempt(KNN)
    assert status() is RunStatus.RUNNING
    first.event("stopped", reason="preempted")
    assert status() is RunStatus.KILLED
    second = run.attempt(KNN)
    assert status() is RunStatus.RUNNING
    second.event("failed", kind="diverged", message="step 3: the loss is not finite")
    assert status() is RunStatus.FAILED
    failure = tracker.by_key(run.spec.run_id).tags["study.failure"]
    assert failure == "diverged: step 3: the loss is not finite"

    third = run.attempt(KNN).trained(8)
    assert status() is RunStatus.RUNNING
    third.event("finished")
    assert status() is RunStatus.RUNNING  # its evaluation is missing
    run.evaluate(KNN, {"top1": 50.0})
    assert status() is RunStatus.FINISHED


def test_an_evaluation_that_the_plan_gained_is_added(study: FakeStudy, tracker: MemoryTracker) -> None:
    run = study.add_run().finish()
    publish(study.home, "small", tracker)
    attempt = run.attempt("probe-test-00000000")
    run.evaluate("probe-test-00000000", {"top1_1pct": 70.0, "top1_10pct": 80.0})
    attempt.event("finished")
    summary = publish(study.home, "small", tracker)
    assert summary.num_metrics == 2
    tracked = tracker.by_key(run.spec.run_id)
    assert tracked.values("test/probe/top1_1pct") == {8: 70.0}
    assert tracked.status is RunStatus.FINISHED


@pytest.mark.parametrize(
    "method", ["find_runs", "create_run", "log_params", "log_metrics", "set_tags", "log_artifact", "set_status"]
)
@pytest.mark.parametrize("is_done", [False, True])
def test_a_pass_that_is_killed_anywhere_is_made_good(
    study: FakeStudy, tracker: MemoryTracker, monkeypatch: pytest.MonkeyPatch, method: str, is_done: bool
) -> None:
    """The third call of each method dies, before or after it had its effect."""
    for seed in (1, 2, 3):
        study.add_run(base_seed=seed).finish()
    write_json(study.paths.finished, {})
    expected = MemoryTracker()
    publish(study.home, "small", expected)
    for file in study.home.root.rglob("published.json"):
        file.unlink()

    original = getattr(tracker, method)
    num_calls = 0

    def dies(*arguments: Any, **keywords: Any) -> Any:
        nonlocal num_calls
        num_calls += 1
        if num_calls == 3 and not is_done:
            raise KeyboardInterrupt
        result = original(*arguments, **keywords)
        if num_calls == 3:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(tracker, method, dies)
    with pytest.raises(KeyboardInterrupt):
        publish(study.home, "small", tracker)
    publish(study.home, "small", tracker)
    assert {r.key: r for r in tracker.runs.values()} == {r.key: r for r in expected.runs.values()}


def test_lost_records_make_no_duplicates(study: FakeStudy, tracker: MemoryTracker) -> None:
    run = study.add_run().finish()
    publish(study.home, "small", tracker)
    num_rows = len(tracker.by_key(run.spec.run_id).rows)
    run.paths.published.unlink()
    write_text(study.paths.published, "{torn")
    publish(study.home, "small", tracker)
    assert len(tracker.runs) == 2
    assert len(tracker.by_key(run.spec.run_id).rows) == num_rows


def test_a_wiped_store_gets_everything_again(study: FakeStudy, tracker: MemoryTracker) -> None:
    run = study.add_run().finish()
    publish(study.home, "small", tracker)
    before = {r.key: r.rows for r in tracker.runs.values()}
    tracker.wipe()
    assert publish(study.home, "small", tracker).num_published == 1
    assert {r.key: r.rows for r in tracker.runs.values()} == before
    assert tracker.by_key(run.spec.run_id).artifacts


def test_a_run_that_the_store_lost_is_published_again(study: FakeStudy, tracker: MemoryTracker) -> None:
    """An older copy of the store was restored: it is the same store, without the newest runs."""
    run = study.add_run()
    attempt = run.attempt(KNN).steps(1, 2).checkpoint(2)
    publish(study.home, "small", tracker)
    (lost,) = [name for name, known in tracker.runs.items() if known.key == run.spec.run_id]
    del tracker.runs[lost]
    attempt.steps(3, 4).checkpoint(4)
    publish(study.home, "small", tracker)
    assert list(tracker.by_key(run.spec.run_id).values("train/metric_0")) == [1, 2, 3, 4]


def test_one_bad_run_does_not_hold_up_the_others(study: FakeStudy, tracker: MemoryTracker) -> None:
    damaged, rejected, senseless, good = (study.add_run(base_seed=seed).finish() for seed in (1, 2, 3, 4))
    with damaged.paths.attempt(1).events.open("a") as file:
        file.write("garbage\n")
    tracker.rejects.add(rejected.spec.run_id)
    write_json(senseless.paths.evaluations / f"{KNN}.json", {"metrics": {"top1": 1.0}})
    summary = publish(study.home, "small", tracker)
    assert summary.num_published == 1
    assert tracker.by_key(good.spec.run_id).status is RunStatus.FINISHED
    errors = [problem.split(": ")[1] for problem in summary.problems]
    assert errors == ["JournalError", "RejectedError", "KeyError"]
    tracker.rejects.clear()
    assert publish(study.home, "small", tracker).num_published == 1


def test_a_tracker_that_is_down_ends_the_pass(study: FakeStudy, tracker: MemoryTracker) -> None:
    study.add_run().finish()
    tracker.is_down = True
    with pytest.raises(TrackerError, match="down"):
        publish(study.home, "small", tracker)


def test_a_pass_can_be_interrupted_between_runs(study: FakeStudy, tracker: MemoryTracker) -> None:
    for seed in (1, 2, 3):
        study.add_run(base_seed=seed).finish()
    answers = iter([False, False, True])
    summary = publish(study.home, "small", tracker, interrupted=lambda: next(answers))
    assert (summary.num_published, summary.is_complete) == (2, False)
    assert publish(study.home, "small", tracker).num_published == 1


def test_only_one_publisher_works_at_a_time(study: FakeStudy, tracker: MemoryTracker) -> None:
    study.add_run().finish()
    handle = os.open(study.paths.root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert not publish(study.home, "small", tracker).is_complete
        assert tracker.runs == {}
    finally:
        os.close(handle)
    assert publish(study.home, "small", tracker).is_complete


def test_a_study_without_a_plan_has_nothing_to_publish(home: HomePaths, tracker: MemoryTracker) -> None:
    assert not publish(home, "small", tracker).is_complete
    assert tracker.calls == []


def test_values_that_are_no_numbers_are_left_out(study: FakeStudy, tracker: MemoryTracker) -> None:
    run = study.add_run()
    attempt = run.attempt()
    attempt.event("step", step=1, metrics={"a": math.nan, "b": math.inf, "c": None, "d": "text", "e": 1})
    attempt.checkpoint(1)
    publish(study.home, "small", tracker)
    assert [row.key for row in tracker.by_key(run.spec.run_id).rows] == ["a", "b", "e"]


def test_the_store_is_embedded_unless_the_environment_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store_uri(HomePaths(tmp_path)) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.chdir(tmp_path)
    assert store_uri(HomePaths(Path("x"))) == f"sqlite:///{tmp_path}/x/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert store_uri(HomePaths(tmp_path)) == "http://host:5000"


def test_records_of_earlier_code_are_read_on_from(study: FakeStudy, tracker: MemoryTracker) -> None:
    """Nothing is sent twice, and what has no news is left alone."""
    finished, run = study.add_run(base_seed=1).finish(), study.add_run(base_seed=2)
    attempt = run.attempt(KNN).steps(1, 4).checkpoint(4)
    publish(study.home, "small", tracker)
    for paths, seen in ((finished.paths, "1:10:{} trained " + KNN), (run.paths, "1:10:{}")):
        size = paths.attempt(1).events.stat().st_size
        content = read_json(paths.published) | {"seen": seen.format(size)}
        old = ("store", "tracked_run", "seen", "step", "status", "schema_version")
        content = {name: content[name] for name in old} | {"evaluations": list(content["evaluations"]), "artifacts": {}}
        write_json(paths.published, content)
        tracker.runs[content["tracked_run"]].tags.pop("study.sent")
    study.paths.published.write_text(json.dumps({
        name: value for name, value in read_json(study.paths.published).items()
        if name in ("store", "tracked_run", "artifacts", "status", "schema_version")
    }))  # fmt: skip
    summary = publish(study.home, "small", tracker)
    assert (summary.num_published, summary.num_metrics, summary.remarks()) == (0, 0, [])
    attempt.steps(5, 6).checkpoint(6)
    assert publish(study.home, "small", tracker).num_metrics == 4
    assert list(tracker.by_key(run.spec.run_id).values("train/metric_0")) == [1, 2, 3, 4, 5, 6]


def test_a_study_with_very_many_seeds_is_not_news_in_every_pass(home: HomePaths, tracker: MemoryTracker) -> None:
    seeds = tuple(range(1, 5001))
    FakeStudy(home, replace(small_plan(), confirm=Confirm(seeds, (1,))))
    publish(home, "small", tracker)
    assert len(tracker.by_key("small").tags["study.confirm.base_seeds"]) == 5000
    tracker.calls.clear()
    publish(home, "small", tracker)
    assert "set_tags" not in tracker.calls


def test_a_copy_of_a_runs_folder_is_no_run(study: FakeStudy, tracker: MemoryTracker) -> None:
    run = study.add_run().finish()
    shutil.copytree(run.paths.root, run.paths.root.with_name(f"{run.paths.root.name}.before"))
    other = study.paths.run("e2mc-b9-c1-0123456789ab")
    shutil.copytree(run.paths.root, other.root)
    summary = publish(study.home, "small", tracker)
    assert summary.num_published == 1
    assert summary.problems == [f"{other.root}: ValueError: the folder holds the run {run.spec.run_id}; move it away"]


def test_a_copy_of_a_study_is_refused(study: FakeStudy, tracker: MemoryTracker) -> None:
    shutil.copytree(study.paths.root, study.home.root / "copy")
    with pytest.raises(HomeError, match="copy holds study 'small'"):
        publish(study.home, "copy", tracker)


def test_a_position_that_the_tracker_does_not_understand_any_more(study: FakeStudy, tracker: MemoryTracker) -> None:
    for seed in (1, 2, 3):
        study.add_run(base_seed=seed).finish()
    for _ in range(2):
        publish(study.home, "small", tracker)
    content = read_json(study.paths.published)
    content["census"]["token"] = "of an earlier version"
    write_json(study.paths.published, content)
    summary = publish(study.home, "small", tracker)
    assert (summary.num_published, summary.has_arrived) == (0, True)
    assert read_json(study.paths.published)["census"]["token"] != "of an earlier version"
