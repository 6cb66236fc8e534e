"""Journals and MLflow give equal frames: the attached one, and the one made from what was published of each run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from analysis.asked import UnknownNameError
from analysis.contrasts import contrasts_frame, declared_contrasts
from analysis.frames import Published, StudyFrames, history_frame, load_studies, load_study
from analysis.published import read_frame, write_frame
from analysis.report import write_report_of
from study.errors import JournalError, UserError
from study.journal.endings import Ending, EndKind
from study.journal.files import read_json, write_json
from study.paths import HomePaths, StudyPaths
from study.plan.model import Confirm
from study.tracking.base import TrackerError
from study.tracking.mlflow_tracker import MlflowTracker
from study.tracking.publisher import publish, publish_study
from tests.fakes.mlflow_server import Server
from tests.fakes.study_home import StudyHome, make_plan, trial_params


def some_study(folder: Path) -> StudyHome:
    """Two bases; a diverged run, one that was interrupted and is under way, one of an earlier winner."""
    plan = make_plan(confirm=Confirm((1, 2), (1,)), contrasts=(("e2mc", "continued"), ("mmcr", "base")))
    plan = replace(plan, arms=tuple(arm for arm in plan.arms if arm.parent is None))
    home = StudyHome(folder / "toy", plan, lambda arm, base, metric: 60 + len(arm) / 3 + base)
    diverged, under_way = home.confirm_spec("mmcr", 2), home.confirm_spec("uniformity", 2)
    home.build(skip=lambda spec: spec.run_id in (diverged.run_id, under_way.run_id))
    home.write_failed_run(diverged)
    attempt = home.start_run(under_way).attempt(1)
    write_json(attempt.claim, {"pid": 1})
    write_json(attempt.verdict, Ending(EndKind.NODE_LOST, "so it goes").as_json())
    home.write_run(home.confirm_spec("e2mc", 1, trial_params(home.plan.arm("e2mc"), 0)))
    return home


def assert_equal(found: StudyFrames, expected: StudyFrames) -> None:
    assert found.plan == expected.plan
    assert_frame_equal(found.everything, expected.everything)
    assert_frame_equal(found.runs, expected.runs)
    assert_frame_equal(found.trials, expected.trials)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> tuple[StudyHome, HomePaths, str]:
    """A study in an embedded store, without its frame."""
    folder = tmp_path_factory.mktemp("stored home")
    shutil.copyfile(empty_store, folder / "mlflow.db")
    home, paths = some_study(folder), HomePaths(folder)
    uri = f"sqlite:///{paths.mlflow_db}"
    assert not publish(paths, "toy", MlflowTracker(uri, paths.mlartifacts)).problems
    return home, paths, uri


def test_both_routes_give_the_frames_of_the_journals(stored: tuple[StudyHome, HomePaths, str]) -> None:
    home, paths, uri = stored
    expected, source = load_study(home.root), Published("toy", uri)
    assert set(expected.everything["status"]) == {"completed", "diverged", "incomplete"}
    assert "node lost" in set(expected.everything["interruptions"])
    assert "not trained with the winner's parameters" in set(expected.everything["unused"])

    searched = load_study(source)
    assert "frames/runs.parquet is not attached" in searched.notes[0]
    assert_equal(searched, expected)

    write_frame(home.root, expected)
    assert publish_study(paths, "toy", MlflowTracker(uri, paths.mlartifacts)).is_complete
    attached = load_study(source)
    assert attached.notes == ()
    assert_equal(attached, expected)

    judged = [contrasts_frame(declared_contrasts(f.runs, f.plan)) for f in (expected, searched, attached)]
    assert_frame_equal(judged[0], judged[1])
    assert_frame_equal(judged[0], judged[2])


def test_histories_are_equal_on_request(stored: tuple[StudyHome, HomePaths, str]) -> None:
    home, _, uri = stored
    run_ids = [home.confirm_spec("e2mc", base).run_id for base in (1, 2)]
    expected = history_frame(home.root, run_ids)
    assert expected.columns.tolist() == ["run_id", "step", "metric", "value"]
    assert len(expected) == 16
    assert_frame_equal(history_frame(Published("toy", uri), run_ids), expected)
    assert_frame_equal(history_frame(Published("toy", uri), run_ids, ["train/loss"]), expected)
    assert_frame_equal(history_frame(Published("toy", uri), run_ids, "train/loss"), expected)
    waiting = home.confirm_spec("uniformity", 2).run_id
    for source in (home.root, Published("toy", uri)):
        assert history_frame(source, waiting, ["train/loss"]).dtypes.equals(expected.dtypes), "it has no step yet"
        for ids in (run_ids, waiting):
            with pytest.raises(
                UnknownNameError, match=r"study 'toy' has no metric 'train/lss'\. Did you mean 'train/loss'"
            ):
                history_frame(source, ids, ["train/loss", "train/lss"])
        with pytest.raises(UnknownNameError, match=f"run '{run_ids[0]}x', 'nobody'. Did you mean '{run_ids[0]}'"):
            history_frame(source, [*run_ids, run_ids[0] + "x", "nobody"])


def test_a_colleague_with_the_url_of_a_server_alone(server: Server, tmp_path: Path) -> None:
    home, paths = some_study(tmp_path), HomePaths(tmp_path)
    write_frame(home.root)
    assert not publish(paths, "toy", MlflowTracker(server.uri, paths.mlartifacts)).problems
    expected = load_study(home.root)
    shutil.rmtree(home.root)
    attached = load_study(Published("toy", server.uri))
    assert attached.notes == ()
    assert_equal(attached, expected)
    report = write_report_of(attached, tmp_path / "redrawn")
    assert "e2mc − continued" in (tmp_path / "redrawn" / "report.html").read_text(encoding="utf-8")
    assert len(report.files) > 20
    next(server.folder.rglob("runs.parquet")).unlink()
    searched = load_study(Published("toy", server.uri))
    assert searched.notes
    assert_equal(searched, expected)


def test_what_cannot_be_read_says_what_to_do(stored: tuple[StudyHome, HomePaths, str], tmp_path: Path) -> None:
    _, _, uri = stored
    with pytest.raises(TrackerError, match=r"has no study 'tyo'\. Did you mean 'toy'\?"):
        load_study(Published("tyo", uri))
    with pytest.raises(TrackerError, match="there is no MLflow store at sqlite:"):
        load_study(Published("toy", f"sqlite:///{tmp_path}/mlflow.db"))
    assert not list(tmp_path.iterdir()), "reading creates no store"


def test_an_unreachable_server_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackerError, match="is the server running") as caught:
        load_study(Published("toy", "http://somebody:secret@127.0.0.1:9"))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_frame_that_is_out_of_date_is_not_taken_for_the_truth(tmp_path: Path, empty_store: Path) -> None:
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    home, paths = some_study(tmp_path), HomePaths(tmp_path)
    uri = f"sqlite:///{paths.mlflow_db}"
    write_frame(home.root)
    publish(paths, "toy", MlflowTracker(uri, paths.mlartifacts))
    assert not load_study(Published("toy", uri)).notes
    home.write_run(home.confirm_spec("e2mc", 2, trial_params(home.plan.arm("e2mc"), 0)))
    publish(paths, "toy", MlflowTracker(uri, paths.mlartifacts))
    found = load_study(Published("toy", uri))
    assert "is older than what has been published since" in found.notes[0]
    assert_equal(found, load_study(home.root))


def test_a_frame_that_holds_a_run_which_is_gone_is_not_taken_for_the_truth(tmp_path: Path, empty_store: Path) -> None:
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    home, paths = some_study(tmp_path), HomePaths(tmp_path)
    uri = f"sqlite:///{paths.mlflow_db}"
    for is_written in (True, False, True):
        if is_written:
            write_frame(home.root)
        assert not publish(paths, "toy", MlflowTracker(uri, paths.mlartifacts)).problems
        found = load_study(Published("toy", uri))
        assert bool(found.notes) is not is_written
        assert_equal(found, load_study(home.root))
        shutil.rmtree(home_run(home, home.confirm_spec("e2mc", 1).run_id), ignore_errors=True)


def test_a_run_published_by_other_code_does_not_count_and_says_why(tmp_path: Path, empty_store: Path) -> None:
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    home, paths = some_study(tmp_path), HomePaths(tmp_path)
    uri = f"sqlite:///{paths.mlflow_db}"
    tracker = MlflowTracker(uri, paths.mlartifacts)
    publish(paths, "toy", tracker)
    run_id = home.confirm_spec("e2mc", 1).run_id
    progress = read_json(home_run(home, run_id) / "published.json")
    tracker.set_tags(progress["tracked_run"], {"study.outcome": "{half a", "study.x": "1"})
    everything = load_study(Published("toy", uri)).everything.set_index("run_id")
    assert "was not published completely, or by other code" in everything.loc[run_id, "unused"]
    assert len(everything) == len(load_study(home.root).everything)


def home_run(home: StudyHome, run_id: str) -> Path:
    return StudyPaths(home.root).run(run_id).root


def test_a_frame_is_equal_to_the_byte_and_recognised(tmp_path: Path) -> None:
    home = some_study(tmp_path)
    data = write_frame(home.root).read_bytes()
    assert write_frame(home.root).read_bytes() == data
    assert_equal(read_frame(data, "it"), load_study(home.root))
    with pytest.raises(JournalError, match="it is not a frame of a study"):
        read_frame(b"PAR1", "it")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(JournalError, match="it is not a frame of a study"):
        read_frame((tmp_path / "other.parquet").read_bytes(), "it")


def test_an_empty_study_survives_the_round_trip(tmp_path: Path) -> None:
    home = StudyHome(tmp_path / "toy")
    home.write_plan()
    assert_equal(read_frame(write_frame(home.root).read_bytes(), "it"), load_study(home.root))


def test_several_studies_at_once(tmp_path: Path) -> None:
    toy = some_study(tmp_path)
    other = StudyHome(tmp_path / "other", replace(toy.plan, study="other"))
    other.build()
    studies = load_studies([toy.root, other.root])
    runs = pd.concat([study.runs for study in studies.values()], ignore_index=True)
    assert runs.groupby("study").size().to_dict() == {name: len(study.runs) for name, study in studies.items()}
    assert list(studies) == ["toy", "other"]
    with pytest.raises(UserError, match="two of the sources hold a study called 'toy'"):
        load_studies([toy.root, toy.root])
