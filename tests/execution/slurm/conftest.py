"""A home whose study sends attempts to a SLURM that says what a test wants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from study.execution.slurm import gate
from study.execution.slurm.base import SlurmSettings
from study.execution.slurm.workers import WorkerExecutor
from study.journal.files import write_json
from study.paths import AttemptPaths, HomePaths
from study.plan.site import Slurm
from tests.fakes.slurm_commands import SlurmCommands


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmCommands:
    folder = tmp_path / "bin"
    folder.mkdir()
    commands = SlurmCommands(folder, monkeypatch)
    commands.says("srun")
    commands.says("scancel")
    commands.takes_jobs()
    for pause in ("_REFUSED_S", "_FRUITLESS_S", "PERSISTS_S"):
        monkeypatch.setattr(gate, pause, 0.0)
    return commands


@pytest.fixture
def home(tmp_path: Path) -> HomePaths:
    home = HomePaths(tmp_path / "home")
    home.study("tiny").root.mkdir(parents=True)
    return home


@pytest.fixture
def new_executor(slurm: SlurmCommands, home: HomePaths, tmp_path: Path) -> Callable[..., WorkerExecutor]:
    def make(slots: int = 1, **site: object) -> WorkerExecutor:
        return WorkerExecutor(SlurmSettings(home.study("tiny"), Slurm(poll_s=0.0, **site), slots, tmp_path / "code"))

    return make


@pytest.fixture
def submit(home: HomePaths) -> Callable[[WorkerExecutor, str], AttemptPaths]:
    def make(executor: WorkerExecutor, name: str) -> AttemptPaths:
        run = home.study("tiny").run(name)
        attempt = run.attempt(len(run.existing_attempts()) + 1)
        attempt.root.mkdir(parents=True)
        job = {"run_id": name, "attempt": attempt.number, "phase": "tune", "study": "tiny", "job": None}
        write_json(attempt.job, job)
        write_json(attempt.job, {**job, "job": executor.submit(attempt)})
        return attempt

    return make
