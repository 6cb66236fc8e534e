"""Stopping a study that nobody orchestrates: nothing of it may start or go on afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from study.errors import UserError
from study.journal.files import create_once, write_json
from study.journal.process import this_process
from study.journal.replay import AttemptStatus, replay_attempt
from study.orchestration.actions import store_plan
from study.orchestration.stop import request_stop
from study.paths import AttemptPaths, HomePaths, RunPaths, WorkerPaths
from tests.fakes.slurm_commands import SlurmCommands
from tests.fakes.tiny_study import SWEEP, is_running, tiny_plan


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmCommands:
    (tmp_path / "bin").mkdir()
    commands = SlurmCommands(tmp_path / "bin", monkeypatch)
    commands.says("scancel")
    return commands


@pytest.fixture
def study_home(home: HomePaths) -> HomePaths:
    study = home.study("tiny")
    study.root.mkdir()
    store_plan(study, tiny_plan(), SWEEP)
    return home


def worker(home: HomePaths, number: int, *, has_started: bool) -> WorkerPaths:
    paths = WorkerPaths(home.study("tiny").workers / f"w{number:04d}")
    paths.root.mkdir(parents=True)
    write_json(paths.job, {"job_id": str(number), "over": None})
    if has_started:
        create_once(paths.started, {"node": "node1"})
    return paths


def attempt(run: RunPaths, **job: object) -> AttemptPaths:
    paths = run.attempt(1)
    paths.root.mkdir(parents=True)
    create_once(run.spec, {})
    write_json(paths.job, {"run_id": run.root.name, "attempt": 1, "study": "tiny", **job})
    return paths


def test_workers_take_nothing_more_and_what_waits_is_cancelled(slurm: SlurmCommands, study_home: HomePaths) -> None:
    running, waiting = worker(study_home, 1, has_started=True), worker(study_home, 2, has_started=False)
    ahead = attempt(study_home.study("tiny").run("ahead"), job={"pool": str(running.pool("p").root), "number": 2})
    slurm.queue("1|RUNNING|node1|None", "2|PENDING||Priority")
    message = request_stop(study_home, "tiny")
    assert running.stop.exists() and waiting.stop.exists()
    assert slurm.calls("scancel") == ["2"] and "1 SLURM job was cancelled; 1 job still to end: squeue -j 2" in message
    assert replay_attempt(ahead).status is AttemptStatus.REVOKED


def test_now_cancels_everything(slurm: SlurmCommands, study_home: HomePaths) -> None:
    worker(study_home, 1, has_started=True)
    attempt(study_home.study("tiny").run("job"), job={"batch": "b0001", "job_id": "7_3"})
    slurm.queue("1|RUNNING|node1|None", "7_3|RUNNING|node1|None")
    request_stop(study_home, "tiny", now=True)
    assert sorted(slurm.calls("scancel")[0].split()) == ["1", "7_3"]


def test_nothing_is_said_of_jobs_that_are_not_there_any_more(slurm: SlurmCommands, study_home: HomePaths) -> None:
    """Their orchestrator was killed, and never heard that they ended."""
    worker(study_home, 1, has_started=True)
    worker(study_home, 2, has_started=False)
    assert request_stop(study_home, "tiny", now=True) == "Nobody orchestrates tiny; nothing of it runs."
    assert not slurm.calls("scancel")


def test_a_scheduler_that_is_silent_is_not_spoken_for(slurm: SlurmCommands, study_home: HomePaths) -> None:
    worker(study_home, 1, has_started=True)
    slurm.fails("squeue", "slurm_load_jobs error: Unable to contact slurm controller")
    message = request_stop(study_home, "tiny", now=True)
    assert slurm.calls("scancel") == ["1"] and "SLURM does not say what has become of it" in message


def test_a_scheduler_that_does_not_obey_is_no_success(slurm: SlurmCommands, study_home: HomePaths) -> None:
    worker(study_home, 1, has_started=False)
    slurm.queue("1|PENDING||Priority")
    slurm.fails("scancel", "scancel: error: Unable to contact slurm controller")
    with pytest.raises(UserError, match=r"did not cancel 1 job; try again: scancel 1"):
        request_stop(study_home, "tiny")


def test_surviving_processes_of_this_host_are_asked_or_killed(study_home: HomePaths) -> None:
    code = "import json; from study.journal.process import this_process; print(json.dumps(this_process()), flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}; import time; time.sleep(60)"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    run = study_home.study("tiny").run("local")
    paths = attempt(run)
    paths.claim.write_text(process.stdout.readline())
    assert "1 run was asked to stop" in request_stop(study_home, "tiny")
    assert run.stop.exists() and process.poll() is None
    assert "1 run was killed, its checkpoint stays" in request_stop(study_home, "tiny", now=True)
    process.wait(10)
    assert not is_running(process.pid)


def test_what_another_study_began_is_left_alone(study_home: HomePaths) -> None:
    run = study_home.study("tiny").run("theirs")
    paths = attempt(run, study="another")
    create_once(paths.claim, this_process())
    assert "nothing of it runs" in request_stop(study_home, "tiny")
    assert not run.stop.exists()
