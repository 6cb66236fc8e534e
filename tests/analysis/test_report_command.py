"""`python -m study report`: the page is written whatever MLflow does, and attached when it works."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from study.cli.manage import main
from study.paths import HomePaths, StudyPaths
from study.plan.model import Confirm
from study.tracking.progress import only_publisher
from tests.fakes.study_home import StudyHome, make_plan


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyHome:
    """A finished study."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    plan = make_plan(confirm=Confirm((1, 2), (1,)))
    plan_home = StudyHome(tmp_path / "toy", plan, lambda arm, base, metric: 60.0 + len(arm) * base).build()
    (plan_home.root / "plan.yaml").write_text("study: toy\n")
    return plan_home


def report(home: StudyHome, *options: str) -> int:
    return main(["report", "toy", "--home", str(home.root.parent), *options])


def attached(home: HomePaths) -> dict[str, bytes]:
    """Files of the run that stands for the study."""
    files = [file for file in home.mlartifacts.rglob("*") if file.is_file()]
    return {file.as_posix().partition("/artifacts/")[2]: file.read_bytes() for file in files}


def test_the_page_and_the_frame_are_attached_to_the_study_alone(
    home: StudyHome, empty_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(empty_store, HomePaths(home.root.parent).mlflow_db)
    assert report(home) == 0
    said = capsys.readouterr().out
    paths, study = HomePaths(home.root.parent), StudyPaths(home.root)
    assert f"Open it: {(study.report / 'report.html').as_uri()}" in said
    assert "Attached to run 'toy' of experiment 'toy' in MLflow" in said
    files = attached(paths)
    assert files["report/report.html"] == (study.report / "report.html").read_bytes()
    assert files["frames/runs.parquet"] == study.runs_parquet.read_bytes()
    assert "frames/trials.json" in files
    with sqlite3.connect(paths.mlflow_db) as connection:
        assert connection.execute("select name from runs").fetchall() == [("toy",)]


def test_without_mlflow_the_page_is_written_and_the_way_out_is_shown(
    home: StudyHome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert report(home) == 0
    said = capsys.readouterr()
    assert "Not attached in MLflow (" in said.out
    assert f"When it works again: python -m study publish toy --home {home.root.parent}" in said.out
    assert "secret" not in said.out + said.err
    assert "Traceback" not in said.out + said.err
    assert (StudyPaths(home.root).report / "report.html").exists()


def test_another_publisher_is_left_to_its_work(
    home: StudyHome, empty_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(empty_store, HomePaths(home.root.parent).mlflow_db)
    with only_publisher(home.root) as is_alone:
        assert is_alone
        assert report(home) == 0
    assert "Another process publishes this study to MLflow just now" in capsys.readouterr().out


def test_nothing_is_published_against_ones_will(home: StudyHome, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(home, "--no-publish") == 0
    assert "MLflow" not in capsys.readouterr().out
    assert not HomePaths(home.root.parent).mlflow_db.exists()


def test_a_colleague_writes_the_report_from_the_tracker_alone(
    home: StudyHome,
    empty_store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copyfile(empty_store, HomePaths(home.root.parent).mlflow_db)
    assert report(home) == 0
    page = (StudyPaths(home.root).report / "report.html").read_bytes()
    uri = f"sqlite:///{HomePaths(home.root.parent).mlflow_db}"
    monkeypatch.chdir(tmp_path)
    assert main(["report", "toy", "--from", uri, "--out", "elsewhere"]) == 0
    assert (tmp_path / "elsewhere" / "report.html").read_bytes() == page
    assert main(["report", "tyo", "--from", uri]) == 2
    assert "error: sqlite:" in (said := capsys.readouterr().err) and "Did you mean 'toy'?" in said
