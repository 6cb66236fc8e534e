"""A finished study repeats its last words for as long as nothing that they depend on has moved, and no longer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from study.journal.files import read_json, write_json
from study.orchestration import finished
from study.orchestration.finished import code_seen, recall, remember
from study.paths import HomePaths

WORDS = {"text": "study: tiny", "given": ["a=1"], "block": 0, "num_blocks": 1, "summary": "e2mc is better"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HomePaths:
    """A checkout of a few files, and a study with a base, a run and a trial that has finished."""
    code = tmp_path / "checkout"
    for name in ("study/criteria/mine.py", "study/plan/schema.py", "analysis/tables.py", "analysis/page.html.jinja"):
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text("x\n")
    monkeypatch.setattr(finished, "_ROOT", code)
    home = HomePaths(tmp_path / "home")
    study = home.study("tiny")
    runs = [home.base("0123456789ab"), study.run("mine-b1-c1-0123456789ab")]
    for run in runs:
        run.evaluations.mkdir(parents=True)
        for file in (run.spec, run.trained, run.weights):
            file.write_text("x")
    (runs[1].evaluations / "knn-test-1.json").write_text("x")
    study.trial("mine", 0).parent.mkdir(parents=True)
    study.report.mkdir()
    for file in (study.plan, study.plan_yaml, study.trial("mine", 0), study.report / "report.html"):
        file.write_text("x")
    remember(study, runs, {**WORDS, "code": code_seen()})
    return home


def said(home: HomePaths, text: str = "study: tiny", given: tuple[str, ...] = ("a=1",)) -> list[str] | None:
    found = recall(home, text, given, code_seen())
    return None if found is None else [record["summary"] for record in found]


def test_the_words_are_repeated_for_the_same_command_alone(home: HomePaths) -> None:
    assert said(home) == ["e2mc is better"]
    assert said(home, "study: other") is None and said(home, given=()) is None


EDITS: dict[str, Callable[[Path], object]] = {
    "own criterion": lambda root: (root / "checkout/study/criteria/mine.py").write_text("another formula\n"),
    "new helper": lambda root: (root / "checkout/study/criteria/_helper.py").write_text("x\n"),
    "schema": lambda root: (root / "checkout/study/plan/schema.py").write_text("another default\n"),
    "analysis": lambda root: (root / "checkout/analysis/tables.py").write_text("another verdict\n"),
    "page": lambda root: (root / "checkout/analysis/page.html.jinja").write_text("another page\n"),
    "plan": lambda root: (root / "home/tiny/plan.json").write_text("another"),
    "trial": lambda root: (root / "home/tiny/search/mine/0000.json").write_text("another"),
    "new trial": lambda root: (root / "home/tiny/search/mine/0001.json").write_text("x"),
    "run removed": lambda root: shutil.rmtree(root / "home/tiny/runs/mine-b1-c1-0123456789ab"),
    "result removed": lambda root: (root / "home/tiny/runs/mine-b1-c1-0123456789ab/trained.json").unlink(),
    "weights removed": lambda root: (root / "home/tiny/runs/mine-b1-c1-0123456789ab/weights.safetensors").unlink(),
    "evaluation edited": lambda root: next((root / "home/tiny/runs").rglob("knn-*.json")).write_text("edited"),
    "evaluation removed": lambda root: next((root / "home/tiny/runs").rglob("knn-*.json")).unlink(),
    "base removed": lambda root: shutil.rmtree(root / "home/bases/0123456789ab"),
    "base edited": lambda root: (root / "home/bases/0123456789ab/weights.safetensors").write_text("another"),
    "report removed": lambda root: shutil.rmtree(root / "home/tiny/report"),
}


@pytest.mark.parametrize("what", EDITS)
def test_whatever_moves_ends_it(home: HomePaths, tmp_path: Path, what: str) -> None:
    EDITS[what](tmp_path)
    assert said(home) is None


def test_what_was_edited_while_the_study_ran_ends_it(home: HomePaths, tmp_path: Path) -> None:
    begun = code_seen()
    (tmp_path / "checkout/study/criteria/mine.py").write_text("edited while it ran\n")
    study = home.study("tiny")
    runs = [home.base("0123456789ab"), study.run("mine-b1-c1-0123456789ab")]
    remember(study, runs, {**WORDS, "code": begun})
    assert said(home) is None


def test_an_orchestrator_that_was_killed_over_its_last_words_is_followed_by_another(home: HomePaths) -> None:
    """Its lease is still there, and perhaps MLflow has not got all."""
    home.study("tiny").lease.touch()
    assert said(home) is None
    home.study("tiny").lease.unlink()
    assert said(home) is not None


def test_an_edit_of_equal_length_at_once_is_seen(home: HomePaths, tmp_path: Path) -> None:
    file = tmp_path / "checkout/study/criteria/mine.py"
    before = file.stat()
    file.write_text("y\n")
    if file.stat().st_mtime_ns == before.st_mtime_ns:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert said(home) is None


def test_a_library_of_another_version_ends_it(home: HomePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished, "version", lambda name: "0.0")
    assert said(home) is None


def test_what_says_nothing_of_the_results_may_change(home: HomePaths, tmp_path: Path) -> None:
    run = home.study("tiny").run("mine-b1-c1-0123456789ab")
    write_json(run.published, {"store": "x"})
    (home.study("tiny").report / "report.html").write_text("written anew")
    (tmp_path / "checkout" / "study" / "__pycache__").mkdir()
    (tmp_path / "checkout" / "study" / "__pycache__" / "mine.py").touch()
    assert said(home) == ["e2mc is better"]


def test_earlier_and_damaged_records_take_the_long_way(home: HomePaths) -> None:
    file = home.study("tiny").finished
    record = read_json(file)
    write_json(file, {key: value for key, value in record.items() if key not in ("code", "seen", "runs")})
    assert said(home) is None
    file.write_text("{")
    assert said(home) is None


def test_all_blocks_of_a_file_must_be_there(home: HomePaths) -> None:
    record = read_json(home.study("tiny").finished)
    write_json(home.study("tiny").finished, {**record, "num_blocks": 2})
    assert said(home) is None
