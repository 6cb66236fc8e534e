"""A criterion of one's own is edited while its study exists: no stale table, no mixed result, nothing untraceable."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.journal.files import read_json
from study.paths import RunPaths
from tests.fakes.command import ONE_EVALUATION, Command, Sweep
from tests.fakes.tiny_study import weights_of

_ROOT = Path(__file__).parents[2]
CRITERION = '''\
"""The squared norm of the mean embedding."""

from dataclasses import dataclass

from study.criteria.base import Criterion, CriterionResult, Views


@dataclass(frozen=True)
class Mine(Criterion):
    """Pull the mean to zero."""

    weight: float = 0.5

    def compute(self, views: Views) -> CriterionResult:
        """Return it."""
        value = views.embeddings.mean(dim=1).square().sum()
        return CriterionResult(self.weight * value, {"mean": value})
'''
TEXT = ONE_EVALUATION.replace(
    "uniformity: {criterion: uniformity, start: {weight: 0.5}}", "mine: {criterion: mine, weight: 0.5}"
).replace("[[uniformity, continued]]", "[[mine, continued]]")
FEW = ("confirm.base_seeds=[1]", "tune=none")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with one commit, and a criterion that git does not know."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in ("study", "analysis"):
        shutil.copytree(_ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    (folder / "study" / "criteria" / "mine.py").write_text(CRITERION)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, store: str, checkout: Path) -> Iterator[Sweep]:
    """The study of that criterion, finished."""
    folder = tmp_path_factory.mktemp("own")
    sweep = Sweep(folder, folder / "home", store, FEW, text=TEXT, checkout=checkout)
    finish(sweep.start())
    yield sweep
    sweep.clean_up()


def finish(command: Command, code: int = 0) -> str:
    assert command.wait() == code, command.output
    return command.output


def run_of(study: Sweep, arm: str) -> RunPaths:
    (run,) = [run for run in study.study.existing_runs() if run.root.name.startswith(f"{arm}-b")]
    return run


def test_a_study_of_code_that_is_edited(study: Sweep, checkout: Path) -> None:
    """One test, because its steps cost a start each: finished, repeated, edited, refused, made anew, shown."""
    again = finish(study.start())
    assert "mine − continued" in again and "Reading" not in again, "nothing has moved: the last words, at once"
    flags = finish(study.start("--fresh", "--accept-code-change"))
    assert "--fresh changed nothing" in flags and "--accept-code-change changed nothing" in flags
    report = (study.study.report / "report.md").read_text()
    assert "executed, but not in the commit: `criteria/mine.py (new)`" in report

    weights = {arm: weights_of(run_of(study, arm)) for arm in ("base", "continued", "mine")}
    file = checkout / "study" / "criteria" / "mine.py"
    file.write_text(CRITERION.replace("square()", "abs()"))
    refused = finish(study.start(), code=2)
    assert "  - criteria/mine.py: 1 run of arm mine\n" in refused and "base" not in refused.partition("One of")[0]
    assert f"python -m study redo tiny mine --home {study.home_root}" in refused

    moved = finish(study.manage("redo", "mine", "--why", "the formula was wrong"))
    assert run_id_of("mine", moved) and "Start the study's command again" in moved
    anew = finish(study.start())
    assert "Made anew after 1 confirm run of mine had results" in anew
    assert weights_of(run_of(study, "mine")) != weights["mine"], "another formula"
    for arm in ("base", "continued"):
        assert weights_of(run_of(study, arm)) == weights[arm] and len(run_of(study, arm).existing_attempts()) == 1
    table = (study.study.report / "redone.md").read_text()
    assert "the formula was wrong" in table and "| mine |" in table

    removed = run_of(study, "mine")
    lost = weights_of(removed)
    shutil.rmtree(removed.root)
    assert "2 completed, 1 waiting of 3" in finish(study.manage("status"))
    finish(study.start())
    assert weights_of(run_of(study, "mine")) == lost, "the same run, trained again"

    listed = finish(study.manage("code"))
    assert "trained: mine (1)" in listed and "but for criteria/mine.py (new)" in listed
    difference = finish(study.manage("code", "--diff"))
    assert (
        "+++ study/criteria/mine.py" in difference
        and "+        value = views.embeddings.mean(dim=1).abs().sum()" in difference
    )
    finish(study.manage("code", "--restore", str(study.folder / "restored")))
    assert (study.folder / "restored/study/criteria/mine.py").read_text() == file.read_text()


def run_id_of(arm: str, text: str) -> str:
    return next(line.strip() for line in text.splitlines() if line.strip().startswith(f"{arm}-b1-c1-"))


def test_what_is_edited_while_it_runs_is_not_executed_under_the_old_name(
    study: Sweep, checkout: Path, tmp_path: Path, store: str
) -> None:
    """The processes of a study execute the code that it was started with, and their records say so."""
    file = checkout / "study" / "criteria" / "mine.py"
    before = file.read_text()
    longer = Sweep(
        tmp_path, study.home_root, store, (*FEW, "study=edited", "continuation.epochs=4"), text=TEXT, checkout=checkout
    )
    command = longer.start()
    longer.wait_until_training()
    file.write_text(before.replace("square()", "exp()").replace("abs()", "exp()"))
    finish(command)
    trained = read_json(run_of(longer, "mine").trained)
    kept = read_json(longer.home.code_identity(trained["code"]))["files"]["criteria/mine.py"]
    assert longer.home.code_text(kept).read_text() == before
    assert "criteria/mine.py: 1 run of arm mine" in finish(longer.start(), code=2)
    file.write_text(before)
    longer.clean_up()
