"""A trial whose run was made anew and is worth something else is told, in the report as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.frames import load_study
from analysis.outdated import outdated_trials
from analysis.report import write_report
from study.journal.files import read_json, write_json
from study.paths import StudyPaths
from tests.fakes.study_home import StudyHome


@pytest.fixture
def home(tmp_path: Path) -> StudyHome:
    return StudyHome(tmp_path / "toy").build()


def sentences(home: StudyHome) -> list[str]:
    frames = load_study(home.root)
    return list(outdated_trials(frames.runs, frames.trials, frames.plan))


def test_records_and_runs_agree(home: StudyHome) -> None:
    assert sentences(home) == []


def test_a_run_that_is_worth_something_else_now(home: StudyHome) -> None:
    paths = StudyPaths(home.root)
    run_id = read_json(paths.trial("e2mc", 1))["run_ids"][0]
    (file,) = paths.run(run_id).evaluations.glob("linear_probe-validation-*.json")
    record = read_json(file)
    write_json(file, {**record, "metrics": {**record["metrics"], "top1_mean": 60.5}})
    (sentence,) = sentences(home)
    assert sentence == (
        "The search of e2mc chose by other values of linear_probe/top1_mean than its runs have now: trial 1 had 61.00, "
        "and its runs give 60.50. To search anew: python -m study redo toy e2mc"
    )
    assert " ".join(sentence.split()) in " ".join(write_report(home.root).text.split())


def test_a_run_that_is_not_there_yet_says_nothing(home: StudyHome) -> None:
    paths = StudyPaths(home.root)
    run_id = read_json(paths.trial("e2mc", 1))["run_ids"][0]
    for file in paths.run(run_id).evaluations.iterdir():
        file.unlink()
    assert sentences(home) == []
