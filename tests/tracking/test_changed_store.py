"""What happens to a store behind our back is noticed by the next pass, and made good."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.frames import Published, load_study
from study.cli.manage import main
from study.journal.files import write_text
from study.paths import HomePaths
from study.plan.model import Confirm
from study.tracking.base import TrackerError
from study.tracking.follow import follow
from study.tracking.mlflow_tracker import MlflowTracker
from study.tracking.publisher import Publisher
from tests.fakes.folders import times_of
from tests.fakes.memory_tracker import MemoryTracker
from tests.fakes.mlflow_server import Server, wait_until
from tests.fakes.mlflow_store import contents
from tests.fakes.mlflow_view import Store, own_store, study_in
from tests.fakes.published_study import START_S, FakeStudy, home_in, small_plan


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> tuple[Path, Path]:
    """A home with a study of two runs and a base, all published; and a copy of it."""
    home = home_in(tmp_path_factory.mktemp("published"))
    home.root.mkdir()
    shutil.copyfile(empty_store, home.mlflow_db)
    study = study_of(home)
    for seed in (1, 2):
        study.add_run(base_seed=seed).finish()
    study.add_base(base_seed=1).finish()
    assert own_store(home).publish(home).num_published == 3
    copy = home.root.with_name("copy")
    shutil.copytree(home.root, copy)
    return home.root, copy


@pytest.fixture
def study(published: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> FakeStudy:
    """A study with two runs and a base, all published; at the same place for every test, as artifacts must be."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root, copy = published
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(copy, root)
    return study_of(HomePaths(root))


def study_of(home: HomePaths) -> FakeStudy:
    """Its plan is of the same time whenever it is written: the study's run starts then."""
    study = FakeStudy(home)
    os.utime(study.paths.plan, (START_S, START_S))
    return study


@pytest.fixture
def store(study: FakeStudy) -> Store:
    return own_store(study.home)


def run_ids(study: FakeStudy) -> list[str]:
    return sorted(run.root.name for run in study.paths.existing_runs())


def remove_for_good(store: Store, study: FakeStudy, run: str) -> None:
    """What `mlflow gc` does with a deleted run; the real command takes seconds, see the last test."""
    store.client.delete_run(run)
    store.client._tracking_client.store._hard_delete_run(run)
    shutil.rmtree(study.home.mlartifacts / run / "artifacts")


def delete_the_parent(store: Store, study: FakeStudy) -> str:
    store.client.delete_run(store.runs()["small"].info.run_id)
    return "the study's own run had been deleted in MLflow, and was restored"


def delete_a_run(store: Store, study: FakeStudy) -> str:
    key = run_ids(study)[0]
    store.client.delete_run(store.runs()[key].info.run_id)
    return f"missing in MLflow, and published anew: {key}"


def delete_a_base(store: Store, study: FakeStudy) -> str:
    ((key, run),) = store.runs("bases").items()
    store.client.delete_run(run.info.run_id)
    return f"missing in MLflow, and published anew: {key}"


def delete_everything_by_hand(store: Store, study: FakeStudy) -> str:
    for run in store.all_runs():
        store.client.delete_run(run.info.run_id)
    return f"missing in MLflow, and published anew: {', '.join(run_ids(study))}"


def remove_a_run_for_good(store: Store, study: FakeStudy) -> str:
    key = run_ids(study)[1]
    remove_for_good(store, study, store.runs()[key].info.run_id)
    return f"missing in MLflow, and published anew: {key}"


def remove_the_parent_for_good(store: Store, study: FakeStudy) -> str:
    remove_for_good(store, study, store.runs()["small"].info.run_id)
    return "the study's own run was missing in MLflow, and was published anew"


def remove_the_rows_of_a_run(store: Store, study: FakeStudy) -> str:
    """Its artifacts stay: nothing but the number of runs tells."""
    key = run_ids(study)[0]
    run = store.runs()[key].info.run_id
    with sqlite3.connect(study.home.mlflow_db) as connection:
        for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
            connection.execute(f"delete from {table} where run_uuid = ?", (run,))
    return f"missing in MLflow, and published anew: {key}"


def delete_artifacts(store: Store, study: FakeStudy) -> str:
    shutil.rmtree(study.home.mlartifacts)
    return "missing in MLflow, and attached anew: plan.json, plan.yaml, spec.json of "


def delete_one_artifact(store: Store, study: FakeStudy) -> str:
    next(study.home.mlartifacts.rglob("plan.yaml")).unlink()
    return "missing in MLflow, and attached anew: plan.yaml"


def delete_and_restore_the_experiment(store: Store, study: FakeStudy) -> str:
    experiment = store.client.get_experiment_by_name("small").experiment_id
    store.client.delete_experiment(experiment)
    store.client.restore_experiment(experiment)
    return ""


CHANGES = [
    delete_the_parent, delete_a_run, delete_a_base, delete_everything_by_hand, remove_a_run_for_good,
    remove_the_parent_for_good, remove_the_rows_of_a_run, delete_artifacts, delete_one_artifact,
    delete_and_restore_the_experiment,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_gone_is_published_anew(
    change: Callable[[Store, FakeStudy], str], store: Store, study: FakeStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(study.home)
    files = {key: store.files(run) for key, run in (store.runs() | store.runs("bases")).items()}
    said = change(store, study)
    assert main(["publish", "small", "--home", str(study.home.root)]) == 0
    out = capsys.readouterr().out
    assert said in out
    after = contents(study.home)
    after["tags"] = {row: n for row, n in after["tags"].items() if row[1] != "study.newest_event_s"}  # same either way
    before["tags"] = {row: n for row, n in before["tags"].items() if row[1] != "study.newest_event_s"}
    assert after == before
    found = {key: store.files(run) for key, run in (store.runs() | store.runs("bases")).items()}
    written = {"frames/runs.parquet", "frames/provenance.json"}  # by the command, not by the publisher
    assert {key: names - written for key, names in found.items()} == files
    assert store.below() == set(run_ids(study))
    summary = store.publish(study.home)
    assert (summary.num_published, summary.remarks(), summary.problems) == (0, [], [])


@pytest.mark.parametrize("change", [delete_the_parent, delete_a_base, remove_the_rows_of_a_run, delete_artifacts])
def test_a_follower_notices_too(change: Callable[[Store, FakeStudy], str], store: Store, study: FakeStudy) -> None:
    """A minute later, by a clock of our own."""
    now = [0.0]
    publisher = Publisher(study.home, "small", MlflowTracker(store.uri, study.home.mlartifacts), clock=lambda: now[0])
    assert publisher.publish().remarks() == []
    before = contents(study.home)
    said = change(store, study)
    now[0] = 61.0
    assert said in "\n".join(publisher.publish().remarks())
    assert contents(study.home) == before


def test_a_store_that_an_older_copy_took_the_place_of(study: FakeStudy, store: Store, tmp_path: Path) -> None:
    """The newer run is missing, and the older one is as it was then."""
    begun = study.add_run("continued", base_seed=1)
    attempt = begun.attempt("knn-test-1a2b3c4d").steps(1, 4).checkpoint(4)
    store.publish(study.home)
    shutil.copyfile(study.home.mlflow_db, tmp_path / "older.db")
    attempt.steps(5, 8).trained(8)
    newest = study.add_run("continued", base_seed=2).finish()
    store.publish(study.home)
    before = contents(study.home)

    study.home.mlflow_db.unlink()
    shutil.copyfile(tmp_path / "older.db", study.home.mlflow_db)
    summary = Store(store.uri).publish(study.home)
    assert set(summary.lost) == {begun.spec.run_id, newest.spec.run_id}
    assert contents(study.home) == before
    summary = Store(store.uri).publish(study.home)
    assert (summary.num_published, summary.remarks()) == (0, [])


def test_duplicates_that_come_back_with_their_experiment_are_told_apart(study: FakeStudy, store: Store) -> None:
    """Restoring an experiment restores every run of it, also the second one of a request that was repeated."""
    key, experiment = run_ids(study)[0], store.client.get_experiment_by_name("small").experiment_id
    original = store.runs()[key]
    tags = {name: original.data.tags[name] for name in ("mlflow.parentRunId", "study.home")}
    twin = store.client.create_run(experiment, 1, {**tags, "study.run_id": key}, key).info.run_id
    store.client.delete_run(twin)
    store.publish(study.home)
    store.client.delete_experiment(experiment)
    store.client.restore_experiment(experiment)
    store.publish(study.home)
    assert store.runs()[key].info.run_id == original.info.run_id
    assert "another tracked run" in store.client.get_run(twin).data.tags["study.superseded"]


def test_a_deleted_experiment_is_refused_with_what_to_type(
    study: FakeStudy, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = store.client.get_experiment_by_name("small").experiment_id
    store.client.delete_experiment(experiment)
    assert main(["publish", "small", "--home", str(study.home.root)]) == 2
    advice = f"MLFLOW_TRACKING_URI={store.uri} mlflow experiments restore --experiment-id {experiment}"
    assert advice in capsys.readouterr().err
    store.client.restore_experiment(experiment)
    assert store.publish(study.home).has_arrived


def test_a_moved_home_never_writes_to_the_old_place(study: FakeStudy, tmp_path: Path) -> None:
    old = study.home.root
    old.rename(tmp_path / "moved")
    moved = FakeStudy(HomePaths(tmp_path / "moved"))
    (moved.paths.report).mkdir()
    write_text(moved.paths.report / "report.html", "news")
    store = own_store(moved.home)
    summary = store.publish(moved.home)
    assert f"artifacts of experiment 'small' lay in {old}/mlartifacts, which is not in this home" in summary.notes[0]
    assert not old.exists()
    assert store.files(store.runs()["small"]) == {"plan.json", "plan.yaml", "report/report.html"}
    assert store.below() == set(run_ids(moved))
    kept = f"small (experiment 1, artifacts in {old}/mlartifacts)"
    assert kept in store.experiments()
    assert len(store.all_runs(kept)) == 3
    assert store.files(store.runs("bases").popitem()[1]) == {"spec.json"}
    summary = store.publish(moved.home)
    assert (summary.num_published, summary.remarks(), summary.problems) == (0, [], [])
    assert not old.exists()
    assert len(load_study(Published("small", store.uri)).everything) == 2


def test_a_home_that_another_machine_sees_elsewhere_keeps_its_experiment(
    study: FakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very same folder, which is somewhere else for this machine; artifacts come to lie in it all the same."""
    old = study.home.root
    own_store(study.home).publish(study.home)
    old.rename(tmp_path / "mounted here")
    monkeypatch.setattr("socket.gethostname", lambda: "another machine")
    there = FakeStudy(HomePaths(tmp_path / "mounted here"))
    there.paths.report.mkdir()
    write_text(there.paths.report / "report.html", "news")
    store = own_store(there.home)
    assert store.publish(there.home).remarks() == []
    assert not old.exists()
    assert store.experiments() == ["Default", "bases", "small"]
    monkeypatch.undo()
    (tmp_path / "mounted here").rename(old)
    assert "report/report.html" in store.files(own_store(study.home).runs()["small"])


def test_a_copied_home_with_its_own_store_leaves_the_original_alone(study: FakeStudy, tmp_path: Path) -> None:
    original = times_of(study.home.root)
    shutil.copytree(study.home.root, tmp_path / "copy")
    copy = FakeStudy(HomePaths(tmp_path / "copy"))
    copy.paths.report.mkdir()
    write_text(copy.paths.report / "report.html", "news")
    store = own_store(copy.home)
    summary = store.publish(copy.home)
    assert summary.experiment == "small"
    assert f"this home is a copy of {study.home.root}" in "\n".join(summary.notes)
    assert times_of(study.home.root) == original
    assert "report/report.html" in store.files(store.runs()["small"])
    assert store.publish(copy.home).num_published == 0


def test_a_lost_identity_costs_nothing_in_the_homes_own_store(study: FakeStudy, store: Store) -> None:
    ids = {run.info.run_id for run in store.all_runs()}
    study.home.identity.unlink()
    assert store.publish(study.home).foreign == ""
    assert {run.info.run_id for run in store.all_runs()} == ids
    assert set(contents(study.home)["metrics"].values()) == {1}
    assert store.publish(study.home).num_published == 0


def test_runs_that_others_put_below_the_study_are_left_alone(study: FakeStudy, store: Store) -> None:
    experiment = store.client.get_experiment_by_name("small").experiment_id
    parent = store.runs()["small"].info.run_id
    by_hand = store.client.create_run(experiment, tags={"mlflow.parentRunId": parent}, run_name="a try").info.run_id
    for _ in range(2):
        summary = store.publish(study.home)
        assert (summary.num_published, summary.remarks(), summary.problems) == (0, [], [])
    run = store.client.get_run(by_hand)
    assert (run.info.lifecycle_stage, "study.superseded" in run.data.tags) == ("active", False)


def test_looking_at_every_run_is_bounded(home: HomePaths) -> None:
    """When others keep changing what is below the study: a tenth of the time, and nothing is said to have arrived."""
    study, tracker, now = FakeStudy(home), MemoryTracker(), [0.0]
    for seed in (1, 2, 3):
        study.add_run(base_seed=seed).finish()
    publisher = Publisher(home, "small", tracker, clock=lambda: now[0])
    publisher.publish()

    def members_take_a_second(method: str) -> None:
        now[0] += method == "members"

    tracker.before = members_take_a_second
    parent = next(name for name, run in tracker.runs.items() if run.key == "small")
    num_walks = []
    for number in range(40):
        tracker.runs[f"by hand {number}"] = replace(tracker.runs[parent], key="", parent=parent)
        now[0] += 60
        tracker.calls.clear()
        summary = publisher.publish()
        num_walks.append(tracker.calls.count("members"))
        if len(num_walks) > 1:
            assert summary.has_arrived == (num_walks[-1] > num_walks[0] - 1)
    assert sum(num_walks) < 40 * 60 / 10 * 2


def test_a_tracked_run_whose_folder_is_gone_is_marked(study: FakeStudy, store: Store) -> None:
    """A reader must not take it for a result of the study."""
    gone, kept = run_ids(study)
    shutil.move(study.paths.run(gone).root, study.home.root / "aside")
    summary = store.publish(study.home)
    assert summary.notes == [f"marked as superseded, because the home has no such run any more: {gone}"]
    assert store.below() == {kept}
    assert load_study(Published("small", store.uri)).everything["run_id"].tolist() == [kept]
    assert store.publish(study.home).remarks() == []

    shutil.move(study.home.root / "aside", study.paths.run(gone).root)  # a folder that was not mounted
    assert store.publish(study.home).lost == [gone]
    assert store.below() == {gone, kept}
    assert store.publish(study.home).num_published == 0


def test_seeds_that_are_added_are_shown(study: FakeStudy, store: Store) -> None:
    more = replace(small_plan(), confirm=Confirm((1, 2, 3), (1,)))
    FakeStudy(study.home, more)
    store.publish(study.home)
    (parent,) = [run for run in store.all_runs() if run.data.tags["study.run_id"] == "small"]
    assert parent.data.tags["study.confirm.base_seeds"] == "[1, 2, 3]"
    assert not [value for value in parent.data.params.values() if value == "[1, 2]"]


def test_a_parameter_of_earlier_code_that_is_out_of_date_is_not_left_there(study: FakeStudy, store: Store) -> None:
    """MLflow cannot change it: the study gets another run, and its runs come to lie below that one."""
    parent = store.runs()["small"].info.run_id
    store.client.log_param(parent, "confirm.base_seeds", "[1, 2]")
    assert store.publish(study.home).remarks() == []
    FakeStudy(study.home, replace(small_plan(), confirm=Confirm((1, 2, 3), (1,))))
    summary = store.publish(study.home)
    why = "the plan has another confirm.base_seeds"
    assert summary.notes == [f"the study's own run of before is marked as superseded: {why}"]
    assert store.runs()["small"].info.run_id != parent
    assert store.below() == set(run_ids(study))
    assert store.publish(study.home).num_published == 0


def test_a_plan_that_was_replaced_before_anything_was_trained(stored_home: HomePaths) -> None:
    store, study = own_store(stored_home), FakeStudy(stored_home)
    store.publish(stored_home)
    FakeStudy(stored_home, replace(small_plan(), reference="e2mc"))
    summary = store.publish(stored_home)
    assert "marked as superseded: the plan has another reference" in summary.notes[0]
    assert store.runs()["small"].data.params["reference"] == "e2mc"
    assert study.paths.published.exists()


def test_a_study_that_was_made_anew_is_not_mixed_with_the_old_one(study: FakeStudy, store: Store) -> None:
    old = store.runs()["small"].info.run_id
    shutil.rmtree(study.paths.root)
    again = FakeStudy(study.home)
    run = again.add_run(base_seed=1)
    summary = store.publish(study.home)
    assert summary.notes[0] == "the study's own run of before is marked as superseded: the study was made anew"
    assert store.runs()["small"].info.run_id != old
    assert store.below() == {run.spec.run_id}
    run.finish(num_steps=3)
    store.publish(study.home)
    assert len(store.history(store.runs()[run.spec.run_id], "train/metric_0")) == 3


def test_a_real_server_is_looked_after_in_the_same_way(server: Server, tmp_path: Path) -> None:
    """And homes may share its experiment of bases."""
    store = Store(server.uri)
    first, second = study_in(tmp_path / "a"), study_in(tmp_path / "b")
    for study, num_steps in ((first, 8), (second, 3)):
        study.add_run().finish(num_steps)
        study.add_base().finish(num_steps)
        assert store.publish(study.home).has_arrived
    assert store.experiments()[:2] == ["Default", "bases"]
    bases = store.all_runs("bases")
    assert sorted(len(store.history(run, "train/metric_0")) for run in bases) == [3, 8]

    (key,) = run_ids(first)
    store.client.delete_run(store.runs()[key].info.run_id)
    shutil.rmtree(next((server.folder / "artifacts").rglob("plan.yaml")).parent)
    shutil.rmtree(next(f for f in (server.folder / "artifacts").rglob("spec.json")
                       if bases[0].info.run_id in f.as_posix()).parent)  # fmt: skip
    summaries = [store.publish(study.home) for study in (first, second)]
    assert [summary.lost for summary in summaries] == [[key], []]
    assert sorted(name for summary in summaries for name in summary.reattached)[:2] == ["plan.json", "plan.yaml"]
    assert len([name for summary in summaries for name in summary.reattached if name.startswith("spec.json of")]) == 1
    for study in (first, second):
        summary = store.publish(study.home)
        assert (summary.num_published, summary.problems, summary.lost, summary.reattached) == (0, [], [], [])


def test_follow_says_once_what_it_made_good(study: FakeStudy, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    arguments = (study.home, "small", store.uri, stop.is_set, 0.02)
    thread = threading.Thread(target=follow, args=arguments, kwargs={"look_every_s": 0.0})
    thread.start()
    try:
        key = run_ids(study)[0]
        store.client.delete_run(store.runs()[key].info.run_id)
        wait_until(lambda: key in store.runs(), 60)
    finally:
        stop.set()
        thread.join(60)
    assert [record.getMessage() for record in caplog.records] == [f"missing in MLflow, and published anew: {key}"]


def test_nothing_is_said_to_be_complete_while_the_store_does_not_work(study: FakeStudy, store: Store) -> None:
    study.home.mlflow_db.write_bytes(b"no database")
    with pytest.raises(TrackerError):
        store.publish(study.home)


@pytest.mark.slow
def test_what_mlflow_gc_removed_is_published_anew(study: FakeStudy, store: Store) -> None:
    before = contents(study.home)
    for run in store.all_runs():
        store.client.delete_run(run.info.run_id)
    program = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", store.uri, "--tracking-uri", store.uri]
    subprocess.run(program, check=True, capture_output=True)
    assert len(Store(store.uri).client.search_runs(["1"], run_view_type=3)) == 0
    assert store.publish(study.home).lost == run_ids(study)
    assert contents(study.home) == before
