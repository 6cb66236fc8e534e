"""What `status` says of a study is the same from summaries as from journals, and follows every change."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from study.journal.files import write_json
from study.orchestration.status import study_status
from study.orchestration.stop import request_stop
from study.paths import HomePaths, RunPaths
from study.plan.expand import confirm_specs
from tests.fakes.idle_orchestrator import write_study
from tests.fakes.study_home import StudyHome

LONG_AGO_S = 1_600_000_000
ROOT = Path(__file__).parents[2]


@pytest.fixture
def study(home: HomePaths) -> StudyHome:
    """Seven arms and six bases: half of the runs are over, one has diverged, the others wait."""
    study = write_study(home, num_seeds=6, num_active=0)
    study.write_failed_run(study.confirm_spec("mmcr", 6))
    for path in home.root.rglob("*"):
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return study


def runs_of(home: HomePaths) -> list[RunPaths]:
    return [*map(RunPaths, sorted(home.bases.iterdir())), *home.study("toy").existing_runs()]


def spoil_journals(home: HomePaths) -> None:
    """Nonsense that looks as before: whoever parsed it would fail."""
    for run in runs_of(home):
        journal = run.attempt(1).events
        look = journal.stat()
        journal.write_bytes(b"x" * look.st_size)
        os.utime(journal, ns=(look.st_atime_ns, look.st_mtime_ns))


def test_of_what_is_over_no_journal_is_parsed_again(home: HomePaths, study: StudyHome) -> None:
    first = study_status(home, "toy")
    assert first.phases["confirm"] == {"expected": 42, "completed": 21, "waiting": 20, "infeasible": 1}
    assert first.phases["prepare"]["completed"] == 7 and first.phases["tune"]["completed"] == 12
    assert list(first.failed.values()) == ["diverged: loss is nan"]
    assert all(run.summary.exists() for run in runs_of(home))
    spoil_journals(home)
    assert study_status(home, "toy") == first
    assert "Nobody orchestrates toy" in request_stop(home, "toy")


def test_it_follows_what_happens_to_runs_that_were_over(home: HomePaths, study: StudyHome) -> None:
    counts = [study_status(home, "toy").phases["confirm"]]
    specs = confirm_specs(study.plan, study.plan.arm("mmcr"), study.winner(study.plan.arm("mmcr")))
    one, two, three, *_ = [home.study("toy").run(spec.run_id) for spec in specs]
    shutil.rmtree(one.root)
    two.trained.unlink()
    next(three.evaluations.glob("knn-*")).unlink()
    counts.append(study_status(home, "toy").phases["confirm"])
    write_json(two.trained, {"attempt": 1, "cpu_s": 1.0})
    counts.append(study_status(home, "toy").phases["confirm"])
    assert [(c["completed"], c["waiting"]) for c in counts] == [(21, 20), (18, 23), (19, 22)]


def test_the_commands_that_answer_at_once_load_nothing_heavy(home: HomePaths, study: StudyHome) -> None:
    program = (
        "import sys\nfrom study.cli import main\nassert main(sys.argv[1:]) == 0\n"
        "print([m for m in ('torch', 'pandas', 'numpy', 'mlflow', 'optuna', 'rich', 'submitit') if m in sys.modules])"
    )
    for arguments in (("status", "toy"), ("status", "toy", "--json"), ("stop", "toy")):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments, "--home", home.root], cwd=ROOT, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]"), done.stderr
        if "--json" in arguments:
            said = json.loads(done.stdout.rpartition("[")[0])
            assert said == json.loads(json.dumps(study_status(home, "toy").as_json()))


@pytest.mark.parametrize("seed", [101, 1], ids=["of a trial", "of an arm"])
def test_a_finished_study_that_has_lost_a_run_is_not_called_finished(home: HomePaths, seed: int) -> None:
    study = write_study(home, num_seeds=2, num_active=0)
    for arm in study.plan.arms:
        study.write_run(study.confirm_spec(arm.name, 2))
    write_json(home.study("toy").finished, {})
    assert study_status(home, "toy").as_text().startswith("toy: finished\n")
    run = next(home.study("toy").runs.glob(f"e2mc-b{seed}-*"))
    run.rename(home.root / "aside")
    status = study_status(home, "toy")
    assert not status.is_finished and status.as_text().startswith("toy: idle\n")
    (home.root / "aside").rename(run)
    assert study_status(home, "toy").is_finished
