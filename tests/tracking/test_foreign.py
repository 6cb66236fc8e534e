"""Several homes, one store: nobody's results are touched by another, and everybody finds their own."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from study.journal.files import read_json, write_json
from study.paths import HomePaths
from study.tracking import progress
from study.tracking.base import TrackerError
from study.tracking.identity import identify
from study.tracking.reader import StudyReader
from tests.fakes.mlflow_store import query
from tests.fakes.mlflow_view import Store, own_store, study_in
from tests.fakes.published_study import FakeStudy, small_plan

OTHER = replace(small_plan(), question="Does something else help?")


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Store:
    """A store that lies in none of the homes."""
    file = tmp_path / "shared" / "mlflow.db"
    file.parent.mkdir()
    shutil.copyfile(empty_store, file)
    return Store(f"sqlite:///{file}")


def short(home: HomePaths) -> str:
    return str(read_json(home.identity)["id"])[:6]


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(file): (file.stat().st_mtime_ns, file.stat().st_size) for file in folder.rglob("*") if file.is_file()}


def test_two_homes_with_a_study_of_the_same_name_are_kept_apart(store: Store, tmp_path: Path) -> None:
    first, second = study_in(tmp_path / "a"), study_in(tmp_path / "b", plan=OTHER)
    ours, theirs = first.add_run("e2mc").finish(), second.add_run("e2mc").finish(num_steps=3)
    store.publish(first.home)
    before = store.runs()
    files = everything(first.home.root)

    summary = store.publish(second.home)
    kept_apart = f"small@{short(second.home)}"
    assert summary.experiment == kept_apart
    assert (
        f"experiment 'small' of this store belongs to home {tmp_path / 'a'} on {os.uname().nodename}" in summary.foreign
    )
    assert f"identity {short(first.home)}" in summary.foreign
    assert "newest result 2025-11-22 08:28 UTC" in summary.foreign
    said = summary.as_text("small", "sqlite:///x")
    assert f"python -m study report {kept_apart} --from sqlite:///x" in said
    assert everything(first.home.root) == files, "the other home's artifacts are its own"
    assert f"this study is experiment '{kept_apart}'" in progress.kept_apart(second.paths)
    assert progress.kept_apart(first.paths) == ""

    for _ in range(2):  # and it stays so
        for study, experiment, run, num_steps in ((first, "small", ours, 8), (second, kept_apart, theirs, 3)):
            summary = store.publish(study.home)
            assert (summary.num_published, summary.problems, summary.experiment) == (0, [], experiment)
            assert bool(summary.foreign) == (study is second)
            found = store.runs(experiment)
            assert found["small"].data.params["question"] == study.plan.question
            assert store.below(experiment) == {run.spec.run_id}
            assert len(store.history(found[run.spec.run_id], "train/metric_0")) == num_steps
            assert f"{study.home.root}/mlartifacts/" in found["small"].info.artifact_uri
            assert store.files(found["small"]) >= {"plan.json", "plan.yaml"}
    after = store.runs()
    assert {key: run.data.to_dictionary() for key, run in after.items()} == {
        key: run.data.to_dictionary() for key, run in before.items()
    }


def test_equal_bases_of_two_homes_are_two_runs(store: Store, tmp_path: Path) -> None:
    """Where a server decides where artifacts go, in one experiment."""
    studies = [study_in(tmp_path / name) for name in "ab"]
    bases = [study.add_base().finish(num_steps) for study, num_steps in zip(studies, (3, 8), strict=True)]
    assert bases[0].spec.run_id == bases[1].spec.run_id
    for study in (*studies, *studies):
        assert not store.publish(study.home).problems
    assert store.experiments()[:2] == ["Default", "bases"]
    apart = f"bases@{short(studies[1].home)}"  # the artifacts of the other one lie in the first home
    for study, experiment, num_steps in ((studies[0], "bases", 3), (studies[1], apart, 8)):
        (run,) = store.runs(experiment).values()
        assert run.data.tags["study.home"] == read_json(study.home.identity)["id"]
        assert len(store.history(run, "train/metric_0")) == num_steps


def test_the_reader_names_the_studies_that_there_are(store: Store, tmp_path: Path) -> None:
    first, second = study_in(tmp_path / "a"), study_in(tmp_path / "b", plan=OTHER)
    runs = [study.add_run("e2mc", base_seed=seed).finish() for seed, study in ((1, first), (2, second))]
    store.publish(first.home)
    assert [run.key for run in StudyReader(store.uri, "small").runs()] == [runs[0].spec.run_id]
    store.publish(second.home)
    with pytest.raises(TrackerError, match="more than one study 'small'") as caught:
        StudyReader(store.uri, "small")
    for study, run in zip((first, second), runs, strict=True):
        name = f"small@{short(study.home)}"
        assert f"  {name}: experiment" in str(caught.value)
        assert f"home {study.home.root} on" in str(caught.value)
        reader = StudyReader(store.uri, name)
        assert [found.key for found in reader.runs()] == [run.spec.run_id]
        assert json.loads(reader.attachment("plan.json") or b"")["question"] == study.plan.question
    with pytest.raises(TrackerError, match="no such study 'small'"):
        StudyReader(store.uri, "small@ffffff")


def test_a_home_that_is_opened_under_another_path_goes_on_with_its_own(store: Store, tmp_path: Path) -> None:
    study = study_in(tmp_path / "a")
    study.add_run(base_seed=1).finish()
    store.publish(study.home)
    (tmp_path / "mounted").symlink_to(tmp_path / "a")
    elsewhere = FakeStudy(HomePaths(tmp_path / "mounted"))
    elsewhere.add_run(base_seed=2).finish()
    summary = store.publish(elsewhere.home)
    assert (summary.num_published, summary.num_unchanged, summary.remarks()) == (1, 1, [])
    assert store.experiments() == ["Default", "small"]
    assert len(store.below()) == 2


def test_another_host_that_sees_the_same_home_goes_on_with_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_in(tmp_path / "a")
    study.add_run(base_seed=1).finish()
    store.publish(study.home)
    for host in ("login2", "login1", "login2"):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        assert store.publish(study.home).remarks() == []
    assert store.runs()["small"].data.tags["study.host"] == "login2"
    assert len(read_json(study.home.identity)["places"]) == 3


def test_a_moved_home_keeps_its_runs_on_a_server_and_its_identity(tmp_path: Path, empty_store: Path) -> None:
    """Its artifacts lie in it, so that it also gets another experiment; see `test_changed_store` for that."""
    study = study_in(tmp_path / "a")
    before = identify(study.home)
    study.home.root.rename(tmp_path / "b")
    after = identify(HomePaths(tmp_path / "b"))
    assert (after.id, after.copied_from) == (before.id, "")
    assert after.was_at(before.here.host, str(tmp_path / "a"))


def test_a_copy_of_a_home_gets_an_identity_of_its_own(store: Store, tmp_path: Path) -> None:
    study = study_in(tmp_path / "a")
    study.add_run(base_seed=1).finish()
    store.publish(study.home)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    copy = FakeStudy(HomePaths(tmp_path / "b"))
    copy.add_run(base_seed=2).finish()
    summary = store.publish(copy.home)
    assert f"this home is a copy of {tmp_path / 'a'}" in "\n".join(summary.notes)
    assert summary.experiment == f"small@{short(copy.home)}"
    assert summary.num_published == 2
    assert short(copy.home) != short(study.home)
    assert len(store.below()) == 1
    assert len(store.below(summary.experiment)) == 2
    again = store.publish(copy.home)
    assert (again.num_published, again.notes) == (0, [])


def test_copies_that_cannot_see_each_other_part_when_they_meet_in_the_store(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copied to another machine, where nothing tells it from a home that was moved there."""
    study = study_in(tmp_path / "a")
    study.add_run(base_seed=1).finish()
    store.publish(study.home)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    study.home.root.rename(tmp_path / "out of sight")
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "another machine")
        assert store.publish(HomePaths(tmp_path / "b")).experiment == "small"
    (tmp_path / "out of sight").rename(tmp_path / "a")
    before = {key: run.data.to_dictionary() for key, run in store.runs().items()}
    summary = store.publish(study.home)
    assert f"this home is a copy of {tmp_path / 'b'} on another machine" in "\n".join(summary.notes)
    assert summary.experiment == f"small@{short(study.home)}"
    assert {key: run.data.to_dictionary() for key, run in store.runs().items()} == before
    assert len(store.below(summary.experiment)) == 1


def test_a_home_that_was_made_anew_does_not_touch_what_the_old_one_left(store: Store, tmp_path: Path) -> None:
    old = study_in(tmp_path / "a")
    old.add_run(base_seed=1).finish(num_steps=8)
    store.publish(old.home)
    identity = read_json(old.home.identity)["id"]
    shutil.rmtree(tmp_path / "a")
    new = study_in(tmp_path / "a")
    new.add_run(base_seed=1).finish(num_steps=3)
    summary = store.publish(new.home)
    assert summary.experiment == f"small@{short(new.home)}"
    assert f"write {identity} there as its id" in summary.foreign
    assert {len(store.history(store.runs(name)[key], "train/metric_0"))
            for name in ("small", summary.experiment) for key in store.below(name)} == {8, 3}  # fmt: skip

    write_json(new.home.identity, {**read_json(new.home.identity), "id": identity})  # the advice
    summary = store.publish(new.home)
    assert (summary.experiment, summary.foreign) == ("small", "")


def forget_homes(store: Store, homes: list[HomePaths], experiment: str = "small") -> None:
    """Make a store and its homes what earlier code would have left."""
    found = store.client.get_experiment_by_name(experiment)
    for tag in [tag for tag in found.tags if tag.startswith("study.")]:
        store.client.delete_experiment_tag(found.experiment_id, tag)
    new = ("home", "host", "path", "instance", "plan", "sent", "weights", "confirm", "evaluations", "num_amendments")
    for run in store.all_runs(experiment):
        for tag in [tag for tag in run.data.tags if tag.startswith(tuple(f"study.{name}" for name in new))]:
            store.client.delete_tag(run.info.run_id, tag)
    for home in homes:
        for file in home.root.rglob("published.json"):
            old = ("store", "tracked_run", "seen", "step", "evaluations", "status", "artifacts", "schema_version")
            content = {"seen": "", "step": 0, "evaluations": [], "artifacts": {}} | read_json(file)
            content = {name: content[name] for name in old} | {"evaluations": list(content["evaluations"])}
            if content["seen"]:
                content["seen"] = earlier_glance(file.parent)
            write_json(file, content)
        for file in home.root.rglob("identity.json"):
            file.unlink()


def earlier_glance(root: Path) -> str:
    """`seen` as earlier code wrote it."""
    attempts = [f"{int(a.name)}:{(a / 'claim').stat().st_size}:{(a / 'events.jsonl').stat().st_size}"
                for a in sorted((root / "attempts").iterdir())]  # fmt: skip
    trained = ["trained"] if (root / "trained.json").exists() else []
    return " ".join([*attempts, *trained, *sorted(e.stem for e in (root / "evaluations").glob("*.json"))])


def test_what_earlier_code_published_is_adopted_by_the_home_that_knows_it(store: Store, tmp_path: Path) -> None:
    study, other = study_in(tmp_path / "a"), study_in(tmp_path / "b", plan=OTHER)
    run, base = study.add_run(base_seed=1).finish(), study.add_base().finish()
    store.publish(study.home)
    forget_homes(store, [study.home])
    forget_homes(store, [], "bases")
    ids = {key: found.info.run_id for key, found in (store.runs() | store.runs("bases")).items()}

    other.add_run(base_seed=1).finish(num_steps=3)
    other.add_base().finish(num_steps=3)
    summary = store.publish(other.home)  # first, but it does not know it
    assert summary.experiment == f"small@{short(other.home)}"
    assert "belongs to an unknown home (published by earlier code" in summary.foreign

    summary = store.publish(study.home)
    assert (summary.experiment, summary.foreign, summary.problems, summary.num_metrics) == ("small", "", [], 17)
    assert summary.remarks() == []
    assert store.runs("bases")[base.spec.run_id].data.tags["study.home"] == read_json(study.home.identity)["id"]
    assert {key: found.info.run_id for key, found in (store.runs() | store.runs("bases")).items()} == ids
    assert store.runs()["small"].data.tags["study.home"] == read_json(study.home.identity)["id"]
    attempt = run.attempt("probe-test-00000000")
    run.evaluate("probe-test-00000000", {"top1": 70.0})
    attempt.event("finished")
    assert store.publish(study.home).num_metrics == 1
    assert store.publish(study.home).num_published == 0


def test_two_homes_that_earlier_code_let_share_a_run_part(store: Store, tmp_path: Path) -> None:
    first, second = study_in(tmp_path / "a"), study_in(tmp_path / "b")
    first.add_run("e2mc").finish()
    store.publish(first.home)
    forget_homes(store, [first.home])
    second.add_run("continued").finish()
    shutil.copyfile(first.paths.published, second.paths.published)  # it was found by its key
    assert store.publish(first.home).experiment == "small"
    assert store.publish(second.home).experiment == f"small@{short(second.home)}"
    assert store.publish(first.home).experiment == "small"


def test_an_experiment_that_was_made_by_hand_is_used(store: Store, tmp_path: Path) -> None:
    """With the artifacts where its maker wants them, and beside what else is in it."""
    made = store.client.create_experiment("small", artifact_location=(tmp_path / "elsewhere").as_uri())
    store.client.create_run(made, run_name="by hand")
    study = study_in(tmp_path / "a")
    run = study.add_run().finish()
    assert store.publish(study.home).experiment == "small"
    parent = next(r for r in store.all_runs() if r.data.tags.get("study.run_id") == "small")
    assert store.files(parent) >= {"plan.json"}
    assert list((tmp_path / "elsewhere").rglob("plan.json"))
    assert store.publish(study.home).remarks() == []
    assert len(store.all_runs()) == 3
    assert run.spec.run_id in {r.data.tags.get("study.run_id") for r in store.all_runs()}


def test_a_renamed_experiment_stays_ours(store: Store, tmp_path: Path) -> None:
    study = study_in(tmp_path / "a")
    study.add_run(base_seed=1).finish()
    store.publish(study.home)
    store.client.rename_experiment(store.client.get_experiment_by_name("small").experiment_id, "of last summer")
    study.add_run(base_seed=2).finish()
    study.paths.published.unlink()
    summary = store.publish(study.home)
    assert summary.experiment == "of last summer"
    assert "(experiment 'of last summer')" in summary.as_text("small", "x")
    assert len(store.below("of last summer")) == 2
    assert store.experiments() == ["Default", "of last summer"]
    assert len(list(StudyReader(store.uri, "small").runs())) == 2


def test_names_that_a_store_takes_for_the_same(store: Store, tmp_path: Path) -> None:
    """As MySQL does: what is found under `small` is the study `Small` of the same home."""
    study = study_in(tmp_path / "a")
    store.publish(study.home)
    experiment = store.client.get_experiment_by_name("small").experiment_id
    store.client.set_experiment_tag(experiment, "study.study", "Small")
    summary = store.publish(study.home)
    assert summary.experiment == f"small@{short(study.home)}"
    assert "belongs to study 'Small' of this home" in summary.foreign


def test_a_study_of_earlier_code_that_is_called_default_is_kept_out_of_mlflows_own(
    tmp_path: Path, empty_store: Path
) -> None:
    study = study_in(tmp_path / "a", plan=small_plan("Default"))
    shutil.copyfile(empty_store, study.home.mlflow_db)
    study.add_run().finish()
    store = own_store(study.home)
    summary = store.publish(study.home, "Default")
    assert summary.experiment == f"Default@{short(study.home)}"
    assert "belongs to MLflow itself" in summary.foreign
    assert {Path(folder).parts[-1] for (folder,) in query(study.home, "select artifact_location from experiments"
            " where experiment_id > 0")} == {"mlartifacts"}  # fmt: skip
